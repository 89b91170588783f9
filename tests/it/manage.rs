//! What people manage while the gateway runs: in force when it is answered, kept by the store, checked like the file.

use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use closegate::admin::model::{
    Actor, CreatedKey, CredentialSecret, CredentialState, CredentialView, EventQuery, KeyRotation, KeyState, Mode,
    NewBasic, NewCredential, NewKey, NewRoute, Rotation, RouteSettings, Scope, SecretText, SourceKind, Standing,
    UpdatedCredential, Verdict, Version, Way,
};
use closegate::admin::{Answer, Code, Management, Refusal};
use closegate::id::{CredentialName, KeyName, RouteName};
use closegate::store::{Kind, Otherwise, Place, Role, Store};

use crate::errors::told;
use crate::origin::Origin;
use crate::reload::Load;
use crate::world::{INJECTED, RUNTIME, SECRET, Setup, World, gateway};

/// A secret that is handed in at run time; of the same planted shape as the one of the file.
pub(crate) const ADDED: &str = "api_2c9LPTNb1PfwL0rKwU7G0t.PLANTEDaddedPLANTEDadd";
const ROTATED: &str = "api_9x8LPTNb1PfwL0rKwU7G0t.PLANTEDnextPLANTEDnexts";

/// A Close that takes the authorizations it is told to, and introduces everybody as the same person.
#[derive(Clone)]
pub(crate) struct Close {
    accepted: Arc<Mutex<HashSet<String>>>,
    origin: Arc<Origin>,
}

impl Close {
    pub(crate) fn start(secrets: &[&str]) -> Self {
        let accepted = Arc::new(Mutex::new(secrets.iter().map(|secret| basic(secret)).collect::<HashSet<_>>()));
        let taken = Arc::clone(&accepted);
        let origin = Origin::start(move |conversation| {
            while let Some(seen) = conversation.request() {
                let known = taken.lock().unwrap().contains(seen.values("authorization")[0]);
                let status = if known { 200 } else { 401 };
                let body = if seen.line().contains("/me/") { ME } else { "{}" };
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                conversation.send(head + body);
            }
        });
        Self { accepted, origin: Arc::new(origin) }
    }

    fn take(&self, secret: &str) {
        self.accepted.lock().unwrap().insert(basic(secret));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.origin.address
    }

    /// What was sent with each request so far.
    fn authorizations(&self) -> Vec<String> {
        self.origin.seen().iter().map(|seen| seen.values("authorization")[0].to_owned()).collect()
    }
}

fn basic(secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{secret}:")))
}

/// A gateway whose store is a file of its own.
fn managed(upstream: SocketAddr) -> Setup {
    gateway(upstream).set("store", "url = \"sqlite:store.db\"")
}

pub(crate) fn by() -> Actor {
    Actor { name: "ops".to_owned(), way: Way::Token, from: Some([192, 0, 2, 7].into()) }
}

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned().into())
}

pub(crate) fn api_key(name: &str, text: &str) -> NewCredential {
    NewCredential { name: name.to_owned(), description: None, method: CredentialSecret::ApiKey(secret(text)) }
}

pub(crate) fn credential(name: &str) -> CredentialName {
    CredentialName::parse(name).unwrap()
}

fn route(name: &str) -> RouteName {
    RouteName::parse(name).unwrap()
}

fn new_route(name: &str, prefix: &str, credential: &str) -> NewRoute {
    let text = |text: &str| Some(text.to_owned());
    NewRoute {
        name: name.to_owned(),
        prefix: text(prefix),
        credential: text(credential),
        upstream: None,
        allow: Vec::new(),
        deny: Vec::new(),
        anonymous: false,
    }
}

/// Waits for an answer of the management.
pub(crate) fn wait<T>(answer: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    RUNTIME.block_on(answer)
}

#[track_caller]
pub(crate) fn code<T>(answer: Answer<'_, T>) -> Code {
    wait(answer).err().unwrap().code
}

fn status(world: &World, path: &str) -> u16 {
    world.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).status
}

