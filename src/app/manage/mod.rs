//! Everything that can be managed at run time, done: on the store, and in the running gateway where there is one.
//!
//! A change is checked by the very checks of the configuration file, stored in one transaction with its event, and in
//! force when it is answered. One that fails changes nothing. Of several changes at once one is made after the other.

mod authorization;
mod body;
mod credentials;
mod events;
mod explain;
mod ground;
mod keys;
mod outcome;
mod refuse;
mod routes;
mod suggest;
mod usage;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use self::body::CredentialBody as Body;
use self::ground::Ground;
use super::bell::{Bell, Change};
use super::managed::Kept;
use super::reload::{Effective, Standing};
use super::usage::Books;
use crate::admin::model::{
    Actor, CreatedKey, CredentialView, Departure, EventPage, EventQuery, ExplainQuery, Explained, KeyRotation,
    KeySettings, KeyView, NewCredential, NewKey, NewRoute, Organization, Progress, RefusalQuery, RefusalView, Reload,
    Removal, Returned, Rotation, RouteSettings, RouteView, SecretText, SettingView, Source, Started, Suggestion,
    UpdatedCredential, Usage, UsageQuery, User, Verification, Version,
};
use crate::admin::{Answer, Code, Kind, Management, Refusal};
use crate::config::{self, Addition, Base, Place};
use crate::id::{CredentialName, KeyName, RouteName};
use crate::store::{self, Event, Expected, Step, Store};
use crate::telemetry::Telemetry;
use crate::vault::Archive;

pub(super) use self::body::{CredentialBody, KeyBody, RouteBody};
pub(super) use self::events::tell;

/// Does what the admin API and the command line ask for.
pub struct Manager {
    archive: Arc<Archive>,
    ground: Ground,
    /// What was used and is not written yet, where a gateway runs.
    books: Option<Arc<Books>>,
    /// One change after the other.
    turns: Semaphore,
    /// What Close said of credentials of the configuration, which have no record to remember it.
    introduced: Mutex<BTreeMap<CredentialName, Introduced>>,
    /// Told when an authorization that somebody may wait for is over.
    concluded: Notify,
}

#[derive(Debug, Clone, Default)]
struct Introduced {
    verified_at: Option<Timestamp>,
    organization: Option<Organization>,
    user: Option<User>,
}

impl Manager {
    /// In a running gateway.
    pub(super) fn running(
        archive: Arc<Archive>,
        bell: Bell,
        effective: watch::Receiver<Arc<Effective>>,
        telemetry: Arc<Telemetry>,
        books: Arc<Books>,
    ) -> Self {
        Self::on(archive, Ground::Running { bell, effective, telemetry }, Some(books))
    }

    /// On the store alone, beside what the sources say.
    pub fn alone(archive: Arc<Archive>, base: Base) -> Self {
        Self::on(archive, Ground::Alone { base }, None)
    }

    fn on(archive: Arc<Archive>, ground: Ground, books: Option<Arc<Books>>) -> Self {
        Self {
            archive,
            ground,
            books,
            turns: Semaphore::new(1),
            introduced: Mutex::default(),
            concluded: Notify::new(),
        }
    }

    fn store(&self) -> &Store {
        self.archive.store()
    }

    async fn effective(&self) -> Result<Arc<Effective>, Refusal> {
        self.ground.effective(self.store()).await
    }

    /// What is in force as a change is to find it: with what others have changed meanwhile.
    async fn latest(&self) -> Result<(Arc<Effective>, SemaphorePermit<'_>), Refusal> {
        let turn = self.turns.acquire().await.map_err(|_| Refusal::internal())?;
        let effective = self.effective().await?;
        let revision = self.store().revision().await.map_err(|fault| refuse::by_store(&fault))?;
        if revision == effective.snapshot.revision && effective.standing == Standing::Whole {
            return Ok((effective, turn));
        }
        self.ground.take_effect().await?;
        Ok((self.effective().await?, turn))
    }

    /// Stores a change with its event, and has it be in force.
    async fn make(&self, effective: &Effective, mut steps: Vec<Step>, event: Event) -> Result<(), Refusal> {
        if !effective.loaded.config.keys.is_empty() && !effective.snapshot.keys_ever_defined {
            steps.push(Step::DefineKeys);
        }
        let switches = steps.iter().any(|step| matches!(step, Step::Disable(_) | Step::Enable(_)));
        self.store().change_all(steps, &event).await.map_err(|fault| refuse::of_change(&fault))?;
        self.tell(&event);
        if switches {
            self.ground.remember(effective, self.store()).await;
        }
        self.ground.take_effect().await
    }

