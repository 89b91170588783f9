//! The vault's life with a Close in memory: suspicion, rejection, recovery, promotion, refresh.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::config::{Credential, CredentialKind, SecretRef};
use crate::task;
use probe::{Dialling, Wire};

/// A Close that refuses the authorizations it is told to, and remembers what it was asked.
#[derive(Default)]
struct Close {
    refused: Mutex<BTreeSet<String>>,
    /// Answered to everything that is not refused; 0 stands for a Close that cannot be reached.
    status: Mutex<u16>,
    heads: Mutex<Vec<String>>,
}

impl Close {
    fn asked(&self) -> Vec<String> {
        let line =
            |head: &String| head.lines().find_map(|line| line.strip_prefix("authorization: ")).map(str::to_owned);
        self.heads.lock().unwrap().iter().filter_map(line).collect()
    }

    fn refuse(&self, authorizations: &[&str]) {
        *self.refused.lock().unwrap() = authorizations.iter().map(|text| (*text).to_owned()).collect();
    }

    async fn answer(self: Arc<Self>, mut wire: DuplexStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(wire.read_u8().await.unwrap());
        }
        self.heads.lock().unwrap().push(String::from_utf8(head).unwrap());
        let authorization = self.asked().pop().unwrap();
        let refused = self.refused.lock().unwrap().contains(&authorization);
        let status = if refused { 401 } else { *self.status.lock().unwrap() };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        wire.write_all(answer.as_bytes()).await.unwrap();
    }
}

struct Wiring(Arc<Close>);

impl Dial for Wiring {
    fn dial<'a>(&'a self, _: &'a Origin) -> Dialling<'a> {
        Box::pin(async move {
            if *self.0.status.lock().unwrap() == 0 {
                return Err("refused".to_owned());
            }
            let (ours, theirs) = tokio::io::duplex(4096);
            task::spawn("close", Arc::clone(&self.0).answer(theirs));
            Ok(Box::new(ours) as Box<dyn Wire>)
        })
    }
}

/// A vault with one credential, files for its secrets, and its Close.
struct Scene {
    folder: TempDir,
    credentials: BTreeMap<CredentialName, Credential>,
    close: Arc<Close>,
    meters: Arc<CredentialMeters>,
    vault: Arc<Vault>,
    warnings: Vec<Warning>,
}

const SALES: CredentialId = CredentialId(0);

impl Scene {
    /// A bearer whose token lies in the file `token`.
    async fn bearer(token: &str) -> Self {
        Self::with(&[("token", token)], |at| CredentialKind::Bearer(SecretRef::File(at("token")))).await
    }

    /// An API key with `current` and `next`.
    async fn pair(current: &str, next: &str) -> Self {
        Self::with(&[("current", current), ("next", next)], |at| CredentialKind::ApiKey {
            current: SecretRef::File(at("current")),
            next: Some(SecretRef::File(at("next"))),
        })
        .await
    }

    /// A bearer whose command prints the file `token`.
    async fn command(files: &[(&str, &str)], refresh: Option<Duration>) -> Self {
        Self::with(files, |at| {
            let argv = vec!["cat".to_owned(), at("token").display().to_string()];
            CredentialKind::Bearer(SecretRef::Command { argv, refresh })
        })
        .await
    }

    async fn with(files: &[(&str, &str)], kind: impl FnOnce(&dyn Fn(&str) -> PathBuf) -> CredentialKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let kind = kind(&|name| folder.path().join(name));
        let credentials = BTreeMap::from([(name("sales"), Credential { description: None, organization: None, kind })]);
        let close = Arc::new(Close { status: Mutex::new(200), ..Close::default() });
        let meters = Arc::new(CredentialMeters::default());
        let dial = Arc::new(Wiring(Arc::clone(&close)));
        let (holdings, warnings) =
            Holdings::read(&credentials, Arc::default(), &Circumstances::default()).await.unwrap();
        let (vault, watches) = Vault::open_over(None, holdings, |_| Arc::clone(&meters), dial, grants());
        watch_over(watches);
        Self { folder, credentials, close, meters, vault, warnings }
    }

