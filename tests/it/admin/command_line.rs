//! Credentials, routes and keys from the command line: through the gateway that runs, and on the store alone.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use closegate::sim::{Accepted, Options, Simulator};
use serde_json::Value;

use crate::raw::Raw;
use crate::spawned::{Ended, Process, Spawned, closegate};
use crate::world::{RUNTIME, SECRET, gateway};

const EXTRA: &str = "api_4kExtraKeyOfTheTests0.PLANTEDextraPLANTEDextra0";
const LATER: &str = "api_5kLaterKeyOfTheTests0.PLANTEDlaterPLANTEDlater0";

fn simulator() -> Simulator {
    let accepted = |name: &str, key: &str| Accepted::api_key(name, key);
    let options = Options::new().accept(accepted("sales", SECRET)).accept(accepted("extra", EXTRA));
    RUNTIME.block_on(Simulator::start(options.accept(accepted("extra", LATER)))).unwrap()
}

/// Runs the program in a folder, with something on stdin; the gateway that it asks listens there.
fn called(folder: &Path, admin: Option<&Spawned>, arguments: &[&str], stdin: &str) -> Ended {
    let mut command = closegate(folder);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(spawned) = admin {
        command.env("CLOSEGATE__ADMIN__ADDRESS", spawned.admin.to_string());
    }
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ended = Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    for secret in [SECRET, EXTRA, LATER, "PLANTED"] {
        assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret), "{ended:?}");
    }
    ended
}

fn good(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

fn status(world: &Spawned, path: &str, key: Option<&str>) -> u16 {
    let line = key.map(|key| format!("Closegate-Key: {key}\r\n")).unwrap_or_default();
    let mut client = Raw::connect(world.proxy);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n"));
    client.answer().status
}

#[test]
fn a_credential_and_a_key_live_and_end_in_a_gateway_that_runs() {
    let simulator = simulator();
    let world = gateway(simulator.address()).spawn();
    let call = |arguments: &[&str], stdin: &str| called(world.folder.path(), Some(&world), arguments, stdin);
    let wrong = call(&["credential", "add", "wrong"], "api_nobody.PLANTEDnobody\n");
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.starts_with("error: ") && wrong.stderr.contains("401"), "{wrong:?}");
    let added = good(call(&["credential", "add", "extra", "--description", "One more"], &format!("{EXTRA}\n")));
    assert!(added.contains("api_key") && added.contains("ready"), "{added}");
    assert_eq!(status(&world, "/extra/api/v1/me/", None), 200);
    let taken = call(&["--output", "json", "credential", "add", "sales"], EXTRA);
    let taken: Value = serde_json::from_str(&taken.stdout).unwrap();
    assert_eq!(taken["error"]["code"], "conflict", "{taken}");
    assert!(taken["error"]["detail"].as_str().unwrap().contains("closegate.toml:"), "{taken}");
    let listed = good(call(&["credential", "list"], ""));
    assert!(listed.contains("managed") && listed.contains("closegate.toml:"), "{listed}");
    assert_eq!(call(&["credential", "verify", "extra"], "").code, Some(0));
    good(call(&["credential", "disable", "extra"], ""));
    assert_eq!(status(&world, "/extra/api/v1/me/", None), 503);
    good(call(&["credential", "enable", "extra"], ""));
    good(call(&["credential", "rotate", "extra"], LATER));
    assert_eq!(status(&world, "/extra/api/v1/me/", None), 200);
    assert!(simulator.authorizations().len() > 1);
    good(call(&["route", "add", "reading", "--credential", "extra", "--allow", "GET /api/v1/me/"], ""));
    let in_use = call(&["credential", "remove", "extra"], "");
    assert!(in_use.code == Some(1) && in_use.stderr.contains("reading"), "{in_use:?}");
    let created = call(&["--output", "json", "key", "create", "tool", "--route", "reading", "--scope", "read"], "");
    let created: Value = serde_json::from_str(&good(created)).unwrap();
    let text = created["text"].as_str().unwrap();
    assert_eq!(status(&world, "/reading/api/v1/me/", None), 401, "the first key closes what was open");
    assert_eq!(status(&world, "/reading/api/v1/me/", Some(text)), 200);
    assert!(good(call(&["key", "list"], "")).contains("tool"));
    let rotated = good(call(&["key", "rotate", "tool", "--overlap", "0s"], ""));
    let fresh = rotated.lines().last().unwrap();
    assert_eq!(status(&world, "/reading/api/v1/me/", Some(text)), 401);
    assert_eq!(status(&world, "/reading/api/v1/me/", Some(fresh)), 200);
    assert!(good(call(&["key", "revoke", "tool"], "")).contains("revoked"));
    assert_eq!(status(&world, "/reading/api/v1/me/", Some(fresh)), 401);
    good(call(&["key", "remove", "tool"], ""));
    good(call(&["route", "remove", "reading"], ""));
    good(call(&["credential", "remove", "extra"], ""));
    let gone = call(&["credential", "show", "extra"], "");
    assert!(gone.code == Some(1) && gone.stderr.contains("there is no credential `extra`"), "{gone:?}");
    RUNTIME.block_on(simulator.stop());
}

