//! A `Management` that keeps everything in memory: what the admin API does with it is what is tested.

use std::collections::BTreeMap;
use std::sync::Mutex;

use closegate::admin::model::*;
use closegate::admin::{Answer, Code, Journal, Kind, Management, Refusal};
use closegate::id::{CredentialName, KeyName, RouteName};
use jiff::Timestamp;
use zeroize::Zeroizing;

/// Everything that was added, and what happened.
#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    credentials: BTreeMap<String, CredentialView>,
    routes: BTreeMap<String, RouteView>,
    keys: BTreeMap<String, KeyView>,
    events: Vec<EventView>,
    drawn: u64,
}

fn ready<'a, T: Send + 'a>(outcome: Result<T, Refusal>) -> Answer<'a, T> {
    Box::pin(async { outcome })
}

fn changed<V>(
    all: &mut BTreeMap<String, V>,
    kind: Kind,
    name: &str,
    expected: Option<Version>,
    version: fn(&mut V) -> &mut Version,
    change: impl FnOnce(&mut V),
) -> Result<V, Refusal>
where
    V: Clone,
{
    let one = all.get_mut(name).ok_or_else(|| Refusal::not_found(kind, name))?;
    if expected.is_some_and(|expected| expected != *version(one)) {
        return Err(Refusal::stale(kind, name));
    }
    change(one);
    version(one).0 += 1;
    Ok(one.clone())
}

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    pub(crate) fn events(&self) -> Vec<EventView> {
        self.with(|state| state.events.clone())
    }

    fn did<T>(
        &self,
        by: &Actor,
        action: &str,
        subject: &str,
        act: impl FnOnce(&mut State) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.with(|state| {
            let done = act(state)?;
            state.note(by, action, Some(subject));
            Ok(done)
        })
    }

    fn credential_did(
        &self,
        by: &Actor,
        action: &str,
        name: &CredentialName,
        expected: Option<Version>,
        change: impl FnOnce(&mut CredentialView),
    ) -> Result<CredentialView, Refusal> {
        self.did(by, action, name.as_str(), |state| {
            changed(&mut state.credentials, Kind::Credential, name.as_str(), expected, |one| &mut one.version, change)
        })
    }
}

impl State {
    fn note(&mut self, by: &Actor, action: &str, subject: Option<&str>) {
        let id = self.events.len() as u64 + 1;
        let (actor, from) = (by.label(), by.from.map(|from| from.to_string()));
        let subject = subject.map(str::to_owned);
        let (action, detail) = (action.to_owned(), serde_json::Map::new());
        self.events.push(EventView { id, at: Timestamp::now(), actor, action, subject, from, detail });
    }

    fn key_text(&mut self) -> (String, KeyText) {
        self.drawn += 1;
        let id = format!("{:08}", self.drawn);
        (id.clone(), KeyText::new(Zeroizing::new(format!("cgk_{id}_{:032}", self.drawn))))
    }
}

fn view(new: &NewCredential) -> CredentialView {
    let method = match new.method {
        CredentialSecret::ApiKey(_) => CredentialMethod::ApiKey,
        CredentialSecret::Oauth2(_) => CredentialMethod::Oauth2,
        CredentialSecret::Bearer(_) => CredentialMethod::Bearer,
        CredentialSecret::Basic(_) => CredentialMethod::Basic,
    };
    CredentialView {
        name: new.name.clone(),
        description: new.description.clone(),
        method,
        state: CredentialState::Ready,
        reason: None,
        standing: Standing::Verified,
        organization: None,
        user: None,
        key_id: None,
        client_id: None,
        redirect_uri: None,
        routes: Vec::new(),
        source: Source::managed(),
        created_at: Some(Timestamp::now()),
        updated_at: Some(Timestamp::now()),
        last_used_at: None,
        expires_at: None,
        version: Version(1),
    }
}

fn route_view(name: String, settings: RouteSettings) -> RouteView {
    RouteView {
        prefix: settings.prefix.unwrap_or_else(|| format!("/{name}")),
        credential: settings.credential.unwrap_or_else(|| name.clone()),
        upstream: settings.upstream.unwrap_or_else(|| "https://api.close.com".to_owned()),
        allow: settings.allow,
        deny: settings.deny,
        anonymous: settings.anonymous,
        source: Source::managed(),
        created_at: Some(Timestamp::now()),
        updated_at: Some(Timestamp::now()),
        version: Version(1),
        name,
    }
}