pub(crate) fn add(management: &dyn Management, name: &str, text: &str) -> CredentialView {
    wait(management.add_credential(api_key(name, text), &by())).unwrap()
}

#[test]
fn a_credential_is_added_with_its_route_and_lives_on() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start();
    let management = world.management();
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 404);
    let added = add(&*management, "partner", ADDED);
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 200, "when it is answered it is in force");
    assert_eq!(close.authorizations(), [basic(ADDED), basic(ADDED)], "verified, then sent");
    assert_eq!((added.state, added.standing), (CredentialState::Ready, Standing::Verified));
    assert_eq!(added.key_id.as_deref(), Some("api_2c9LPTNb1PfwL0rKwU7G0t"));
    assert_eq!(added.organization.unwrap().name.as_deref(), Some("Sales Inc"));
    assert_eq!(added.user.unwrap().name.as_deref(), Some("Ada Lovelace"));
    assert_eq!((added.source.kind, added.routes), (SourceKind::Managed, vec!["partner".to_owned()]));
    let route = wait(management.route(&route("partner"))).unwrap();
    assert_eq!((route.prefix.as_str(), route.source.kind), ("/partner", SourceKind::Managed));
    let listed = wait(management.credentials()).unwrap();
    assert_eq!(listed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["partner", "sales"]);
    assert!(listed[1].source.line.is_some(), "that of the file is shown with its line");

    drop(management);
    let world = managed(close.address()).in_folder(world.stop()).start();
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 200, "after a restart");
    assert_eq!(wait(world.management().credential(&credential("partner"))).unwrap().standing, Standing::Verified);
}

#[test]
fn what_close_refuses_is_not_added_and_what_it_cannot_say_is_unverified() {
    let close = Close::start(&[SECRET]);
    let world = managed(close.address()).start();
    let management = world.management();
    assert_eq!(code(management.add_credential(api_key("partner", ADDED), &by())), Code::CredentialRefused);
    assert_eq!(code(management.credential(&credential("partner"))), Code::NotFound);
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 404);
    assert!(!world.folder.path().join("store.db").exists(), "nothing is managed, nothing is written");

    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = managed(nowhere).start();
    let management = world.management();
    assert_eq!(add(&*management, "partner", ADDED).standing, Standing::Unverified);
    let verified = wait(management.verify_credential(&credential("partner"), &by())).unwrap();
    assert_eq!((verified.verdict, verified.credential.standing), (Verdict::Undecided, Standing::Unverified));
}

#[test]
fn a_later_verification_is_remembered() {
    let close = Close::start(&[SECRET]);
    let world = managed(close.address()).start();
    let management = world.management();
    let sales = || wait(management.credential(&credential("sales"))).unwrap();
    assert_eq!((sales().standing, sales().user), (Standing::Unverified, None));
    let said = wait(management.verify_credential(&credential("sales"), &by())).unwrap();
    assert_eq!((said.verdict, said.credential.standing), (Verdict::Accepted, Standing::Verified));
    assert_eq!(sales().user.unwrap().email.as_deref(), Some("ada@example.com"));
}

