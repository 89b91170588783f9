//! The life of a credential: suspected, asked about, refused, back again; promoted; kept apart from others.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::errors::told;
use crate::origin::{Conversation, Origin, Seen};
use crate::raw::{Answer, Raw};
use crate::world::{INJECTED, KEY, Setup, World, gateway};

const NEXT: &str = "api_nextNEXTnextNEXTnext.PLANTEDnextPLANTEDnext";

/// A Close that takes some authorizations, and refuses everybody at paths that end in `forbidden`.
#[derive(Clone, Default)]
struct Close(Arc<State>);

#[derive(Default)]
struct State {
    accepted: Mutex<HashSet<String>>,
    /// What `/api/v1/me/` answers to whom it takes, if not 200.
    me: Mutex<Option<u16>>,
    /// Holds back the next answer of `/api/v1/me/`.
    held: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Close {
    fn start(accepted: &[&str]) -> (Self, Origin) {
        let close = Self::default();
        close.accept(accepted);
        let own = close.clone();
        let origin = Origin::start(move |conversation| own.serve(conversation));
        (close, origin)
    }

    /// From now on takes these and no others.
    fn accept(&self, authorizations: &[&str]) {
        *self.accepted() = authorizations.iter().map(ToString::to_string).collect();
    }

    fn accepted(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.accepted.lock().unwrap()
    }

    fn serve(&self, conversation: &mut Conversation) {
        while let Some(seen) = conversation.request() {
            let own = self.accepted().contains(seen.values("authorization")[0]);
            let mut status = if own && !seen.line().contains("forbidden") { 200 } else { 401 };
            if asks_who(&seen) {
                let held = self.0.held.lock().unwrap().take();
                held.iter().for_each(|held| held.recv().unwrap());
                status = self.0.me.lock().unwrap().unwrap_or(status);
            }
            let fields = "www-authenticate: Basic realm=\"close\"\r\nlocation: /api/v1/me/\r\n";
            conversation.send(format!("HTTP/1.1 {status} X\r\n{fields}content-length: 5\r\n\r\nClose"));
        }
    }
}

/// Whether a request is the vault's own question.
fn asks_who(seen: &Seen) -> bool {
    seen.line() == "GET /api/v1/me/ HTTP/1.1"
}

fn questions(origin: &Origin) -> Vec<Seen> {
    origin.seen().into_iter().filter(asks_who).collect()
}

/// Waits until so many questions were asked.
fn wait_for_questions(origin: &Origin, count: usize) {
    let mut seen = origin.seen();
    while seen.iter().filter(|seen| asks_who(seen)).count() < count {
        seen = origin.wait_for(seen.len() + 1);
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n")
}

fn ask(world: &World, path: &str) -> Answer {
    world.ask(request(path))
}

/// Asks again and again until the answer is as wanted; what comes before is a 401 that passes through or a 503.
fn ask_until(world: &World, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let mut client = Raw::connect(world.proxy);
    loop {
        client.send(request(path));
        let answer = client.answer();
        if wanted(&answer) {
            return answer;
        }
        assert!(matches!(answer.status, 200 | 401 | 503), "{answer:?}");
    }
}

fn credential(world: &World, metric: &str) -> f64 {
    world.metric(&format!("closegate_{metric}{{credential=\"sales\"}}"))
}

/// The upstream's own 401, with the word of the gateway.
#[track_caller]
fn is_suspect(answer: &Answer) {
    assert_eq!((answer.status, answer.code(), answer.text().as_str()), (401, None, "Close"), "{answer:?}");
    assert_eq!(answer.header("closegate-credential"), Some("suspect"));
    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"close\""));
}

#[test]
fn a_credential_is_out_of_use_once_me_refuses_it_and_comes_back() {
    let (close, origin) = Close::start(&[]);
    let world = gateway(origin.address).key("\"sales\"").start();
    assert_eq!(credential(&world, "credential_up"), 1.0);
    is_suspect(&ask(&world, "/sales/api/v1/lead/"));
    let refused = ask_until(&world, "/sales/api/v1/lead/", |answer| answer.status != 401);
    told(&refused, 503, "credential_unavailable");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() <= 2, "it is tried again within moments");
    let asked = questions(&origin);
    assert_eq!((asked.len(), asked[0].values("authorization")), (1, vec![INJECTED]));
    assert_eq!((credential(&world, "credential_up"), credential(&world, "credential_rejections_total")), (0.0, 1.0));
    assert!(readiness(&world).contains("sales"));
    let sent = origin.seen().iter().filter(|seen| !asks_who(seen)).count();
    for _ in 0..5 {
        told(&ask(&world, "/sales/api/v1/lead/"), 503, "credential_unavailable");
    }
    assert_eq!(origin.seen().iter().filter(|seen| !asks_who(seen)).count(), sent, "a dead credential is never sent");
    close.accept(&[INJECTED]);
    wait_for_questions(&origin, 2);
    let back = ask_until(&world, "/sales/api/v1/lead/", |answer| answer.status != 503);
    assert_eq!((back.status, back.header("closegate-credential")), (200, None));
    assert_eq!(credential(&world, "credential_up"), 1.0);
    assert!(!readiness(&world).contains("sales"));
}