#[test]
fn without_a_gateway_the_store_itself_is_changed() {
    let simulator = simulator();
    let setup = gateway(simulator.address());
    std::fs::write(setup.path().join("closegate.toml"), setup.text()).unwrap();
    let call = |arguments: &[&str], stdin: &str| called(setup.path(), None, arguments, stdin);
    good(call(&["credential", "add", "extra"], EXTRA));
    let created = good(call(&["key", "create", "tool", "--route", "extra", "--scope", "*"], ""));
    let key = created.lines().last().unwrap().to_owned();
    let world = setup.spawn();
    assert_eq!(status(&world, "/extra/api/v1/me/", Some(&key)), 200);
    assert_eq!(status(&world, "/extra/api/v1/me/", None), 401);
    RUNTIME.block_on(simulator.stop());
}

/// At 3 a.m. a leaked key must end, whatever somebody has written into the configuration meanwhile.
#[test]
fn with_a_faulty_configuration_keys_and_credentials_can_still_be_ended() {
    let simulator = simulator();
    let setup = gateway(simulator.address());
    let file = setup.path().join("closegate.toml");
    std::fs::write(&file, setup.text()).unwrap();
    let faulty = setup.text() + "\n[listen_]\nx = 1\n[credentials.broken]\nkind = \"none\"\n";
    let alone = |arguments: &[&str], stdin: &str| called(setup.path(), None, arguments, stdin);
    good(alone(&["credential", "add", "extra"], EXTRA));
    let made = ["one", "two"].map(|name| {
        let created = good(alone(&["key", "create", name, "--route", "extra", "--scope", "read"], ""));
        created.lines().last().unwrap().to_owned()
    });
    let despite = |ended: Ended| {
        assert!(ended.stderr.contains("is at fault") && ended.stderr.contains("`closegate check`"), "{ended:?}");
        good(ended)
    };
    // Without a gateway.
    std::fs::write(&file, &faulty).unwrap();
    assert!(despite(alone(&["key", "revoke", "one"], "")).contains("revoked"));
    assert!(despite(alone(&["key", "list"], "")).contains("two"));
    assert!(despite(alone(&["credential", "disable", "extra"], "")).contains("disabled"));
    despite(alone(&["credential", "enable", "extra"], ""));
    despite(alone(&["usage"], ""));
    despite(alone(&["store", "rekey"], ""));
    let refused = alone(&["key", "create", "three", "--route", "extra", "--scope", "read"], "");
    assert!(
        refused.code == Some(78) && refused.stderr.contains("listen_"),
        "what is added must fit the rest: {refused:?}"
    );
    let unreachable = alone(&["health"], "");
    assert!(unreachable.code == Some(78) && unreachable.stderr.contains("no answer"), "{unreachable:?}");
    // With one that started before.
    let world = setup.spawn();
    assert_eq!(made.each_ref().map(|key| status(&world, "/extra/api/v1/me/", Some(key))), [401, 200]);
    std::fs::write(world.folder.path().join("closegate.toml"), &faulty).unwrap();
    let call = |arguments: &[&str]| called(world.folder.path(), Some(&world), arguments, "");
    despite(call(&["health"]));
    despite(call(&["credential", "disable", "extra"]));
    despite(call(&["key", "revoke", "two"]));
    assert_eq!(status(&world, "/extra/api/v1/me/", Some(&made[1])), 401);
    RUNTIME.block_on(simulator.stop());
}