    fn introduced(&self) -> MutexGuard<'_, BTreeMap<CredentialName, Introduced>> {
        self.introduced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a name that the configuration has, or that something managed has already.
fn free(effective: &Effective, kind: Kind, name: &str, kept: bool) -> Result<(), Refusal> {
    let place = effective.declared(&key_of(kind, name));
    match place {
        Some(place) => Err(Refusal::taken(kind, name, Some(&place))),
        None if kept => Err(Refusal::taken(kind, name, None)),
        None if !config::is_plain_name(name) => {
            Err(Refusal::field("name", "looks like a secret", "a short name for people, such as `sales`"))
        }
        None => Ok(()),
    }
}

/// Why something that has no record cannot be changed.
fn unkept(effective: &Effective, kind: Kind, name: &str) -> Refusal {
    match effective.declared(&key_of(kind, name)) {
        Some(place) => Refusal::read_only(kind, name, &place),
        None => Refusal::not_found(kind, name),
    }
}

/// Refuses what the configuration, checked as a whole, would not have beside the rest.
fn agreed(effective: &Effective, managed: &config::Managed, addition: Addition) -> Result<config::Managed, Refusal> {
    let table = addition.key();
    let objections = effective.base()?.objections(managed, addition.clone());
    if objections.is_empty() { Ok(managed.with(addition)) } else { Err(refuse::by_findings(&table, &objections)) }
}

fn key_of(kind: Kind, name: &str) -> String {
    let table = match kind {
        Kind::Credential => "credentials",
        Kind::Route => "routes",
        Kind::Key => "keys",
    };
    format!("{table}.{name}")
}

/// The version that a change is meant for: the one that was seen, else the one that is there now.
fn expected(seen: Option<Version>, now: u64) -> Expected {
    Expected::Version(seen.map_or(now, |seen| seen.0))
}

fn source(effective: &Effective, key: &str) -> Source {
    Source::of(&effective.loaded.place(key))
}

impl Effective {
    /// Where the configuration declares a table, be it one that follows from another; none when it does not.
    fn declared(&self, key: &str) -> Option<Place> {
        let place = self.loaded.origins.get(key)?.clone();
        (place != Place::Managed).then_some(place)
    }

    /// What removes a record that stands back, because the configuration has taken its name; none where there is no such
    /// record.
    fn hidden<B>(&self, kind: Kind, name: &str, kept: Option<&Kept<B>>, seen: Option<Version>) -> Option<Step> {
        self.declared(&key_of(kind, name))?;
        let kind = match kind {
            Kind::Credential => store::Kind::Credential,
            Kind::Route => store::Kind::Route,
            Kind::Key => store::Kind::Key,
        };
        Some(Step::Discard(kind, name.to_owned(), expected(seen, kept?.version)))
    }

    fn base(&self) -> Result<&Base, Refusal> {
        let fixed = || {
            Refusal::new(Code::WrongState, "this gateway goes by a configuration that cannot be added to")
                .hint("start `closegate serve`")
        };
        self.loaded.base.as_ref().ok_or_else(fixed)
    }
}

impl Management for Manager {
    fn credentials(&self) -> Answer<'_, Vec<CredentialView>> {
        Box::pin(async { self.with_uses(self.list_credentials().await?).await })
    }

    fn credential<'a>(&'a self, name: &'a CredentialName) -> Answer<'a, CredentialView> {
        Box::pin(async { self.with_use(self.show_credential(name).await?).await })
    }

    fn add_credential<'a>(&'a self, new: NewCredential, by: &'a Actor) -> Answer<'a, CredentialView> {
        Box::pin(self.insert_credential(new, by))
    }