#[test]
fn names_and_prefixes_that_are_taken_are_refused_as_in_the_file() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start();
    let management = world.management();
    let refused = wait(management.add_credential(api_key("sales", ADDED), &by())).err().unwrap();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.detail.contains("closegate.toml:"), "{refused}");
    add(&*management, "partner", ADDED);
    for name in ["partner", "sales"] {
        assert_eq!(code(management.add_credential(api_key(name, ADDED), &by())), Code::Conflict, "{name}");
        assert_eq!(code(management.add_route(new_route(name, "/x", "sales"), &by())), Code::Conflict, "{name}");
    }
    for (name, prefix, of, field) in [
        ("a", "/sales", "sales", "prefix"),
        ("b", "no slash", "sales", "prefix"),
        ("c", "/c", "nobody", "credential"),
        ("Up", "/d", "sales", "name"),
    ] {
        let refused = wait(management.add_route(new_route(name, prefix, of), &by())).err().unwrap();
        assert_eq!((refused.code, refused.fields[0].field.as_str()), (Code::Invalid, field), "{refused}");
    }
    let cleartext = NewRoute { upstream: Some("http://192.0.2.1".to_owned()), ..new_route("e", "/e", "sales") };
    assert_eq!(code(management.add_route(cleartext, &by())), Code::Invalid, "no secret goes out in clear text");
    let settings = || RouteSettings { ..new_route("sales", "/x", "sales").into_parts().1 };
    assert_eq!(code(management.replace_route(&route("sales"), settings(), None, &by())), Code::ReadOnly);
    assert_eq!(code(management.remove_credential(&credential("sales"), None, &by())), Code::ReadOnly);
    let rotation = || Rotation { secret: secret(ROTATED) };
    assert_eq!(code(management.rotate_credential(&credential("sales"), rotation(), None, &by())), Code::ReadOnly);
    assert_eq!(code(management.rotate_credential(&credential("x"), rotation(), None, &by())), Code::NotFound);
}

#[test]
fn a_route_is_added_changed_and_removed() {
    let close = Close::start(&[SECRET]);
    let world = managed(close.address()).start();
    let management = world.management();
    let added = wait(management.add_route(new_route("read", "/read", "sales"), &by())).unwrap();
    assert_eq!(status(&world, "/read/api/v1/lead/"), 200);
    let mut settings = new_route("read", "/reads", "sales").into_parts().1;
    settings.deny = vec!["* /api/v1/export/**".to_owned()];
    let stale = Some(Version(added.version.0 + 7));
    let change = |expected| wait(management.replace_route(&route("read"), settings.clone(), expected, &by()));
    assert_eq!(change(stale).err().unwrap().code, Code::PreconditionFailed);
    assert_eq!(change(Some(added.version)).unwrap().prefix, "/reads");
    assert_eq!((status(&world, "/read/api/v1/lead/"), status(&world, "/reads/api/v1/lead/")), (404, 200));
    assert_eq!(status(&world, "/reads/api/v1/export/lead/"), 403);
    wait(management.remove_route(&route("read"), None, &by())).unwrap();
    assert_eq!(status(&world, "/reads/api/v1/lead/"), 404);
    assert_eq!(code(management.remove_route(&route("read"), None, &by())), Code::NotFound);
}

#[test]
fn a_disabled_credential_is_never_sent() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start();
    let management = world.management();
    add(&*management, "partner", ADDED);
    for name in ["sales", "partner"] {
        let path = format!("/{name}/api/v1/lead/");
        let sent = close.authorizations().len();
        let state = wait(management.disable_credential(&credential(name), &by())).unwrap().state;
        assert_eq!(state, CredentialState::Disabled);
        let refused = world.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        told(&refused, 503, "credential_unavailable");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(close.authorizations().len(), sent, "nothing of it reaches Close");
        assert_eq!(wait(management.enable_credential(&credential(name), &by())).unwrap().state, CredentialState::Ready);
        assert_eq!(status(&world, &path), 200);
    }
}

#[test]
fn a_credential_is_rotated_under_load_and_the_old_secret_is_not_seen_again() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address())
        .replace("listen", "address = \"127.0.0.1:0\"\nworkers = 2")
        .without("credentials.sales")
        .start();
    let management = world.management();
    add(&*management, "sales", ADDED);
    let rotate = |text| {
        let to = Rotation { secret: secret(text) };
        wait(management.rotate_credential(&credential("sales"), to, None, &by()))
    };
    Load::beside(&[world.proxy], 32, |load| {
        load.go_on(2500);
        assert_eq!(rotate(ROTATED).err().unwrap().code, Code::CredentialRefused, "Close does not know it yet");
        load.go_on(100);
        close.take(ROTATED);
        assert_eq!(rotate(ROTATED).unwrap().key_id.as_deref(), Some("api_9x8LPTNb1PfwL0rKwU7G0t"));
        let switched = close.authorizations().len();
        load.go_on(2500);
        let after = &close.authorizations()[switched..];
        assert!(after.len() >= 2500);
        assert!(after.iter().all(|sent| *sent == basic(ROTATED)), "the old one was seen after the switch");
    });
}