#[test]
fn a_gateway_whose_token_is_not_here_is_not_gone_round() {
    let simulator = simulator();
    let world = gateway(simulator.address()).spawn();
    let elsewhere = gateway(simulator.address()).write();
    let refused = called(elsewhere.path(), Some(&world), &["credential", "list"], "");
    assert!(refused.code == Some(1) && refused.stderr.contains("its token is not here"), "{refused:?}");
    std::fs::create_dir_all(elsewhere.path().join("closegate")).unwrap();
    std::fs::write(elsewhere.path().join("closegate/admin.token"), "a-token-of-another-gateway").unwrap();
    let refused = called(elsewhere.path(), Some(&world), &["credential", "list"], "");
    assert!(refused.code == Some(1) && refused.stderr.contains("not known here"), "{refused:?}");
    RUNTIME.block_on(simulator.stop());
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let setup = gateway("127.0.0.1:1".parse().unwrap()).write();
    for arguments in [
        ["credential", "add", "Sales"].as_slice(),
        &["credential", "add", "a", "--bearer", "--oauth-client-id", "x"],
        &["key", "create", "tool", "--route", "sales"],
        &["key", "create", "tool", "--route", "sales", "--scope", "everything"],
        &["key", "create", "tool", "--route", "sales", "--scope", "read", "--expires", "soon"],
    ] {
        let ended = called(setup.path(), None, arguments, "");
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    }
    let empty = called(setup.path(), None, &["credential", "add", "a"], "\n");
    assert!(empty.code == Some(1) && empty.stderr.contains("expected one line"), "{empty:?}");
}

/// A text that no quote ends is no TOML: the tables beside it lead to gateway and store all the same.
#[test]
fn a_configuration_that_is_no_toml_keeps_nobody_from_ending_a_key() {
    let simulator = simulator();
    let setup = gateway(simulator.address());
    let file = setup.path().join("closegate.toml");
    let whole = setup.text();
    let call = |arguments: &[&str]| called(setup.path(), None, arguments, "");
    std::fs::write(&file, &whole).unwrap();
    good(call(&["key", "create", "tool", "--route", "sales", "--scope", "read"]));
    let broken = format!("{whole}[keys.half]\nroutes = [\"sales\"\n[keys.odd]\nrate = 20/s\n");
    std::fs::write(&file, &broken).unwrap();
    let revoked = call(&["key", "revoke", "tool"]);
    assert!(revoked.stderr.contains("is at fault") && revoked.stderr.contains("is not TOML"), "{revoked:?}");
    assert!(good(revoked).contains("revoked"));
    let made = call(&["key", "create", "other", "--route", "sales", "--scope", "read"]);
    assert!(made.code == Some(78) && made.stderr.contains("is not TOML"), "{made:?}");
    // What leads to the store is not guessed.
    std::fs::write(&file, format!("{broken}[store]\nurl = sqlite:somewhere\n")).unwrap();
    let refused = call(&["key", "list"]);
    assert!(refused.code == Some(78) && refused.stderr.contains("closegate.toml:"), "{refused:?}");
    RUNTIME.block_on(simulator.stop());
}