/// The body of `/readyz`, which a dead credential does not make fail.
fn readiness(world: &World) -> String {
    let mut client = Raw::connect(world.admin);
    client.send("GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    answer.text()
}

#[test]
fn a_401_of_one_endpoint_alone_changes_nothing() {
    let (_close, origin) = Close::start(&[INJECTED]);
    let world = gateway(origin.address).key("\"sales\"").start();
    for round in 1..=2 {
        // The next question is asked once the last one was thought over: until then a 401 raises none.
        while questions(&origin).len() < round {
            is_suspect(&ask(&world, "/sales/api/v1/forbidden"));
        }
        assert_eq!(ask(&world, "/sales/api/v1/lead/").status, 200);
    }
    assert_eq!((credential(&world, "credential_up"), credential(&world, "credential_rejections_total")), (1.0, 0.0));
    assert!(questions(&origin).iter().all(|seen| seen.values("host") == [origin.address.to_string()]));
}

#[test]
fn an_upstream_that_cannot_say_decides_nothing() {
    let (close, origin) = Close::start(&[]);
    let world = gateway(origin.address).key("\"sales\"").start();
    for (round, status) in (1..).zip([500, 302, 200]) {
        *close.0.me.lock().unwrap() = Some(status);
        while questions(&origin).len() < round {
            is_suspect(&ask(&world, "/sales/api/v1/lead/"));
        }
    }
    assert_eq!(credential(&world, "credential_rejections_total"), 0.0);
}

#[test]
fn many_401s_are_one_question() {
    let (close, origin) = Close::start(&[INJECTED]);
    let (release, held) = mpsc::channel();
    *close.0.held.lock().unwrap() = Some(held);
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for _ in 0..10 {
        client.send(request("/sales/api/v1/forbidden"));
        is_suspect(&client.answer());
    }
    origin.wait_for(11);
    assert_eq!(questions(&origin).len(), 1);
    release.send(()).unwrap();
}

#[test]
fn next_takes_over_when_current_is_refused() {
    let next = format!("Basic {}", STANDARD.encode(format!("{NEXT}:")));
    let (close, origin) = Close::start(&[INJECTED, &next]);
    let world = gateway(origin.address)
        .file("next.secret", NEXT)
        .replace(
            "credentials.sales",
            "api_key = { current = { file = \"sales.secret\" }, next = { file = \"next.secret\" } }",
        )
        .key("\"sales\"")
        .start();
    assert_eq!(ask(&world, "/sales/api/v1/lead/").status, 200);
    assert_eq!(origin.seen()[0].values("authorization"), [INJECTED], "current is used while it works");
    close.accept(&[&next]);
    is_suspect(&ask(&world, "/sales/api/v1/lead/"));
    // No request fails otherwise: there is no moment without a credential.
    let answer = ask_until(&world, "/sales/api/v1/lead/", |answer| {
        assert_ne!(answer.status, 503);
        answer.status == 200
    });
    assert_eq!(answer.header("closegate-credential"), None);
    assert_eq!(origin.seen().last().unwrap().values("authorization"), [&*next]);
    assert_eq!(credential(&world, "credential_promotions_total"), 1.0);
    assert_eq!((credential(&world, "credential_up"), credential(&world, "credential_rejections_total")), (1.0, 0.0));
}

#[test]
fn a_file_that_was_replaced_is_read_again_after_a_rejection() {
    let (close, origin) = Close::start(&["Bearer token-one-PLANTED"]);
    let world = bearer_file(origin.address).start();
    assert_eq!(ask(&world, "/sales/api/v1/lead/").status, 200);
    std::fs::write(world.folder.path().join("sales.secret"), "token-two-PLANTED\n").unwrap();
    close.accept(&["Bearer token-two-PLANTED"]);
    is_suspect(&ask(&world, "/sales/api/v1/lead/"));
    ask_until(&world, "/sales/api/v1/lead/", |answer| answer.status == 200);
    assert_eq!((credential(&world, "credential_up"), credential(&world, "credential_rejections_total")), (1.0, 0.0));
}

fn bearer_file(upstream: SocketAddr) -> Setup {
    gateway(upstream)
        .file("sales.secret", "token-one-PLANTED\n")
        .replace("credentials.sales", "bearer = { file = \"sales.secret\" }")
        .key("\"sales\"")
}

/// A bearer that `cat` prints from a file, with further settings of the command.
fn bearer_command(upstream: SocketAddr, folder: &TempDir, settings: &str) -> Setup {
    let path = folder.path().join("token");
    let command = format!("bearer = {{ command = [\"cat\", \"{}\"]{settings} }}", path.display());
    gateway(upstream).replace("credentials.sales", &command).key("\"sales\"")
}

/// Replaces the file whole, so that no reader finds it half written.
fn write_token(folder: &TempDir, token: &str) {
    let new = folder.path().join("new");
    std::fs::write(&new, token).unwrap();
    std::fs::rename(new, folder.path().join("token")).unwrap();
}

#[test]
fn a_command_that_fails_makes_its_credential_unavailable_until_it_works() {
    let folder = TempDir::new().unwrap();
    let (_close, origin) = Close::start(&["Bearer command-PLANTED"]);
    let world = bearer_command(origin.address, &folder, "").start();
    told(&ask(&world, "/sales/api/v1/lead/"), 503, "credential_unavailable");
    assert_eq!((origin.connections(), credential(&world, "credential_up")), (0, 0.0));
    write_token(&folder, "command-PLANTED\n");
    let back = ask_until(&world, "/sales/api/v1/lead/", |answer| answer.status != 503);
    assert_eq!((back.status, credential(&world, "credential_up")), (200, 1.0));
}

#[test]
fn a_command_is_run_again_once_its_token_is_refused() {
    let folder = TempDir::new().unwrap();
    write_token(&folder, "command-one-PLANTED");
    let (close, origin) = Close::start(&["Bearer command-one-PLANTED"]);
    let world = bearer_command(origin.address, &folder, "").start();
    assert_eq!(ask(&world, "/sales/api/v1/lead/").status, 200);
    write_token(&folder, "command-two-PLANTED");
    close.accept(&["Bearer command-two-PLANTED"]);
    is_suspect(&ask(&world, "/sales/api/v1/lead/"));
    ask_until(&world, "/sales/api/v1/lead/", |answer| answer.status == 200);
    assert_eq!(credential(&world, "credential_rejections_total"), 0.0);
}

#[test]
fn a_command_is_run_again_when_its_time_has_come() {
    let folder = TempDir::new().unwrap();
    write_token(&folder, "command-one-PLANTED");
    let (close, origin) = Close::start(&["Bearer command-one-PLANTED", "Bearer command-two-PLANTED"]);
    let world = bearer_command(origin.address, &folder, ", refresh = \"1s\"").start();
    assert_eq!(ask(&world, "/sales/api/v1/lead/").status, 200);
    write_token(&folder, "command-two-PLANTED");
    let is_new = |seen: &Seen| seen.values("authorization") == ["Bearer command-two-PLANTED"];
    ask_until(&world, "/sales/api/v1/lead/", |answer| {
        assert_eq!(answer.status, 200);
        is_new(origin.seen().last().unwrap())
    });
    assert!(questions(&origin).is_empty());
    drop(close);
}

#[test]
fn each_kind_of_credential_is_sent_in_its_own_way_and_on_its_own_connections() {
    let basic = format!("Basic {}", STANDARD.encode("user name:pass:wörd PLANTED"));
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .file("token.secret", "token-PLANTED")
        .file("password.secret", "pass:wörd PLANTED\n")
        .set("credentials.basic", "basic = { username = \"user name\", password = { file = \"password.secret\" } }")
        .set("credentials.bearer", "bearer = { file = \"token.secret\" }")
        .set("credentials.command", "bearer = { command = [\"echo\", \"command-PLANTED\"] }")
        .set("routes.again", "credential = \"sales\"\nprefix = \"/again\"")
        .set("routes.sales", "")
        .key("\"sales\", \"basic\", \"bearer\", \"command\", \"again\"")
        .start();
    let kinds = [
        ("sales", INJECTED),
        ("basic", &*basic),
        ("bearer", "Bearer token-PLANTED"),
        ("command", "Bearer command-PLANTED"),
        ("again", INJECTED),
    ];
    let mut client = world.connect();
    for _ in 0..5 {
        for (route, _) in kinds {
            client.send(request(&format!("/{route}/a")));
            assert_eq!(client.answer().status, 200, "{route}");
        }
    }
    let mut carried: HashMap<usize, HashSet<String>> = HashMap::new();
    for (number, seen) in origin.seen().iter().enumerate() {
        assert_eq!(seen.values("authorization"), [kinds[number % kinds.len()].1]);
        carried.entry(seen.connection).or_default().insert(seen.values("authorization")[0].to_owned());
    }
    assert!(carried.values().all(|credentials| credentials.len() == 1), "{carried:?}");
    assert_eq!(carried.len(), 4, "a credential's connections are used again, over all its routes");
}

#[test]
fn a_rejected_credential_leaves_the_others_alone() {
    let (_close, origin) = Close::start(&["Bearer token-PLANTED"]);
    let world = gateway(origin.address)
        .file("token.secret", "token-PLANTED")
        .set("credentials.partner", "bearer = { file = \"token.secret\" }")
        .key("\"sales\", \"partner\"")
        .start();
    is_suspect(&ask(&world, "/sales/api/v1/lead/"));
    told(&ask_until(&world, "/sales/api/v1/lead/", |answer| answer.status != 401), 503, "credential_unavailable");
    assert_eq!(ask(&world, "/partner/api/v1/lead/").status, 200);
    assert_eq!(world.metric("closegate_credential_up{credential=\"partner\"}"), 1.0);
}