#[test]
fn a_rotation_that_close_cannot_confirm_changes_nothing() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start();
    let management = world.management();
    let added = add(&*management, "partner", ADDED);
    let to = || Rotation { secret: secret("with a blank") };
    assert_eq!(code(management.rotate_credential(&credential("partner"), to(), None, &by())), Code::Invalid);
    let stale = Some(Version(added.version.0 + 1));
    close.take(ROTATED);
    let to = Rotation { secret: secret(ROTATED) };
    assert_eq!(code(management.rotate_credential(&credential("partner"), to, stale, &by())), Code::PreconditionFailed);
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 200);
    assert_eq!(close.authorizations().last().unwrap(), &basic(ADDED));
}

/// The database of a world, as somebody beside the gateway sees it.
fn beside(world: &World) -> Store {
    let place = Place::Sqlite { path: world.folder.path().join("store.db"), otherwise: Otherwise::Refuse };
    RUNTIME.block_on(Store::open(place, Role::Visiting)).unwrap()
}

#[test]
fn a_credential_that_is_added_again_never_has_the_number_of_a_former_secret() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start();
    let management = world.management();
    let mut numbers = HashSet::new();
    for _ in 0..3 {
        add(&*management, "partner", ADDED);
        let record = RUNTIME.block_on(beside(&world).record(Kind::Credential, "partner")).unwrap().unwrap();
        assert!(numbers.insert(record.body["secret"].as_u64().unwrap()), "{numbers:?}");
        wait(management.remove_credential(&credential("partner"), None, &by())).unwrap();
    }
}

#[test]
fn of_a_key_of_the_file_that_is_shown_which_close_shows() {
    let close = Close::start(&[SECRET]);
    let world = managed(close.address()).start();
    let shown = wait(world.management().credential(&credential("sales"))).unwrap();
    assert_eq!(shown.key_id.as_deref(), Some("api_7b8KOSMa0OevK9qJvT6F9s"));
}

#[test]
fn a_store_that_comes_into_use_remembers_the_keys_of_the_file() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).key("\"sales\"").start();
    add(&*world.management(), "partner", ADDED);
    assert!(RUNTIME.block_on(beside(&world).keys_ever_defined()).unwrap());
}

#[test]
fn a_credential_in_use_stays_and_goes_with_its_own_route() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start();
    let management = world.management();
    add(&*management, "partner", ADDED);
    wait(management.add_route(new_route("portal", "/portal", "partner"), &by())).unwrap();
    let refused = wait(management.remove_credential(&credential("partner"), None, &by())).err().unwrap();
    assert_eq!(refused.code, Code::InUse);
    assert!(refused.detail.contains("`portal`") && !refused.detail.contains("`partner`,"), "{refused}");
    wait(management.remove_route(&route("portal"), None, &by())).unwrap();
    wait(management.remove_credential(&credential("partner"), None, &by())).unwrap();
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 404);
    assert_eq!(code(management.route(&route("partner"))), Code::NotFound);
}

