//! Grants with a simulated Close in memory and a clock that stands still: refreshes, faults, replicas, flows.

mod archived;
mod faults;
mod flows;
mod refreshes;
mod replicas;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

use super::*;
use crate::config::{Credential, CredentialKind, Endpoint, OAuth2, SecretRef};
use crate::id::{CredentialId, CredentialName};
use crate::origin::{Origin, Reach};
use crate::sim::{ClientAuthentication, Fault, Grant, OAuthApp, Options, Reuse, Seen, Simulator, Trouble};
use crate::store::{Event, Fence};
use crate::task;
use crate::telemetry::{CredentialMeters, Refresh};
use crate::vault::probe::{Dial, Dialling};
use crate::vault::{Circumstances, Holdings, SecretText, State, Trial, Unavailable, Vault};

const PARTNER: CredentialId = CredentialId(0);
const HOUR: Duration = Duration::from_secs(3600);

fn event() -> Event {
    Event::now("test", "credential.authorize", "")
}

fn text(secret: &str) -> SecretText {
    SecretText::new(secret.to_owned().into())
}

/// How a vault reaches the simulator: by pipes, unless the line is cut.
struct Line {
    simulator: Simulator,
    cut: Mutex<bool>,
}

impl Dial for Line {
    fn dial<'a>(&'a self, _: &'a Origin) -> Dialling<'a> {
        Box::pin(async move {
            if *self.cut.lock().unwrap() {
                return Err("the line is cut".to_owned());
            }
            Ok(Box::new(self.simulator.pipe()) as Box<dyn crate::vault::probe::Wire>)
        })
    }
}

/// Grants that several vaults share, and that can be told to fail or to wait.
struct Shared {
    inner: MemoryGrants,
    /// How many more times tokens are not stored.
    failures: AtomicUsize,
    /// Storing waits here.
    gate: Semaphore,
    /// How many wait there.
    waiting: watch::Sender<usize>,
    reads: AtomicUsize,
    down: Mutex<bool>,
    /// What another process stores just before the next lease is taken.
    overtaken: Mutex<Option<Tokens>>,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryGrants::default(),
            failures: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            waiting: watch::Sender::new(0),
            reads: AtomicUsize::new(0),
            down: Mutex::new(false),
            overtaken: Mutex::default(),
        })
    }

    /// Has everybody wait who stores tokens.
    fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn open_gate(&self) {
        self.gate.add_permits(1000);
    }

    fn told_to_fail(&self) -> Result<(), GrantsFault> {
        let fails = self.failures.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if fails.is_ok() { Err(GrantsFault::Unreachable("told to fail".to_owned())) } else { Ok(()) }
    }

    fn is_up(&self) -> Result<(), GrantsFault> {
        if *self.down.lock().unwrap() { Err(GrantsFault::Unreachable("down".to_owned())) } else { Ok(()) }
    }
}

impl Grants for Shared {
    fn stored<'a>(&'a self, name: &'a CredentialName) -> Doing<'a, Option<Stored>> {
        Box::pin(async move {
            self.is_up()?;
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.inner.stored(name).await
        })
    }

    fn lease<'a>(&'a self, name: &'a CredentialName, owner: &'a str, time: Duration) -> Doing<'a, Option<Fence>> {
        Box::pin(async move {
            self.is_up()?;
            let overtaken = self.overtaken.lock().unwrap().take();
            if let Some(tokens) = overtaken {
                self.inner.put(name, &tokens, &event()).await?;
            }
            self.inner.lease(name, owner, time).await
        })
    }

    fn renew<'a>(&'a self, name: &'a CredentialName, fence: Fence, time: Duration) -> Doing<'a, ()> {
        Box::pin(async move {
            self.is_up()?;
            self.inner.renew(name, fence, time).await
        })
    }

    fn release<'a>(&'a self, name: &'a CredentialName, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move {
            self.is_up()?;
            self.inner.release(name, fence).await
        })
    }

    fn mark<'a>(&'a self, name: &'a CredentialName, condition: Condition, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move {
            self.is_up()?;
            self.inner.mark(name, condition, fence).await
        })
    }

    fn keep<'a>(&'a self, name: &'a CredentialName, tokens: &'a Tokens, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move {
            self.waiting.send_modify(|count| *count += 1);
            drop(self.gate.acquire().await.unwrap());
            self.waiting.send_modify(|count| *count -= 1);
            self.is_up()?;
            self.told_to_fail()?;
            self.inner.keep(name, tokens, fence).await
        })
    }

    fn put<'a>(&'a self, name: &'a CredentialName, tokens: &'a Tokens, event: &'a Event) -> Doing<'a, ()> {
        Box::pin(async move {
            self.is_up()?;
            self.told_to_fail()?;
            self.inner.put(name, tokens, event).await
        })
    }

    fn prove<'a>(&'a self, _: &'a CredentialName) -> Doing<'a, ()> {
        Box::pin(async { self.is_up() })
    }

    fn remember<'a>(&'a self, state: [u8; 32], flow: &'a Flow, until: Timestamp) -> Doing<'a, ()> {
        self.inner.remember(state, flow, until)
    }

    fn look(&self, state: [u8; 32]) -> Doing<'_, Option<(Flow, Timestamp)>> {
        self.inner.look(state)
    }

    fn lend<'a>(&'a self, ticket: [u8; 32], state: &'a str, until: Timestamp) -> Doing<'a, ()> {
        self.inner.lend(ticket, state, until)
    }

    fn redeem(&self, ticket: [u8; 32]) -> Doing<'_, Option<Zeroizing<String>>> {
        self.inner.redeem(ticket)
    }

    fn take(&self, state: [u8; 32]) -> Doing<'_, Option<Flow>> {
        self.inner.take(state)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes()
    }

    fn sharing(&self) -> Sharing {
        Sharing::Shared
    }
}