    fn update_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        to: UpdatedCredential,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        Box::pin(self.describe_credential(name, to, expected, by))
    }

    fn remove_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, Removal> {
        Box::pin(self.delete_credential(name, expected, by))
    }

    fn verify_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, Verification> {
        Box::pin(self.examine_credential(name, by))
    }

    fn rotate_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        to: Rotation,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        Box::pin(self.switch_secret(name, to, expected, by))
    }

    fn disable_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, CredentialView> {
        Box::pin(self.turn(name, Step::Disable(name.to_string()), "credential.disable", by))
    }

    fn enable_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, CredentialView> {
        Box::pin(self.turn(name, Step::Enable(name.to_string()), "credential.enable", by))
    }

    fn start_authorization<'a>(
        &'a self,
        name: &'a CredentialName,
        departure: Departure,
        by: &'a Actor,
    ) -> Answer<'a, Started> {
        Box::pin(self.begin_authorization(name, departure, by))
    }

    fn follow_link<'a>(&'a self, ticket: &'a str) -> Answer<'a, Started> {
        Box::pin(self.depart(ticket))
    }

    fn await_authorization<'a>(&'a self, name: &'a CredentialName, state: &'a str) -> Answer<'a, Progress> {
        Box::pin(self.progress(name, state))
    }

    fn mismatch<'a>(&'a self, state: &'a str, by: &'a Actor) -> Answer<'a, ()> {
        Box::pin(self.give_up(state, by))
    }

    fn complete_authorization<'a>(
        &'a self,
        name: Option<&'a CredentialName>,
        returned: Returned,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        Box::pin(self.finish_authorization(name, returned, by))
    }

    fn take_over_grant<'a>(
        &'a self,
        name: &'a CredentialName,
        refresh_token: SecretText,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        Box::pin(async move { self.adopt_grant(name, &refresh_token, by).await })
    }

    fn routes(&self) -> Answer<'_, Vec<RouteView>> {
        Box::pin(self.list_routes())
    }

    fn route<'a>(&'a self, name: &'a RouteName) -> Answer<'a, RouteView> {
        Box::pin(self.show_route(name))
    }

    fn add_route<'a>(&'a self, new: NewRoute, by: &'a Actor) -> Answer<'a, RouteView> {
        Box::pin(self.insert_route(new, by))
    }

    fn replace_route<'a>(
        &'a self,
        name: &'a RouteName,
        to: RouteSettings,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, RouteView> {
        Box::pin(self.write_route(name, to, expected, by))
    }

    fn remove_route<'a>(&'a self, name: &'a RouteName, expected: Option<Version>, by: &'a Actor) -> Answer<'a, ()> {
        Box::pin(self.delete_route(name, expected, by))
    }

    fn keys(&self) -> Answer<'_, Vec<KeyView>> {
        Box::pin(async { self.with_uses(self.list_keys().await?).await })
    }

    fn key<'a>(&'a self, name: &'a KeyName) -> Answer<'a, KeyView> {
        Box::pin(async { self.with_use(self.show_key(name).await?).await })
    }

    fn create_key<'a>(&'a self, new: NewKey, by: &'a Actor) -> Answer<'a, CreatedKey> {
        Box::pin(self.insert_key(new, by))
    }

    fn replace_key<'a>(
        &'a self,
        name: &'a KeyName,
        to: KeySettings,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, KeyView> {
        Box::pin(self.write_key(name, to, expected, by))
    }

    fn revoke_key<'a>(&'a self, name: &'a KeyName, by: &'a Actor) -> Answer<'a, KeyView> {
        Box::pin(self.end_key(name, by))
    }

    fn rotate_key<'a>(
        &'a self,
        name: &'a KeyName,
        to: KeyRotation,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CreatedKey> {
        Box::pin(self.switch_text(name, to, expected, by))
    }

    fn remove_key<'a>(&'a self, name: &'a KeyName, expected: Option<Version>, by: &'a Actor) -> Answer<'a, ()> {
        Box::pin(self.delete_key(name, expected, by))
    }

    fn suggestion<'a>(&'a self, name: &'a KeyName) -> Answer<'a, Suggestion> {
        Box::pin(self.suggest(name))
    }

    fn usage(&self, query: UsageQuery) -> Answer<'_, Usage> {
        Box::pin(self.show_usage(query))
    }

    fn events(&self, query: EventQuery) -> Answer<'_, EventPage> {
        Box::pin(self.list_events(query))
    }

    fn refusals(&self, query: RefusalQuery) -> Answer<'_, Vec<RefusalView>> {
        Box::pin(async move { Ok(self.list_refusals(&query)) })
    }

    fn explain(&self, query: ExplainQuery) -> Answer<'_, Explained> {
        Box::pin(self.rehearse(query))
    }

    fn config(&self) -> Answer<'_, Vec<SettingView>> {
        Box::pin(async move {
            let effective = self.effective().await?;
            let settings = config::settings(&effective.loaded).into_iter();
            let view =
                |one: config::Setting| SettingView { key: one.key, value: one.value, source: Source::of(&one.source) };
            Ok(settings.map(view).collect())
        })
    }

    fn reload<'a>(&'a self, by: &'a Actor) -> Answer<'a, Reload> {
        Box::pin(async move {
            let Ground::Running { bell, .. } = &self.ground else {
                return Err(Refusal::new(Code::WrongState, "no gateway is running: there is nothing to reload"));
            };
            let outcome = bell.ring().await.map_err(|faults| {
                Refusal::new(Code::Invalid, faults.join("\n"))
                    .hint("everything stays as it was; repair it, and reload again")
            })?;
            let changed = outcome.change == Change::Applied;
            self.note(events::event(by, "config.reload", "config", serde_json::json!({ "changed": changed }))).await;
            Ok(Reload { changed, waiting: outcome.waiting })
        })
    }
}

/// The body of a record, as it is stored.
fn stored(body: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(body).map_err(|_| Refusal::internal())
}