#[test]
fn changes_leave_events_without_secrets() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start();
    let management = world.management();
    let basic = NewBasic { username: "someone".to_owned(), password: secret(ADDED) };
    let refused = NewCredential { name: "b".to_owned(), description: None, method: CredentialSecret::Basic(basic) };
    assert_eq!(code(management.add_credential(refused, &by())), Code::CredentialRefused);
    add(&*management, "partner", ADDED);
    let to = UpdatedCredential { description: Some("of the portal".to_owned()) };
    let updated = wait(management.update_credential(&credential("partner"), to, None, &by())).unwrap();
    assert_eq!(updated.description.as_deref(), Some("of the portal"));
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 200, "its secret is still there");
    wait(management.disable_credential(&credential("partner"), &by())).unwrap();
    let page = wait(management.events(EventQuery::default())).unwrap();
    let told: Vec<_> = page.data.iter().map(|event| (event.action.as_str(), event.actor.as_str())).collect();
    assert_eq!(told, [("credential.disable", "ops"), ("credential.update", "ops"), ("credential.add", "ops")]);
    assert_eq!(page.data[0].from.as_deref(), Some("192.0.2.7"));
    assert_eq!(page.data[0].subject.as_deref(), Some("partner"));
    let text = serde_json::to_string(&page.data).unwrap() + &serde_json::to_string(&updated).unwrap();
    assert!(!text.contains("PLANTED"), "{text}");
    let query = EventQuery { limit: Some(1), action: Some("credential.a".to_owned()), ..EventQuery::default() };
    assert!(wait(management.events(query)).unwrap().data.is_empty(), "an action is whole, or ends in a dot");
    let query = EventQuery { limit: Some(1), action: Some("credential.".to_owned()), ..EventQuery::default() };
    let first = wait(management.events(query.clone())).unwrap();
    let second = wait(management.events(EventQuery { cursor: first.next.clone(), ..query })).unwrap();
    assert_eq!((first.data.len(), second.data[0].action.as_str()), (1, "credential.update"));
}

#[test]
fn the_file_wins_over_what_was_added() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start_reloading();
    let management = world.management();
    add(&*management, "partner", ADDED);
    world.edit(
        "[credentials.sales]",
        "[credentials.partner]\napi_key = { file = \"sales.secret\" }\n[credentials.sales]",
    );
    world.reload().unwrap();
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 200);
    assert_eq!(close.authorizations().last().unwrap(), INJECTED);
    let shown = wait(management.credential(&credential("partner"))).unwrap();
    assert_eq!(shown.source.kind, SourceKind::File);
    world.edit(
        "[credentials.partner]\napi_key = { file = \"sales.secret\" }\n[credentials.sales]",
        "[credentials.sales]",
    );
    world.reload().unwrap();
    assert_eq!(status(&world, "/partner/api/v1/lead/"), 200);
    assert_eq!(close.authorizations().last().unwrap(), &basic(ADDED), "what was added stands again");
}

#[test]
fn what_the_file_hides_can_be_removed_and_what_goes_by_its_name_stays() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start_reloading();
    let management = world.management();
    add(&*management, "partner", ADDED);
    wait(management.create_key(new_key("tool", &["partner"]), &by())).unwrap();
    let file = "[credentials.partner]\napi_key = { file = \"sales.secret\" }\n[routes.partner]\n[keys.tool]\n\
                hash = \"sha256:28b1a1d4375bf360583d06d12b21b1340dc42f8fa2cc25c16b311f646b51692e\"\n\
                routes = [\"partner\"]\n";
    world.edit("[credentials.sales]", &format!("{file}[credentials.sales]"));
    world.reload().unwrap();
    wait(management.disable_credential(&credential("partner"), &by())).unwrap();
    wait(management.remove_key(&key_name("tool"), None, &by())).unwrap();
    wait(management.remove_route(&route("partner"), None, &by())).unwrap();
    wait(management.remove_credential(&credential("partner"), None, &by())).unwrap();
    for kind in Kind::ALL {
        assert_eq!(RUNTIME.block_on(beside(&world).records(kind)).unwrap(), [], "{kind}");
    }
    let shown = wait(management.credential(&credential("partner"))).unwrap();
    assert_eq!((shown.source.kind, shown.state), (SourceKind::File, CredentialState::Disabled));
    assert_eq!(code(management.remove_credential(&credential("partner"), None, &by())), Code::ReadOnly);
    assert_eq!(code(management.remove_route(&route("partner"), None, &by())), Code::ReadOnly);
    assert_eq!(code(management.remove_key(&key_name("tool"), None, &by())), Code::ReadOnly);
}