fn key_view(name: String, id: Option<String>, settings: KeySettings) -> KeyView {
    KeyView {
        name,
        id,
        description: settings.description,
        routes: settings.routes,
        scopes: Some(settings.scopes),
        allow: settings.allow,
        deny: settings.deny,
        rate: settings.rate,
        burst: settings.burst,
        concurrency: settings.concurrency,
        daily_quota: settings.daily_quota,
        expires_at: settings.expires_at,
        mode: settings.mode,
        peer_uid: None,
        state: KeyState::Active,
        source: Source::managed(),
        created_at: Some(Timestamp::now()),
        updated_at: Some(Timestamp::now()),
        last_used_at: None,
        version: Version(1),
    }
}

impl Journal for Memory {
    fn note(&self, event: NewEvent) -> Answer<'_, ()> {
        self.with(|state| state.note(&event.by, event.action, event.subject.as_deref()));
        ready(Ok(()))
    }
}

impl Management for Memory {
    fn credentials(&self) -> Answer<'_, Vec<CredentialView>> {
        ready(Ok(self.with(|state| state.credentials.values().cloned().collect())))
    }

    fn credential<'a>(&'a self, name: &'a CredentialName) -> Answer<'a, CredentialView> {
        let found = self.with(|state| state.credentials.get(name.as_str()).cloned());
        ready(found.ok_or_else(|| Refusal::not_found(Kind::Credential, name)))
    }

    fn add_credential<'a>(&'a self, new: NewCredential, by: &'a Actor) -> Answer<'a, CredentialView> {
        let Ok(name) = CredentialName::parse(&new.name) else {
            return ready(Err(Refusal::field("name", "no name", "lower-case letters, digits and dashes")));
        };
        ready(self.did(by, "credential.add", name.as_str(), |state| {
            let known = state.credentials.entry(new.name.clone());
            match known {
                std::collections::btree_map::Entry::Occupied(_) => Err(Refusal::taken(Kind::Credential, &name, None)),
                std::collections::btree_map::Entry::Vacant(free) => Ok(free.insert(view(&new)).clone()),
            }
        }))
    }

    fn update_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        to: UpdatedCredential,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        ready(self.credential_did(by, "credential.update", name, expected, |one| one.description = to.description))
    }

    fn remove_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, Removal> {
        let removed = self.credential_did(by, "credential.remove", name, expected, |_| {});
        removed.iter().for_each(|_| drop(self.with(|state| state.credentials.remove(name.as_str()))));
        ready(removed.map(|_| Removal::whole(name)))
    }

    fn verify_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, Verification> {
        let verified = self.credential_did(by, "credential.verify", name, None, |_| {});
        ready(verified.map(|credential| Verification { verdict: Verdict::Accepted, detail: None, credential }))
    }

    fn rotate_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        to: Rotation,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        if to.secret.is_empty() {
            return ready(Err(Refusal::field("secret", "empty", "the new secret")));
        }
        ready(self.credential_did(by, "credential.rotate", name, expected, |_| {}))
    }

    fn disable_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, CredentialView> {
        let to = CredentialState::Disabled;
        ready(self.credential_did(by, "credential.disable", name, None, |one| one.state = to))
    }

    fn enable_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, CredentialView> {
        ready(self.credential_did(by, "credential.enable", name, None, |one| one.state = CredentialState::Ready))
    }

    fn start_authorization<'a>(
        &'a self,
        name: &'a CredentialName,
        departure: Departure,
        by: &'a Actor,
    ) -> Answer<'a, Started> {
        let known = self.credential_did(by, "credential.authorize", name, None, |_| {});
        ready(known.map(|credential| {
            let state = format!("state-of-{}", credential.name);
            Started {
                authorization_url: format!("https://app.close.com/oauth2/authorize/?state={state}"),
                redirect_uri: "https://localhost/oauth/callback".to_owned(),
                state,
                expires_at: Timestamp::now(),
                link: (departure == Departure::ByLink)
                    .then(|| format!("https://gate.example.com/oauth/start/ticket-of-{}", credential.name)),
            }
        }))
    }

    fn follow_link<'a>(&'a self, ticket: &'a str) -> Answer<'a, Started> {
        let by = Actor { name: "browser".to_owned(), way: Way::Session, from: None };
        let name = ticket.strip_prefix("ticket-of-").and_then(|name| CredentialName::parse(name).ok());
        let known = name.ok_or_else(|| Refusal::new(Code::AuthorizationRefused, "this link begins nothing"));
        let known = known.and_then(|name| self.credential_did(&by, "link.opened", &name, None, |_| {}));
        ready(known.map(|credential| Started {
            authorization_url: "https://app.close.com/oauth2/authorize/?state=x".to_owned(),
            redirect_uri: "https://gate.example.com/oauth/callback".to_owned(),
            state: format!("state-of-{}", credential.name),
            expires_at: Timestamp::now(),
            link: None,
        }))
    }

    fn await_authorization<'a>(&'a self, name: &'a CredentialName, state: &'a str) -> Answer<'a, Progress> {
        let known = state.strip_prefix("state-of-").is_some_and(|of| of == name.as_str());
        let unknown = || Refusal::new(Code::AuthorizationRefused, "nobody waits for this authorization");
        ready(if known { Ok(Progress::of(Outcome::Authorized)) } else { Err(unknown()) })
    }

    fn mismatch<'a>(&'a self, state: &'a str, by: &'a Actor) -> Answer<'a, ()> {
        if let Some(name) = state.strip_prefix("state-of-") {
            self.with(|state| state.note(by, "mismatch", Some(name)));
        }
        ready(Ok(()))
    }

    fn complete_authorization<'a>(
        &'a self,
        name: Option<&'a CredentialName>,
        returned: Returned,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        let unknown = || Refusal::new(Code::AuthorizationRefused, "this authorization is unknown, used or too old");
        let of = returned.state().strip_prefix("state-of-").and_then(|name| CredentialName::parse(name).ok());
        let consent = returned.consent();
        let named = of.filter(|of| name.is_none_or(|name| name == of));
        ready(match (named, consent) {
            (Some(of), Consent::Given(_)) => self.credential_did(by, "credential.authorized", &of, None, |_| {}),
            (Some(_), Consent::Refused(_)) => Err(Refusal::new(Code::AuthorizationRefused, "the person declined")),
            (None, _) => Err(unknown()),
        })
    }

    fn take_over_grant<'a>(
        &'a self,
        name: &'a CredentialName,
        _: SecretText,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        ready(self.credential_did(by, "credential.take_over", name, None, |_| {}))
    }

    fn routes(&self) -> Answer<'_, Vec<RouteView>> {
        ready(Ok(self.with(|state| state.routes.values().cloned().collect())))
    }

    fn route<'a>(&'a self, name: &'a RouteName) -> Answer<'a, RouteView> {
        let found = self.with(|state| state.routes.get(name.as_str()).cloned());
        ready(found.ok_or_else(|| Refusal::not_found(Kind::Route, name)))
    }

    fn add_route<'a>(&'a self, new: NewRoute, by: &'a Actor) -> Answer<'a, RouteView> {
        let (name, settings) = new.into_parts();
        if RouteName::parse(&name).is_err() {
            return ready(Err(Refusal::field("name", "no name", "lower-case letters, digits and dashes")));
        }
        ready(self.did(by, "route.add", &name.clone(), |state| {
            if state.routes.contains_key(&name) {
                return Err(Refusal::taken(Kind::Route, &name, None));
            }
            let route = route_view(name.clone(), settings);
            state.routes.insert(name, route.clone());
            Ok(route)
        }))
    }

    fn replace_route<'a>(
        &'a self,
        name: &'a RouteName,
        to: RouteSettings,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, RouteView> {
        ready(self.did(by, "route.replace", name.as_str(), |state| {
            changed(
                &mut state.routes,
                Kind::Route,
                name.as_str(),
                expected,
                |one| &mut one.version,
                |one| {
                    let version = one.version;
                    *one = RouteView { version, ..route_view(one.name.clone(), to) };
                },
            )
        }))
    }

    fn remove_route<'a>(&'a self, name: &'a RouteName, expected: Option<Version>, by: &'a Actor) -> Answer<'a, ()> {
        ready(self.did(by, "route.remove", name.as_str(), |state| {
            changed(&mut state.routes, Kind::Route, name.as_str(), expected, |one| &mut one.version, |_| {})?;
            state.routes.remove(name.as_str());
            Ok(())
        }))
    }

    fn keys(&self) -> Answer<'_, Vec<KeyView>> {
        ready(Ok(self.with(|state| state.keys.values().cloned().collect())))
    }

    fn key<'a>(&'a self, name: &'a KeyName) -> Answer<'a, KeyView> {
        let found = self.with(|state| state.keys.get(name.as_str()).cloned());
        ready(found.ok_or_else(|| Refusal::not_found(Kind::Key, name)))
    }

    fn create_key<'a>(&'a self, new: NewKey, by: &'a Actor) -> Answer<'a, CreatedKey> {
        let (name, settings) = new.into_parts();
        if KeyName::parse(&name).is_err() {
            return ready(Err(Refusal::field("name", "no name", "lower-case letters, digits and dashes")));
        }
        ready(self.did(by, "key.create", &name.clone(), |state| {
            if state.keys.contains_key(&name) {
                return Err(Refusal::taken(Kind::Key, &name, None));
            }
            let (id, text) = state.key_text();
            let key = key_view(name.clone(), Some(id), settings);
            state.keys.insert(name, key.clone());
            Ok(CreatedKey { key, text, closed_routes: Vec::new() })
        }))
    }

    fn replace_key<'a>(
        &'a self,
        name: &'a KeyName,
        to: KeySettings,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, KeyView> {
        ready(self.did(by, "key.replace", name.as_str(), |state| {
            changed(
                &mut state.keys,
                Kind::Key,
                name.as_str(),
                expected,
                |one| &mut one.version,
                |one| {
                    let version = one.version;
                    *one = KeyView { version, ..key_view(one.name.clone(), one.id.clone(), to) };
                },
            )
        }))
    }

    fn revoke_key<'a>(&'a self, name: &'a KeyName, by: &'a Actor) -> Answer<'a, KeyView> {
        ready(self.did(by, "key.revoke", name.as_str(), |state| {
            let revoke = |one: &mut KeyView| one.state = KeyState::Revoked;
            changed(&mut state.keys, Kind::Key, name.as_str(), None, |one| &mut one.version, revoke)
        }))
    }

    fn rotate_key<'a>(
        &'a self,
        name: &'a KeyName,
        _: KeyRotation,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CreatedKey> {
        ready(self.did(by, "key.rotate", name.as_str(), |state| {
            let (id, text) = state.key_text();
            let rotate = |one: &mut KeyView| one.id = Some(id);
            let key = changed(&mut state.keys, Kind::Key, name.as_str(), expected, |one| &mut one.version, rotate)?;
            Ok(CreatedKey { key, text, closed_routes: Vec::new() })
        }))
    }

    fn remove_key<'a>(&'a self, name: &'a KeyName, expected: Option<Version>, by: &'a Actor) -> Answer<'a, ()> {
        ready(self.did(by, "key.remove", name.as_str(), |state| {
            changed(&mut state.keys, Kind::Key, name.as_str(), expected, |one| &mut one.version, |_| {})?;
            state.keys.remove(name.as_str());
            Ok(())
        }))
    }

    fn suggestion<'a>(&'a self, name: &'a KeyName) -> Answer<'a, Suggestion> {
        let known = self.with(|state| state.keys.contains_key(name.as_str()));
        let (since, until) = (Timestamp::now(), Timestamp::now());
        let (scopes, allow, used, notes) = Default::default();
        let suggestion =
            Suggestion { key: name.to_string(), since, until, scopes, allow, used, undocumented: 0, notes };
        ready(known.then_some(suggestion).ok_or_else(|| Refusal::not_found(Kind::Key, name)))
    }

    fn usage(&self, query: UsageQuery) -> Answer<'_, Usage> {
        let until = Timestamp::now();
        let (by, since) = (query.by.unwrap_or_default(), until);
        let total = UsageRow {
            name: "total".to_owned(),
            requests: 0,
            errors: 0,
            rate_limited: 0,
            refused: 0,
            request_bytes: 0,
            response_bytes: 0,
            waits: 0,
            waited_ms: 0,
            mean_ms: None,
            p50_ms: None,
            p95_ms: None,
            p99_ms: None,
        };
        ready(Ok(Usage { since, until, by, rows: Vec::new(), total, chart: None, headroom: Vec::new() }))
    }

    fn events(&self, query: EventQuery) -> Answer<'_, EventPage> {
        let before = query.cursor.map(|cursor| cursor.parse::<u64>());
        let before = match before {
            Some(Err(_)) => return ready(Err(Refusal::new(Code::Malformed, "`cursor` is the `next` of another page"))),
            Some(Ok(before)) => before,
            None => u64::MAX,
        };
        let mut data = Memory::events(self);
        data.retain(|event| event.id < before);
        data.reverse();
        let limit = query.limit.unwrap_or(100);
        let more = data.len() > limit;
        data.truncate(limit);
        let next = data.last().filter(|_| more).map(|last| last.id.to_string());
        ready(Ok(EventPage { data, next }))
    }

    fn refusals(&self, _: RefusalQuery) -> Answer<'_, Vec<RefusalView>> {
        ready(Ok(Vec::new()))
    }

    fn explain(&self, _: ExplainQuery) -> Answer<'_, Explained> {
        ready(Ok(Explained {
            sent: false,
            answered_here: false,
            refusal: None,
            observed: None,
            way: None,
            keys: Vec::new(),
        }))
    }

    fn config(&self) -> Answer<'_, Vec<SettingView>> {
        ready(Ok(Vec::new()))
    }

    fn reload<'a>(&'a self, by: &'a Actor) -> Answer<'a, Reload> {
        self.with(|state| state.note(by, "reload", None));
        ready(Ok(Reload { changed: false, waiting: Vec::new() }))
    }
}