/// One replica.
struct Replica {
    vault: Arc<Vault>,
    meters: Arc<CredentialMeters>,
}

/// A simulated Close with one app, a store, and replicas of a gateway.
struct Scene {
    simulator: Simulator,
    line: Arc<Line>,
    app: OAuthApp,
    credentials: BTreeMap<CredentialName, Credential>,
    grants: Arc<Shared>,
    replicas: Vec<Replica>,
    folder: TempDir,
}

impl Scene {
    /// A credential with a grant, and one replica.
    async fn granted() -> Self {
        let mut scene = Self::without_grant(|app| app).await;
        scene.grant(HOUR).await;
        scene.join().await;
        scene
    }

    async fn without_grant(change: impl FnOnce(OAuthApp) -> OAuthApp) -> Self {
        let app = change(OAuthApp::new("partner", "https://localhost/oauth/callback").unwrap());
        let simulator = Simulator::start(Options::new().app(app.clone()).strict()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, app.client_secret()).unwrap();
        let oauth = OAuth2::of_close(
            app.client_id().to_owned(),
            SecretRef::File(secret),
            Endpoint::pasted_back(),
            Reach::Public,
        );
        let credential =
            Credential { description: None, organization: None, kind: CredentialKind::OAuth2(Box::new(oauth)) };
        let line = Arc::new(Line { simulator: simulator.clone(), cut: Mutex::new(false) });
        Self {
            simulator,
            line,
            app,
            credentials: BTreeMap::from([(name(), credential)]),
            grants: Shared::new(),
            replicas: Vec::new(),
            folder,
        }
    }

    /// A grant that Close knows lies in the store, its access token good for so long as the store believes.
    async fn grant(&self, lifetime: Duration) -> Grant {
        let grant = self.simulator.grant(&self.app).unwrap();
        self.grants.put(&name(), &self.tokens(&grant, lifetime), &event()).await.unwrap();
        grant
    }

    fn tokens(&self, grant: &Grant, lifetime: Duration) -> Tokens {
        let given = tokens::Given { access: secret(&grant.access_token), refresh: None, lifetime };
        Tokens::of(given, &secret(&grant.refresh_token), self.app.client_id())
    }

    /// Another replica begins to serve, and has read the store.
    async fn join(&mut self) -> usize {
        let (holdings, _) = Holdings::read(&self.credentials, Arc::default(), &Circumstances::default()).await.unwrap();
        let meters = Arc::new(CredentialMeters::default());
        let (line, grants) = (Arc::clone(&self.line), Arc::clone(&self.grants));
        let (vault, watches) = Vault::open_over(None, holdings, |_| Arc::clone(&meters), line, grants);
        watches.into_iter().for_each(|watch| task::spawn("watch", watch.run()));
        self.replicas.push(Replica { vault, meters });
        let at = self.replicas.len() - 1;
        self.until(|| self.state_of(at) != State::Refreshing).await;
        at
    }

    fn vault(&self) -> &Vault {
        &self.replicas[0].vault
    }

    fn state(&self) -> State {
        self.state_of(0)
    }

    fn state_of(&self, replica: usize) -> State {
        self.replicas[replica].vault.states()[0].1
    }

    /// What a request carries at a replica, waiting for it if need be.
    async fn carried_by(&self, replica: usize) -> Result<String, Unavailable> {
        let vault = &self.replicas[replica].vault;
        let authorization = match vault.authorization(PARTNER) {
            Ok(authorization) => authorization,
            Err(_) => vault.awaited(PARTNER).unwrap().token().await?,
        };
        let mut headers = HeaderMap::new();
        authorization.inject(&mut headers);
        Ok(headers[AUTHORIZATION].to_str().unwrap().to_owned())
    }

    async fn carried(&self) -> String {
        self.carried_by(0).await.unwrap()
    }

    /// The newest access token, as a request carries it.
    fn newest(&self) -> String {
        format!("Bearer {}", self.simulator.grants()[0].access_token)
    }

    /// How often Close refreshed the grant, and whether that is over.
    fn at_close(&self) -> (usize, bool) {
        let grant = &self.simulator.grants()[0];
        (grant.refreshes, grant.over)
    }

    /// Successes, failures, refusals.
    fn counted(&self) -> (u64, u64, u64) {
        let count = |refresh| self.replicas[0].meters.refreshes.count(refresh);
        (count(Refresh::Success), count(Refresh::Failure), count(Refresh::Refused))
    }

    async fn condition(&self) -> Condition {
        self.grants.inner.stored(&name()).await.unwrap().unwrap().condition
    }

    /// What arrived at the token endpoint.
    fn asked(&self) -> Vec<Seen> {
        self.simulator.seen().into_iter().filter(|seen| seen.target == "/oauth2/token/").collect()
    }

    /// The moment at which the access token that is in use is surely due, and not over.
    async fn token_is_due(&self) {
        tokio::time::sleep(HOUR.mul_f64(0.91)).await;
    }

    /// Waits until something is so; a paused clock goes on as far as everybody waits.
    async fn until(&self, condition: impl Fn() -> bool) {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Orders a fault for every question to the token endpoint.
    fn script(&self, trouble: Trouble) {
        self.simulator.script(Fault::new(trouble).under("/oauth2/token/").always());
    }
}

fn name() -> CredentialName {
    CredentialName::parse("partner").unwrap()
}

fn secret(text: &str) -> crate::vault::secret::Secret {
    crate::vault::secret::Secret::new(crate::vault::credential::joined(&[text.as_bytes()]))
}