#[test]
fn looking_shows_what_the_store_holds_and_says_where_it_is_from() {
    let simulator = simulator();
    let setup = gateway(simulator.address());
    let file = setup.path().join("closegate.toml");
    std::fs::write(&file, setup.text()).unwrap();
    let call = |arguments: &[&str]| called(setup.path(), None, arguments, "");
    good(called(setup.path(), None, &["credential", "add", "extra"], EXTRA));
    good(call(&["key", "create", "tool", "--route", "extra", "--scope", "read"]));
    let see = || {
        let listed: Value = serde_json::from_str(&good(call(&["--output", "json", "route", "list"]))).unwrap();
        let of =
            |row: usize| ["name", "access", "source"].map(|column| listed[row][column].as_str().unwrap().to_owned());
        assert_eq!(of(0), ["extra", "needs a key", "managed"]);
        assert!(of(1)[2].starts_with("closegate.toml:") && of(1)[1] == "needs a key", "{listed}");
        good(call(&["route", "explain", "GET", "/extra/api/v1/me/", "--key", "tool"]));
        let refused = call(&["route", "explain", "POST", "/extra/api/v1/lead/", "--key", "tool"]);
        assert!(refused.code == Some(1) && refused.stdout.contains("scope_missing"), "{refused:?}");
        let checked: Value = serde_json::from_str(&good(call(&["--output", "json", "check", "--live"]))).unwrap();
        let sources = |kind: &str| {
            checked[kind]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["source"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        for kind in ["credentials", "routes", "keys"] {
            assert!(sources(kind).contains(&"managed".to_owned()), "{kind}: {checked}");
        }
        assert_eq!(checked["live"].as_array().unwrap().len(), 2, "{checked}");
    };
    see();
    // A store that cannot be read is told, and the part of the file is shown.
    let store = setup.path().join("closegate/closegate.db");
    std::fs::rename(&store, store.with_extension("away")).unwrap();
    std::fs::create_dir(&store).unwrap();
    let listed = call(&["route", "list"]);
    assert!(listed.code == Some(0) && listed.stderr.contains("what was added at run time is not shown"), "{listed:?}");
    assert!(listed.stdout.contains("sales") && !listed.stdout.contains("extra"), "{listed:?}");
    std::fs::remove_dir(&store).unwrap();
    std::fs::rename(store.with_extension("away"), &store).unwrap();
    // Beside a gateway that serves from it.
    let folder = setup.path().to_owned();
    let world = setup.spawn();
    let listed = good(called(&folder, Some(&world), &["route", "list"], ""));
    assert!(listed.contains("managed"), "{listed}");
    RUNTIME.block_on(simulator.stop());
}

/// Two gateways that found no store began as they were told to; then the first of them was given a key.
#[test]
fn a_gateway_beside_another_one_s_new_store_is_not_open_any_more() {
    let simulator = simulator();
    let mut world = gateway(simulator.address()).spawn();
    let second = Process::start(closegate(world.folder.path()));
    let address = second.stderr.address_after("the proxy listens address=");
    let asked = || {
        let mut client = Raw::connect(address);
        client.send("GET /sales/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.answer().status
    };
    assert_eq!(asked(), 200);
    let create = ["key", "create", "tool", "--route", "sales", "--scope", "read"];
    good(called(world.folder.path(), Some(&world), &create, ""));
    assert_eq!(status(&world, "/sales/api/v1/me/", None), 401);
    second.stderr.wait_for("every route needs a key from now on", 1);
    assert_eq!(asked(), 401);
    assert!(second.stderr.text().contains("another gateway serves from"), "{}", second.stderr.text());
    // It takes over what the other one leaves.
    world.signal(rustix::process::Signal::TERM);
    world.wait();
    second.stderr.wait_for("the store is back", 1);
    assert_eq!(asked(), 401);
    RUNTIME.block_on(simulator.stop());
}