#[test]
fn a_route_that_is_removed_leaves_the_keys_that_name_it() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start();
    let management = world.management();
    wait(management.add_route(new_route("read", "/read", "sales"), &by())).unwrap();
    let made = wait(management.create_key(new_key("tool", &["read", "sales"]), &by())).unwrap();
    let text = made.text.reveal();
    wait(management.create_key(new_key("old", &["read", "sales"]), &by())).unwrap();
    wait(management.revoke_key(&key_name("old"), &by())).unwrap();
    wait(management.remove_route(&route("read"), None, &by())).unwrap();
    for name in ["tool", "old"] {
        assert_eq!(wait(management.key(&key_name(name))).unwrap().routes, ["sales"], "{name}");
    }
    let events = wait(management.events(EventQuery::default())).unwrap().data;
    assert_eq!(events[0].detail["keys"], serde_json::json!(["old", "tool"]));
    // One of that name that comes later is none of theirs, be it that of another credential.
    add(&*management, "read", ADDED);
    assert_eq!((with_key(&world, "/sales/x", text), with_key(&world, "/read/x", text)), (200, 404));
    wait(management.create_key(new_key("reader", &["read"]), &by())).unwrap();
    let refused = wait(management.remove_credential(&credential("read"), None, &by())).err().unwrap();
    assert!(refused.code == Code::InUse && refused.detail.contains("`reader`"), "{refused}");
}

/// A Close that answers once it is told to.
struct Slow {
    origin: Origin,
    release: mpsc::Sender<()>,
}