    /// Reads everything again and has what is different take its place; how many credentials that were.
    async fn renew(&mut self) -> usize {
        let (holdings, _) = Holdings::read(&self.credentials, Arc::default(), &Circumstances::default()).await.unwrap();
        let same = self.vault.holds(&holdings);
        let (meters, dial) = (Arc::clone(&self.meters), Arc::new(Wiring(Arc::clone(&self.close))));
        let (vault, watches) = Vault::open_over(Some(&self.vault), holdings, |_| Arc::clone(&meters), dial, grants());
        assert_eq!(watches.is_empty(), same);
        self.vault = vault;
        watch_over(watches)
    }

    /// Replaces a file whole, so that no reader finds it half written.
    fn write(&self, file: &str, text: &str) {
        let (new, file) = (self.folder.path().join("new"), self.folder.path().join(file));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    fn state(&self) -> State {
        self.vault.states()[0].1
    }

    /// What a request would carry, and its generation.
    fn carried(&self) -> (String, u64) {
        let authorization = self.vault.authorization(SALES).unwrap();
        let generation = authorization.generation();
        let mut headers = HeaderMap::new();
        authorization.inject(&mut headers);
        (headers[AUTHORIZATION].to_str().unwrap().to_owned(), generation)
    }

    fn suspect(&self, generation: u64) {
        self.vault.suspect(SALES, generation, &origin());
    }

    fn counted(&self) -> (bool, u64, u64) {
        let CredentialMeters { up, rejections, promotions, .. } = &*self.meters;
        (up.load(Ordering::Relaxed), rejections.load(Ordering::Relaxed), promotions.load(Ordering::Relaxed))
    }

    /// Waits until the vault has looked into the suspicion, and gives what came of it; a paused clock stands still.
    async fn settled(&self) -> State {
        while self.state() == State::Suspect {
            tokio::task::yield_now().await;
        }
        self.state()
    }

    /// The same under a paused clock, which goes on as far as the vault waits.
    async fn settled_in_time(&self) -> State {
        while self.state() == State::Suspect {
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        self.state()
    }

    /// Waits until the vault comes to that state by itself.
    async fn becomes(&self, state: State) {
        while self.state() != state {
            tokio::task::yield_now().await;
        }
    }
}

/// Runs the watches; how many they are.
fn watch_over(watches: Vec<Watch>) -> usize {
    let count = watches.len();
    watches.into_iter().for_each(|watch| task::spawn("watch", watch.run()));
    count
}

fn name(text: &str) -> CredentialName {
    CredentialName::parse(text).unwrap()
}

fn grants() -> Arc<MemoryGrants> {
    Arc::default()
}

fn origin() -> Origin {
    Origin::parse("https://api.close.com/base").unwrap()
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

const UNAVAILABLE: State = State::Unavailable { reason: "its secret cannot be had" };

#[tokio::test]
async fn the_question_is_one_plain_get() {
    let scene = Scene::bearer("planted-token").await;
    assert_eq!(scene.vault.verify(SALES, &origin()).await, Verdict::Accepted);
    let heads = scene.close.heads.lock().unwrap().clone();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        heads,
        [format!(
            "GET /base/api/v1/me/ HTTP/1.1\r\nhost: api.close.com\r\naccept: application/json\r\n\
             user-agent: closegate/{version}\r\nauthorization: Bearer planted-token\r\n\r\n"
        )]
    );
}

#[tokio::test]
async fn a_verdict_is_401_or_2xx_and_nothing_else() {
    let scene = Scene::bearer("planted-token").await;
    for status in [204, 308, 403, 404, 429, 500] {
        *scene.close.status.lock().unwrap() = status;
        let verdict = scene.vault.verify(SALES, &origin()).await;
        let answered = http::StatusCode::from_u16(status).unwrap();
        let undecided = Verdict::Undecided(Undecided::Answered(answered));
        assert_eq!(verdict, if status == 204 { Verdict::Accepted } else { undecided });
    }
    *scene.close.status.lock().unwrap() = 0;
    let unreachable = Verdict::Undecided(Undecided::Unreachable("refused".to_owned()));
    assert_eq!(scene.vault.verify(SALES, &origin()).await, unreachable);
    *scene.close.status.lock().unwrap() = 99;
    assert_eq!(scene.vault.verify(SALES, &origin()).await, Verdict::Undecided(Undecided::Broken));
}

#[tokio::test(start_paused = true)]
async fn only_a_401_from_me_rejects_and_the_credential_recovers() {
    let scene = Scene::bearer("planted-token").await;
    assert_eq!((scene.counted(), scene.state()), ((true, 0, 0), State::Ready));

    scene.suspect(1);
    assert_eq!(scene.state(), State::Suspect);
    assert_eq!(scene.settled().await, State::Ready);
    assert_eq!(scene.close.asked().len(), 1);

    scene.close.refuse(&["Bearer planted-token"]);
    seconds(1).await;
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    assert_eq!(scene.counted(), (false, 1, 0));
    let unavailable = scene.vault.authorization(SALES).unwrap_err();
    assert_eq!(unavailable.reason, "Close refused it");
    assert!((1..=2).contains(&unavailable.retry_after));
    let asked = scene.close.asked().len();
    seconds(60).await;
    let tries = scene.close.asked().len() - asked;
    assert_eq!(tries, 5, "after 1, 2, 4, 8 and 16 seconds, and up to a quarter more");
    assert_eq!((scene.state(), scene.counted()), (State::Rejected, (false, 1, 0)));

    scene.close.refuse(&[]);
    seconds(20).await;
    assert_eq!((scene.state(), scene.counted()), (State::Ready, (true, 1, 0)));
    assert_eq!(scene.carried(), ("Bearer planted-token".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_file_is_read_again_while_rejected() {
    let scene = Scene::bearer("planted-token").await;
    scene.close.refuse(&["Bearer planted-token"]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    scene.write("token", "planted-again\n");
    seconds(2).await;
    assert_eq!((scene.state(), scene.carried().0), (State::Ready, "Bearer planted-again".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_file_replaced_before_the_401_is_taken_without_an_outage() {
    let scene = Scene::bearer("planted-token").await;
    scene.close.refuse(&["Bearer planted-token"]);
    scene.write("token", "planted-again\n");
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Ready);
    assert_eq!(scene.carried(), ("Bearer planted-again".to_owned(), 2));
    assert_eq!(scene.counted(), (true, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_cannot_be_asked_decides_nothing() {
    let scene = Scene::bearer("planted-token").await;
    for status in [0, 429, 503] {
        *scene.close.status.lock().unwrap() = status;
        scene.suspect(1);
        assert_eq!(scene.settled_in_time().await, State::Ready);
    }
    assert_eq!((scene.close.asked().len(), scene.counted()), (2, (true, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn many_suspicions_are_one_question_a_second() {
    let scene = Scene::bearer("planted-token").await;
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        for _ in 0..100 {
            scene.suspect(1);
        }
        assert_eq!(scene.settled_in_time().await, State::Ready);
    }
    assert_eq!(scene.close.asked().len(), 3);
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn next_is_promoted_when_current_is_rejected() {
    let scene = Scene::pair("api_current.planted", "api_next.planted").await;
    let (current, next) = ("Basic YXBpX2N1cnJlbnQucGxhbnRlZDo=", "Basic YXBpX25leHQucGxhbnRlZDo=");
    assert_eq!(scene.carried(), (current.to_owned(), 1));
    scene.close.refuse(&[current]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Ready);
    assert_eq!(scene.carried(), (next.to_owned(), 2));
    assert_eq!((scene.close.asked(), scene.counted()), (vec![current.to_owned(), next.to_owned()], (true, 0, 1)));

    scene.suspect(1);
    assert_eq!(scene.state(), State::Ready, "a 401 of the old key says nothing of the new one");

    scene.close.refuse(&[current, next]);
    scene.suspect(2);
    assert_eq!(scene.settled_in_time().await, State::Rejected);
    assert_eq!(scene.counted(), (false, 1, 1));
    scene.close.refuse(&[next]);
    seconds(60).await;
    assert_eq!(scene.state(), State::Rejected, "the old key is no candidate any more");
}

#[tokio::test(start_paused = true)]
async fn with_both_keys_refused_either_brings_the_credential_back() {
    let scene = Scene::pair("api_current.planted", "api_next.planted").await;
    let (current, next) = ("Basic YXBpX2N1cnJlbnQucGxhbnRlZDo=", "Basic YXBpX25leHQucGxhbnRlZDo=");
    scene.close.refuse(&[current, next]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    scene.close.refuse(&[next]);
    seconds(2).await;
    assert_eq!((scene.carried().0.as_str(), scene.counted()), (current, (true, 1, 0)));
    scene.close.refuse(&[current]);
    scene.suspect(2);
    seconds(2).await;
    assert_eq!((scene.carried().0.as_str(), scene.counted()), (next, (true, 1, 1)));
}

#[tokio::test]
async fn an_answer_is_scrubbed_of_both_keys_of_a_pair() {
    let scene = Scene::pair("api_current.planted", "api_next.planted").await;
    let mut redactor = scene.vault.authorization(SALES).unwrap().inject(&mut HeaderMap::new());
    let body = "api_current.planted YXBpX2N1cnJlbnQucGxhbnRlZDo= api_next.planted YXBpX25leHQucGxhbnRlZDo=";
    let out = redactor.scrub(bytes::Bytes::from(body));
    assert_eq!(out, format!("{0} {1}= {2} {3}=", "*".repeat(19), "*".repeat(27), "*".repeat(16), "*".repeat(23)));
    assert_eq!(redactor.redactions(), 4);
}

#[tokio::test]
async fn a_command_runs_once_more_after_a_rejection() {
    let scene = Scene::command(&[("token", "planted-token")], None).await;
    scene.close.refuse(&["Bearer planted-token"]);
    scene.write("token", "planted-again");
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Ready);
    assert_eq!((scene.carried(), scene.counted()), (("Bearer planted-again".to_owned(), 2), (true, 0, 0)));
}

#[tokio::test]
async fn a_command_that_fails_leaves_its_credential_unavailable_until_it_works() {
    let scene = Scene::command(&[], None).await;
    assert_eq!((scene.state(), scene.counted()), (UNAVAILABLE, (false, 0, 0)));
    assert_eq!(scene.warnings[0].key, "credentials.sales.bearer");
    assert_eq!(scene.warnings[0].what, "command `cat` failed: exit status: 1");
    let unavailable = scene.vault.authorization(SALES).unwrap_err();
    assert!((1..=2).contains(&unavailable.retry_after));
    let undecided = Undecided::Unavailable("its secret cannot be had");
    assert_eq!(scene.vault.verify(SALES, &origin()).await, Verdict::Undecided(undecided));
    scene.write("token", "planted-token");
    scene.becomes(State::Ready).await;
    assert_eq!((scene.carried().0.as_str(), scene.counted()), ("Bearer planted-token", (true, 0, 0)));
}

#[tokio::test]
async fn a_refresh_takes_a_new_token_and_a_failed_one_takes_it_away() {
    let scene = Scene::command(&[("token", "planted-token")], Some(Duration::from_millis(50))).await;
    scene.write("token", "planted-again");
    while scene.carried().1 == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.carried(), ("Bearer planted-again".to_owned(), 2));
    std::fs::remove_file(scene.folder.path().join("token")).unwrap();
    scene.becomes(UNAVAILABLE).await;
    assert_eq!(scene.counted(), (false, 0, 0));
    scene.write("token", "planted-again");
    scene.becomes(State::Ready).await;
    assert_eq!(scene.carried().1, 3);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_the_same_stays_as_it_is() {
    let mut scene = Scene::bearer("planted-token").await;
    scene.close.refuse(&["Bearer planted-token"]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    assert_eq!(scene.renew().await, 0);
    assert_eq!((scene.state(), scene.counted()), (State::Rejected, (false, 1, 0)));
    scene.close.refuse(&[]);
    seconds(2).await;
    assert_eq!((scene.state(), scene.carried().1), (State::Ready, 2), "the watch goes on");
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_takes_the_place_of_a_rejected_one() {
    let mut scene = Scene::bearer("planted-token").await;
    let before = Arc::clone(&scene.vault);
    scene.close.refuse(&["Bearer planted-token"]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    scene.write("token", "planted-again");
    assert_eq!(scene.renew().await, 1);
    assert_eq!((scene.state(), scene.carried()), (State::Ready, ("Bearer planted-again".to_owned(), 1)));
    assert_eq!(scene.counted(), (true, 1, 0));
    // The watch over what was changed has ended: nothing brings it back, and no more is asked for it.
    seconds(600).await;
    assert_eq!(before.states()[0].1, State::Rejected);
    assert_eq!((scene.close.asked().len(), scene.counted()), (1, (true, 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn what_began_with_an_old_secret_still_has_it() {
    let mut scene = Scene::bearer("planted-token").await;
    let before = Arc::clone(&scene.vault);
    scene.write("token", "planted-again");
    assert_eq!(scene.renew().await, 1);
    let mut headers = HeaderMap::new();
    before.authorization(SALES).unwrap().inject(&mut headers);
    assert_eq!(headers[AUTHORIZATION], "Bearer planted-token");
    scene.close.refuse(&["Bearer planted-token"]);
    before.suspect(SALES, 1, &origin());
    seconds(5).await;
    assert_eq!((scene.state(), scene.counted()), (State::Ready, (true, 0, 0)), "what it comes to is nobody's matter");
    assert!(scene.close.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_promoted_secret_stays_promoted_while_both_are_the_same() {
    let mut scene = Scene::pair("api_current.planted", "api_next.planted").await;
    let (current, next) = ("Basic YXBpX2N1cnJlbnQucGxhbnRlZDo=", "Basic YXBpX25leHQucGxhbnRlZDo=");
    scene.close.refuse(&[current]);
    scene.suspect(1);
    assert_eq!((scene.settled().await, scene.carried().0.as_str()), (State::Ready, next));
    assert_eq!(scene.renew().await, 0);
    assert_eq!(scene.carried(), (next.to_owned(), 2));
    scene.write("current", "api_later.planted");
    assert_eq!(scene.renew().await, 1);
    assert_eq!(scene.carried().0, "Basic YXBpX2xhdGVyLnBsYW50ZWQ6");
}

#[tokio::test]
async fn a_command_runs_again_and_one_that_fails_takes_its_credential_out_of_use() {
    let mut scene = Scene::command(&[("token", "planted-token")], None).await;
    assert_eq!(scene.renew().await, 0);
    scene.write("token", "planted-again");
    assert_eq!(scene.renew().await, 1);
    assert_eq!(scene.carried().0, "Bearer planted-again");
    std::fs::remove_file(scene.folder.path().join("token")).unwrap();
    assert_eq!(scene.renew().await, 1);
    assert_eq!((scene.state(), scene.counted()), (UNAVAILABLE, (false, 0, 0)));
    scene.write("token", "planted-again");
    scene.becomes(State::Ready).await;
}

#[tokio::test]
async fn a_credential_that_is_removed_and_one_that_is_added_are_gone_and_there() {
    let mut scene = Scene::bearer("planted-token").await;
    let (_, credential) = scene.credentials.pop_first().unwrap();
    scene.credentials.insert(name("partner"), credential);
    let before = Arc::clone(&scene.vault);
    assert_eq!(scene.renew().await, 1);
    assert_eq!((scene.vault.find(&name("sales")), scene.vault.find(&name("partner"))), (None, Some(SALES)));
    assert!(before.authorization(SALES).is_ok());
    // The watch over it was the only other one that held it.
    while Arc::strong_count(&before.entries[0]) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_fault_is_told_at_once_by_its_setting() {
    let missing = |name: &str| SecretRef::Env(format!("CLOSEGATE_TEST_{name}"));
    let absent = SecretRef::File("/nonexistent/secret".into());
    let pair = CredentialKind::ApiKey { current: missing("CURRENT"), next: Some(absent) };
    let basic = CredentialKind::Basic { username: "u".into(), password: missing("PASSWORD") };
    let fine = CredentialKind::Bearer(SecretRef::Env("CARGO_PKG_NAME".into()));
    let kinds = [("a", pair), ("b", fine), ("c", basic)];
    let credentials =
        kinds.map(|(at, kind)| (name(at), Credential { description: None, organization: None, kind })).into();
    let faults = Holdings::read(&credentials, Arc::default(), &Circumstances::default()).await.unwrap_err();
    let told: Vec<_> = faults.iter().map(SecretFault::to_string).collect();
    assert_eq!(
        told,
        [
            "`credentials.a.api_key.current`: environment variable `CLOSEGATE_TEST_CURRENT` is not set",
            "`credentials.a.api_key.next`: file `/nonexistent/secret` cannot be read: entity not found",
            "`credentials.c.basic.password`: environment variable `CLOSEGATE_TEST_PASSWORD` is not set",
        ]
    );
}

#[tokio::test]
async fn a_short_secret_is_warned_about_and_names_find_their_credential() {
    let scene = Scene::bearer("eleven-long").await;
    let warning = scene.warnings.last().unwrap();
    assert_eq!(warning.key, "credentials.sales.bearer");
    assert_eq!(warning.what, "the secret is shorter than 12 bytes, and is not looked for in answers");
    assert_eq!(scene.vault.find(&name("sales")), Some(SALES));
    assert_eq!(scene.vault.find(&name("partner")), None);
    assert_eq!(scene.vault.name(SALES), &name("sales"));
}

#[tokio::test]
async fn nothing_prints_a_secret() {
    let scene = Scene::pair("api_current.planted", "api_next.planted").await;
    assert_eq!(format!("{:?}", scene.vault), "[credential `sales`: Ready]");
    let dial = Arc::new(Wiring(Arc::default()));
    let (holdings, warnings) =
        Holdings::read(&scene.credentials, Arc::default(), &Circumstances::default()).await.unwrap();
    let printed = format!("{holdings:?} {warnings:?} {:?}", holdings.credentials[&name("sales")].known);
    let (vault, watches) = Vault::open_over(None, holdings, |_| Arc::default(), dial, grants());
    let printed = format!("{printed} {vault:?} {watches:?} {:?}", vault.authorization(SALES));
    assert!(printed.contains("[secret]"));
    assert!(!printed.contains("planted") && !printed.contains("YXBp"), "{printed}");
}

impl Scene {
    /// What the vault would be under other circumstances.
    async fn read(&self, circumstances: &Circumstances<'_>) -> Result<Holdings, Vec<SecretFault>> {
        let read = Holdings::read(&self.credentials, Arc::default(), circumstances).await;
        read.map(|(holdings, _)| holdings)
    }

    fn follow(&self, holdings: Holdings) -> (Arc<Vault>, Vec<Watch>) {
        let (meters, dial) = (Arc::clone(&self.meters), Arc::new(Wiring(Arc::clone(&self.close))));
        Vault::open_over(Some(&self.vault), holdings, |_| Arc::clone(&meters), dial, grants())
    }
}

#[tokio::test]
async fn a_disabled_credential_is_sent_by_nobody_until_it_is_enabled() {
    let scene = Scene::bearer("planted-token").await;
    let disabled = Circumstances { disabled: ["sales".to_owned()].into(), ..Circumstances::default() };
    let (out, watches) = scene.follow(scene.read(&disabled).await.unwrap());
    assert!(watches.is_empty(), "nothing about it changes by itself");
    assert_eq!(out.states()[0].1, State::Disabled);
    for vault in [&out, &scene.vault] {
        let refused = vault.authorization(SALES).unwrap_err();
        assert_eq!((refused.reason, refused.retry_after), ("it is disabled", 60), "also for who began before");
    }
    assert!(!scene.meters.up.load(Ordering::Relaxed));
    let (back, watches) = Vault::open_over(
        Some(&out),
        scene.read(&Circumstances::default()).await.unwrap(),
        |_| Arc::clone(&scene.meters),
        Arc::new(Wiring(Arc::clone(&scene.close))),
        grants(),
    );
    assert_eq!((watches.len(), back.states()[0].1), (1, State::Ready));
    assert!(scene.meters.up.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_is_known_need_not_be_read_again() {
    let scene = Scene::bearer("planted-token").await;
    std::fs::remove_file(scene.folder.path().join("token")).unwrap();
    let over = |again| Circumstances { before: Some((&*scene.vault, again)), ..Circumstances::default() };
    let known = scene.read(&over(Again::Nothing)).await.unwrap();
    assert!(scene.vault.holds(&known));
    assert!(scene.read(&over(Again::Declared)).await.is_err());
}

#[tokio::test]
async fn the_uses_of_a_secret_are_counted_until_their_answers_are_over() {
    let scene = Scene::bearer("planted-token").await;
    assert_eq!(scene.vault.uses(&name("sales")), 0);
    let redactor = scene.vault.authorization(SALES).unwrap().inject(&mut http::HeaderMap::new());
    assert_eq!(scene.vault.uses(&name("sales")), 1);
    drop(redactor);
    assert_eq!(scene.vault.uses(&name("sales")), 0);
}
