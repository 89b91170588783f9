//! The vault's life with a Close in memory: suspicion, rejection, recovery, promotion, refresh.

mod commands;
mod following;
mod suspicion;

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
async fn the_uses_of_a_secret_are_counted_until_their_answers_are_over() {
    let scene = Scene::bearer("planted-token").await;
    assert_eq!(scene.vault.uses(&name("sales")), 0);
    let redactor = scene.vault.authorization(SALES).unwrap().inject(&mut http::HeaderMap::new());
    assert_eq!(scene.vault.uses(&name("sales")), 1);
    drop(redactor);
    assert_eq!(scene.vault.uses(&name("sales")), 0);
}