impl Slow {
    fn start() -> Self {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let origin = Origin::start(move |conversation| {
            while conversation.request().is_some() {
                held.lock().unwrap().recv().unwrap();
                conversation.send(format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{ME}", ME.len()));
            }
        });
        Self { origin, release }
    }
}

#[test]
fn a_revocation_waits_for_no_answer_of_close() {
    let close = Slow::start();
    let world = managed(close.origin.address).start();
    let management = world.management();
    let made = wait(management.create_key(new_key("tool", &["sales"]), &by())).unwrap();
    let text = made.text.reveal();
    let beside = world.management();
    let adding = RUNTIME.spawn(async move { beside.add_credential(api_key("partner", ADDED), &by()).await });
    close.origin.wait_for(1);
    wait(management.revoke_key(&key_name("tool"), &by())).unwrap();
    assert_eq!(with_key(&world, "/sales/x", text), 401);
    assert!(!adding.is_finished(), "Close has not answered yet");
    close.release.send(()).unwrap();
    assert_eq!(RUNTIME.block_on(adding).unwrap().unwrap().standing, Standing::Verified);

    wait(management.create_key(new_key("other", &["sales"]), &by())).unwrap();
    let beside = world.management();
    let to = Rotation { secret: secret(ROTATED) };
    let rotating =
        RUNTIME.spawn(async move { beside.rotate_credential(&credential("partner"), to, None, &by()).await });
    close.origin.wait_for(2);
    wait(management.revoke_key(&key_name("other"), &by())).unwrap();
    let to = UpdatedCredential { description: Some("meanwhile".to_owned()) };
    wait(management.update_credential(&credential("partner"), to, None, &by())).unwrap();
    assert!(!rotating.is_finished());
    close.release.send(()).unwrap();
    let rotated = RUNTIME.block_on(rotating).unwrap().unwrap();
    assert_eq!(rotated.key_id.as_deref(), Some("api_9x8LPTNb1PfwL0rKwU7G0t"));
    assert_eq!(rotated.description.as_deref(), Some("meanwhile"), "what else was changed stays");
}

#[test]
fn of_two_that_add_or_rotate_at_once_one_is_refused() {
    let close = Slow::start();
    let world = managed(close.origin.address).start();
    let adding = || {
        let management = world.management();
        RUNTIME.spawn(async move { management.add_credential(api_key("partner", ADDED), &by()).await })
    };
    let rotating = || {
        let (management, to) = (world.management(), Rotation { secret: secret(ROTATED) });
        RUNTIME.spawn(async move { management.rotate_credential(&credential("partner"), to, None, &by()).await })
    };
    let one_of = |both: [tokio::task::JoinHandle<Result<CredentialView, Refusal>>; 2], seen, refused| {
        close.origin.wait_for(seen);
        close.release.send(()).unwrap();
        close.release.send(()).unwrap();
        let ended = both.map(|one| RUNTIME.block_on(one).unwrap().err().map(|refusal| refusal.code));
        assert!(ended.contains(&None) && ended.contains(&Some(refused)), "{ended:?}");
    };
    one_of([adding(), adding()], 2, Code::Conflict);
    one_of([rotating(), rotating()], 4, Code::PreconditionFailed);
}

#[test]
fn a_revocation_waits_for_no_command_that_a_reload_runs() {
    let close = Close::start(&[SECRET]);
    let setup = managed(close.address()).file("go", "");
    let folder = setup.path().to_owned();
    let script = format!(
        "cd {} && echo >>ran && until [ -e go ]; do sleep 0.02; done && echo token-of-the-script",
        folder.display()
    );
    let command = format!("bearer = {{ command = [\"sh\", \"-c\", \"{script}\"] }}");
    let world = setup.set("credentials.slow", &command).start_reloading();
    let management = world.management();
    let made = wait(management.create_key(new_key("tool", &["sales"]), &by())).unwrap();
    std::fs::remove_file(folder.join("go")).unwrap();
    let runs = || std::fs::read_to_string(folder.join("ran")).unwrap().len();
    let before = runs();
    let beside = world.management();
    let reloading = RUNTIME.spawn(async move { beside.reload(&by()).await });
    while runs() == before {
        std::thread::yield_now();
    }
    wait(management.revoke_key(&key_name("tool"), &by())).unwrap();
    assert_eq!(with_key(&world, "/sales/x", made.text.reveal()), 401);
    assert!(!reloading.is_finished(), "its command goes on");
    std::fs::write(folder.join("go"), "").unwrap();
    RUNTIME.block_on(reloading).unwrap().unwrap();
    assert_eq!(with_key(&world, "/sales/x", made.text.reveal()), 401, "what was changed meanwhile stays changed");
}

#[test]
fn a_change_at_run_time_does_not_wait_for_a_broken_file() {
    let close = Close::start(&[SECRET, ADDED]);
    let world = managed(close.address()).start_reloading();
    let management = world.management();
    world.edit("[upstream]", "[upstraem]");
    world.reload().unwrap_err();
    std::fs::remove_file(world.folder.path().join("sales.secret")).unwrap();
    add(&*management, "partner", ADDED);
    assert_eq!((status(&world, "/partner/api/v1/lead/"), status(&world, "/sales/api/v1/lead/")), (200, 200));
}

pub(crate) fn new_key(name: &str, routes: &[&str]) -> NewKey {
    NewKey {
        name: name.to_owned(),
        description: None,
        routes: routes.iter().map(ToString::to_string).collect(),
        scopes: vec![Scope::Read],
        allow: Vec::new(),
        deny: Vec::new(),
        rate: None,
        burst: None,
        concurrency: None,
        daily_quota: None,
        expires_at: None,
        mode: Mode::Enforce,
    }
}

pub(crate) fn key_name(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

/// The status of a GET with a key.
pub(crate) fn with_key(world: &World, path: &str, key: &str) -> u16 {
    world.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {key}\r\n\r\n")).status
}

#[test]
fn the_first_key_closes_routes_for_good() {
    let close = Close::start(&[SECRET]);
    let world = managed(close.address()).start();
    let management = world.management();
    let path = "/sales/api/v1/lead/";
    assert_eq!(status(&world, path), 200);
    let made = wait(management.create_key(new_key("tool", &["sales"]), &by())).unwrap();
    assert_eq!(made.closed_routes, ["sales"]);
    let text = made.text.reveal().to_owned();
    assert_eq!(text.split('_').nth(1), made.key.id.as_deref());
    let created = world.metric("closegate_key_created_timestamp_seconds{key=\"tool\"}");
    assert_eq!(Some(created as i64), made.key.created_at.map(|at| at.as_second()));
    assert_eq!((status(&world, path), with_key(&world, path, &text)), (401, 200));
    assert_eq!(wait(management.create_key(new_key("other", &["sales"]), &by())).unwrap().closed_routes, [""; 0]);
    assert_eq!(code(management.create_key(new_key("tool", &["sales"]), &by())), Code::Conflict);
    let revoked = wait(management.revoke_key(&key_name("tool"), &by())).unwrap();
    assert_eq!(revoked.state, KeyState::Revoked);
    assert_eq!(with_key(&world, path, &text), 401, "when it is answered it is in force");
    wait(management.remove_key(&key_name("tool"), None, &by())).unwrap();
    wait(management.remove_key(&key_name("other"), None, &by())).unwrap();
    assert_eq!(status(&world, path), 401, "there were keys");
    let events = serde_json::to_string(&wait(management.events(EventQuery::default())).unwrap()).unwrap();
    assert!(!events.contains(text.split('_').nth(2).unwrap()));
    drop(management);
    let world = managed(close.address()).in_folder(world.stop()).start();
    assert_eq!(status(&world, path), 401, "also after a restart");
}

#[test]
fn a_rotated_key_goes_on_under_its_former_text_for_as_long_as_it_is_said() {
    let close = Close::start(&[SECRET]);
    let world = managed(close.address()).start();
    let management = world.management();
    let path = "/sales/api/v1/lead/";
    let first = wait(management.create_key(new_key("tool", &["sales"]), &by())).unwrap();
    let rotate = |overlap: Option<&str>| {
        let to = KeyRotation { overlap: overlap.map(str::to_owned) };
        wait(management.rotate_key(&key_name("tool"), to, None, &by()))
    };
    let second = rotate(None).unwrap();
    let works = |made: &CreatedKey| with_key(&world, path, made.text.reveal()) == 200;
    assert_eq!((works(&first), works(&second)), (true, true));
    let third = rotate(Some("0s")).unwrap();
    assert_eq!((works(&first), works(&second), works(&third)), (false, false, true));
    assert_eq!(rotate(Some("soon")).err().unwrap().fields[0].field, "overlap");
    wait(management.revoke_key(&key_name("tool"), &by())).unwrap();
    assert!(!works(&third));
    assert_eq!(rotate(None).err().unwrap().code, Code::WrongState);
}

#[test]
fn a_key_is_checked_like_one_of_the_file() {
    let close = Close::start(&[SECRET]);
    let world = managed(close.address()).key("\"sales\"").start();
    let management = world.management();
    let invalid = |new: NewKey| {
        let refused = wait(management.create_key(new, &by())).err().unwrap();
        assert_eq!(refused.code, Code::Invalid, "{refused}");
        refused.fields[0].field.clone()
    };
    assert_eq!(invalid(new_key("a", &["nowhere"])), "routes[0]");
    assert_eq!(invalid(NewKey { deny: vec!["nonsense".to_owned()], ..new_key("a", &["sales"]) }), "deny[0]");
    assert_eq!(invalid(new_key("UP", &["sales"])), "name");
    assert_eq!(code(management.create_key(new_key("main", &["sales"]), &by())), Code::Conflict);
    assert_eq!(code(management.revoke_key(&key_name("main"), &by())), Code::ReadOnly);
    wait(management.add_route(new_route("read", "/read", "sales"), &by())).unwrap();
    wait(management.create_key(new_key("reader", &["read"]), &by())).unwrap();
    let refused = wait(management.remove_route(&route("read"), None, &by())).err().unwrap();
    assert!(refused.code == Code::InUse && refused.detail.contains("`reader`"), "{refused}");
    wait(management.revoke_key(&key_name("reader"), &by())).unwrap();
    wait(management.remove_route(&route("read"), None, &by())).unwrap();
}

const ME: &str = r#"{"id": "user_1", "first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com",
    "organizations": [{"id": "orga_1", "name": "Sales Inc"}]}"#;
