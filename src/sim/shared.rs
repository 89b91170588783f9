//! What all connections of a simulator share: who is let in, the records, the faults on order, and what was seen.

use std::collections::BTreeMap;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::accepted::Accepted;
use super::fault::Faults;
use super::ids::Ids;
use super::oauth::{Authority, OAuthApp};
use super::rate::{self, RateLimit, Standing, Window};
use super::records::Organisation;
use super::seed;
use super::seen::Ledger;
use super::strict;
use super::wire::Head;

/// Which requests are refused for what their heads carry.
pub(super) struct Expectations {
    /// Whether headers that a gateway must drop are refused.
    pub(super) strict: bool,
    /// The one `Host` that is right, when only one is.
    pub(super) host: Option<String>,
}

impl Expectations {
    /// What is wrong with a head, in words.
    pub(super) fn violation(&self, head: &Head) -> Option<String> {
        let wrong_host = self.host.as_deref().filter(|host| head.text("host") != Some(host));
        let said = wrong_host.map(|host| format!("`host` is not `{host}`"));
        said.or_else(|| if self.strict { strict::violation(head) } else { None })
    }
}

/// Credentials, records and counters.
pub(super) struct World {
    pub(super) ids: Ids,
    pub(super) rate: RateLimit,
    pub(super) oauth: Authority,
    accepted: Vec<Accepted>,
    organisations: BTreeMap<String, Organisation>,
    windows: BTreeMap<(String, String), Window>,
}

impl World {
    pub(super) fn new(rate: RateLimit) -> io::Result<Self> {
        Ok(Self {
            ids: Ids::seeded()?,
            rate,
            oauth: Authority::default(),
            accepted: Vec::new(),
            organisations: BTreeMap::new(),
            windows: BTreeMap::new(),
        })
    }

    /// Lets a credential in; its organisation begins with a few records.
    pub(super) fn accept(&mut self, credential: Accepted) {
        self.found(credential.organisation());
        self.accepted.push(credential);
    }

    /// Lets an OAuth app ask for grants of its organisation.
    pub(super) fn register(&mut self, app: OAuthApp) {
        self.found(app.organisation());
        self.oauth.register(app);
    }

    fn found(&mut self, name: &str) {
        self.organisations.entry(name.to_owned()).or_insert_with(|| seed::organisation(name, &mut self.ids));
    }

    /// The ids of an organisation and of its user.
    pub(super) fn identities(&self, organisation: &str) -> (&str, &str) {
        self.organisations.get(organisation).map_or(("", ""), Organisation::identities)
    }

    /// Shuts a credential out.
    pub(super) fn revoke(&mut self, credential: &Accepted) {
        self.accepted.retain(|each| each != credential);
    }

    /// The credential that a request presents, to the byte.
    pub(super) fn identify(&self, head: &Head) -> Option<Accepted> {
        let presented = head.text("authorization")?;
        let known = self.accepted.iter().find(|each| each.authorization() == presented).cloned();
        known.or_else(|| {
            let token = presented.strip_prefix("Bearer ")?;
            Some(Accepted::bearer(self.oauth.organisation_of(token)?, token))
        })
    }

    /// The organisation that a credential opens, and the source of new ids.
    pub(super) fn open(&mut self, credential: &Accepted) -> Option<(&mut Organisation, &mut Ids)> {
        let organisation = self.organisations.get_mut(credential.organisation())?;
        Some((organisation, &mut self.ids))
    }

    /// Counts a request against the limits of its credential and its organisation for an endpoint group.
    pub(super) fn count(&mut self, credential: Option<&Accepted>, group: &str) -> Standing {
        let who = credential.map_or("", Accepted::authorization);
        let organization = credential.filter(|_| self.rate.organization.is_some()).map(Accepted::organisation);
        let mut take =
            |whose: &str| self.windows.remove(&(whose.to_owned(), group.to_owned())).unwrap_or_else(Window::new);
        let (mut own, mut all) = (take(who), organization.map(&mut take));
        let standing = rate::count(&self.rate, &mut own, all.as_mut());
        self.windows.insert((who.to_owned(), group.to_owned()), own);
        if let Some((organization, all)) = organization.zip(all) {
            self.windows.insert((organization.to_owned(), group.to_owned()), all);
        }
        standing
    }
}

/// The state of a simulator.
pub(super) struct Shared {
    pub(super) expectations: Expectations,
    pub(super) tls: Option<TlsAcceptor>,
    world: Mutex<World>,
    faults: Mutex<Faults>,
    ledger: Mutex<Ledger>,
    gate: Semaphore,
    held: AtomicUsize,
    accepted: AtomicUsize,
    live: AtomicUsize,
    listeners: AtomicUsize,
    events: watch::Sender<()>,
    stop: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(expectations: Expectations, tls: Option<TlsAcceptor>, world: World, ledger: Ledger) -> Self {
        Self {
            expectations,
            tls,
            world: Mutex::new(world),
            faults: Mutex::new(Faults::default()),
            ledger: Mutex::new(ledger),
            gate: Semaphore::new(0),
            held: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
            events: watch::Sender::new(()),
            stop: watch::Sender::new(false),
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait for something that something has happened.
    pub(super) fn announce(&self) {
        self.events.send_replace(());
    }

    pub(super) fn events(&self) -> watch::Receiver<()> {
        self.events.subscribe()
    }

    /// Resolves when the simulator is told to stop.
    pub(super) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        _ = stop.wait_for(|stopped| *stopped).await;
    }

    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the gate lets this one through.
    pub(super) async fn pass_gate(&self) {
        let held = Counted::enter(self, |shared| &shared.held);
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        drop(held);
    }

    pub(super) fn open_gate(&self, times: usize) {
        self.gate.add_permits(times);
    }

    /// Counts a connection while it lives, and says which it is.
    pub(super) fn connected(self: Arc<Self>) -> (usize, Counted<Arc<Self>>) {
        let serial = self.accepted.fetch_add(1, Ordering::AcqRel) + 1;
        (serial, Counted::enter(self, |shared| &shared.live))
    }

    /// Marks the listener as open while it is.
    pub(super) fn listening(&self) -> Counted<&Self> {
        Counted::enter(self, |shared| &shared.listeners)
    }

    /// Whether neither a listener nor a connection is left.
    pub(super) fn is_over(&self) -> bool {
        self.live() == 0 && self.listeners.load(Ordering::Acquire) == 0
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Acquire)
    }

    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }
}

/// One more in a counter, until it is dropped.
pub(super) struct Counted<S: Deref<Target = Shared>> {
    shared: S,
    counter: fn(&Shared) -> &AtomicUsize,
}

impl<S: Deref<Target = Shared>> Counted<S> {
    fn enter(shared: S, counter: fn(&Shared) -> &AtomicUsize) -> Self {
        counter(&shared).fetch_add(1, Ordering::AcqRel);
        shared.announce();
        Self { shared, counter }
    }
}

impl<S: Deref<Target = Shared>> Drop for Counted<S> {
    fn drop(&mut self) {
        (self.counter)(&self.shared).fetch_sub(1, Ordering::AcqRel);
        self.shared.announce();
    }
}
