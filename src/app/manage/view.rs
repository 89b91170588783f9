//! Credentials, routes and keys as people see them: what is in force, with what the store knows of it.

use jiff::Timestamp;

use super::body::{KeyBody, Method};
use super::{Body, Introduced, key_of, source};
use crate::admin::Kind;
use crate::admin::model::{
    CredentialMethod, CredentialState, CredentialView, KeySettings, KeyState, KeyView, Mode, RouteSettings, RouteView,
    Scope, Source, Standing, Version,
};
use crate::app::managed::Kept;
use crate::app::reload::Effective;
use crate::config::{self, CredentialKind};
use crate::id::{CredentialName, KeyName, RouteName};
use crate::scope;
use crate::store::{Grant, GrantState};
use crate::vault::State;

/// A credential that the configuration has; with its record where it is managed.
pub(super) fn credential(
    effective: &Effective,
    name: &CredentialName,
    state: Option<State>,
    grant: Option<&Grant>,
    introduced: Option<Introduced>,
) -> Option<CredentialView> {
    let kept = effective.snapshot.credentials.get(name);
    let declared = effective.loaded.config.credentials.get(name);
    if kept.is_none() && declared.is_none() {
        return None;
    }
    let key = key_of(Kind::Credential, name.as_str());
    let managed = kept.filter(|_| effective.declared(&key).is_none());
    let is_app = declared.is_some_and(|one| method(&one.kind) == CredentialMethod::Oauth2);
    let (mut state, mut reason) = if is_app && state.is_none() { granted(grant) } else { shown(state) };
    if effective.snapshot.disabled.contains(name.as_str()) {
        (state, reason) = (CredentialState::Disabled, None);
    } else if declared.is_none() || (managed.is_none() && kept.is_some() && declared.is_none()) {
        (state, reason) = (CredentialState::Unavailable, effective.left_out(&key));
    }
    let known = managed.map(|kept| remembered(&kept.body)).or(introduced).unwrap_or_default();
    let method = managed.map(|kept| kept.body.method.shown()).or_else(|| declared.map(|one| method(&one.kind)))?;
    let (client_id, redirect_uri) = match declared.map(|one| &one.kind) {
        Some(CredentialKind::OAuth2(app)) => (Some(app.client_id.clone()), Some(app.redirect_uri.to_string())),
        _ => managed.map_or((None, None), |kept| app(&kept.body.method)),
    };
    Some(CredentialView {
        name: name.to_string(),
        description: managed
            .map_or_else(|| declared.and_then(|one| one.description.clone()), |kept| kept.body.description.clone()),
        method,
        state,
        reason,
        standing: if known.verified_at.is_some() { Standing::Verified } else { Standing::Unverified },
        organization: known.organization,
        user: known.user,
        key_id: match managed {
            Some(kept) => kept.body.key_id.clone(),
            None => effective.vault.as_ref().and_then(|vault| vault.key_id(name)).map(|id| id.to_string()),
        },
        client_id,
        redirect_uri,
        routes: routes_of(&effective.loaded.config, name),
        source: managed.map_or_else(|| source(effective, &key), |_| Source::managed()),
        created_at: managed.map(|kept| kept.body.created_at),
        updated_at: managed.map(|kept| kept.updated_at),
        last_used_at: None,
        expires_at: grant.filter(|_| is_app).and_then(|grant| grant.expires_at),
        version: version(managed),
    })
}

/// A route.
pub(super) fn route(effective: &Effective, name: &RouteName) -> Option<RouteView> {
    let key = key_of(Kind::Route, name.as_str());
    let kept = effective.snapshot.routes.get(name).filter(|_| effective.declared(&key).is_none());
    let config = &effective.loaded.config;
    let view = |settings: RouteSettings| RouteView {
        name: name.to_string(),
        prefix: settings.prefix.unwrap_or_else(|| format!("/{name}")),
        credential: settings.credential.unwrap_or_else(|| name.to_string()),
        upstream: settings.upstream.unwrap_or_else(|| config.upstream.url.to_string()),
        allow: settings.allow,
        deny: settings.deny,
        anonymous: settings.anonymous,
        source: kept.map_or_else(|| source(effective, &key), |_| Source::managed()),
        created_at: kept.map(|kept| kept.body.created_at),
        updated_at: kept.map(|kept| kept.updated_at),
        version: version(kept),
    };
    match (config.routes.get(name), kept) {
        (Some(route), _) => Some(view(settings(route))),
        (None, Some(kept)) => Some(view(kept.body.settings.clone())),
        (None, None) => None,
    }
}

fn settings(route: &config::Route) -> RouteSettings {
    RouteSettings {
        prefix: Some(route.prefix.as_str().to_owned()),
        credential: Some(route.credential.to_string()),
        upstream: Some(route.upstream.to_string()),
        allow: route.rules.allow.iter().map(ToString::to_string).collect(),
        deny: route.rules.deny.iter().map(ToString::to_string).collect(),
        anonymous: route.anonymous,
    }
}

/// A gateway key.
pub(super) fn key(effective: &Effective, name: &KeyName) -> Option<KeyView> {
    let key = key_of(Kind::Key, name.as_str());
    match effective.snapshot.keys.get(name).filter(|_| effective.declared(&key).is_none()) {
        Some(kept) => Some(managed_key(name, kept)),
        None => Some(declared_key(effective, &key, name, effective.loaded.config.keys.get(name)?)),
    }
}

fn managed_key(name: &KeyName, kept: &Kept<KeyBody>) -> KeyView {
    let KeyBody { settings, id, created_at, revoked_at, .. } = &kept.body;
    let KeySettings {
        description,
        routes,
        scopes,
        allow,
        deny,
        rate,
        burst,
        concurrency,
        daily_quota,
        expires_at,
        mode,
    } = settings.clone();
    KeyView {
        name: name.to_string(),
        id: Some(id.clone()),
        description,
        routes,
        scopes: Some(scopes),
        allow,
        deny,
        rate,
        burst,
        concurrency,
        daily_quota,
        expires_at,
        mode,
        peer_uid: None,
        state: if revoked_at.is_some() { KeyState::Revoked } else { until(expires_at) },
        source: Source::managed(),
        created_at: Some(*created_at),
        updated_at: Some(kept.updated_at),
        last_used_at: None,
        version: Version(kept.version),
    }
}

fn declared_key(effective: &Effective, path: &str, name: &KeyName, key: &config::Key) -> KeyView {
    KeyView {
        name: name.to_string(),
        id: None,
        description: key.description.clone(),
        routes: key.routes.iter().map(ToString::to_string).collect(),
        scopes: key.scopes.map(|scopes| scopes.iter().map(shown_scope).collect()),
        allow: key.rules.allow.iter().map(ToString::to_string).collect(),
        deny: key.rules.deny.iter().map(ToString::to_string).collect(),
        rate: key.limits.rate.as_ref().map(ToString::to_string),
        burst: key.limits.rate.as_ref().map(|rate| rate.burst.get()),
        concurrency: key.limits.concurrency,
        daily_quota: key.limits.daily_quota.and_then(|most| u32::try_from(most).ok()),
        expires_at: key.expires,
        mode: match key.mode {
            config::Mode::Enforce => Mode::Enforce,
            config::Mode::Observe => Mode::Observe,
        },
        peer_uid: key.peer,
        state: until(key.expires),
        source: source(effective, path),
        created_at: None,
        updated_at: None,
        last_used_at: None,
        version: Version::default(),
    }
}

/// A scope in the words of the API.
pub(super) fn shown_scope(scope: scope::Scope) -> Scope {
    match scope {
        scope::Scope::Read => Scope::Read,
        scope::Scope::Write => Scope::Write,
        scope::Scope::Delete => Scope::Delete,
        scope::Scope::Send => Scope::Send,
        scope::Scope::Export => Scope::Export,
        scope::Scope::Admin => Scope::Admin,
    }
}

fn until(expires: Option<Timestamp>) -> KeyState {
    if expires.is_some_and(|expires| expires <= Timestamp::now()) { KeyState::Expired } else { KeyState::Active }
}

/// How a credential stands, in the words of the API, and why.
fn shown(state: Option<State>) -> (CredentialState, Option<String>) {
    match state {
        None | Some(State::Ready) => (CredentialState::Ready, None),
        Some(State::Suspect) => (CredentialState::Suspect, None),
        Some(State::Rejected) => (CredentialState::Rejected, Some("Close refused it".to_owned())),
        Some(State::Unavailable { reason }) => (CredentialState::Unavailable, Some(reason.to_owned())),
        Some(State::Disabled) => (CredentialState::Disabled, None),
        Some(State::Refreshing) => (CredentialState::Refreshing, None),
        Some(State::NeedsAuthorization) => (CredentialState::NeedsAuthorization, None),
        Some(State::Dead { reason }) => (CredentialState::Dead, Some(reason.to_owned())),
    }
}

/// The same of an OAuth credential that nobody keeps here, from what the store has.
fn granted(grant: Option<&Grant>) -> (CredentialState, Option<String>) {
    let Some(grant) = grant.filter(|grant| grant.sealed.is_some()) else {
        return (CredentialState::NeedsAuthorization, None);
    };
    let state = match grant.state {
        GrantState::Ready => CredentialState::Ready,
        GrantState::Refreshing => CredentialState::Refreshing,
        GrantState::NeedsAuthorization => CredentialState::NeedsAuthorization,
        GrantState::Dead => CredentialState::Dead,
    };
    (state, grant.reason.clone())
}

fn remembered(body: &Body) -> Introduced {
    let Body { verified_at, organization, user, .. } = body.clone();
    Introduced { verified_at, organization, user }
}

fn method(kind: &CredentialKind) -> CredentialMethod {
    match kind {
        CredentialKind::ApiKey { .. } => CredentialMethod::ApiKey,
        CredentialKind::Basic { .. } => CredentialMethod::Basic,
        CredentialKind::Bearer(_) => CredentialMethod::Bearer,
        CredentialKind::OAuth2(_) => CredentialMethod::Oauth2,
    }
}

fn app(method: &Method) -> (Option<String>, Option<String>) {
    match method {
        Method::Oauth2 { client_id, redirect_uri, .. } => (Some(client_id.clone()), redirect_uri.clone()),
        Method::ApiKey | Method::Bearer | Method::Basic { .. } => (None, None),
    }
}

/// The routes that send with a credential.
pub(super) fn routes_of(config: &config::Config, name: &CredentialName) -> Vec<String> {
    config.routes.iter().filter(|(_, route)| route.credential == *name).map(|(route, _)| route.to_string()).collect()
}

fn version<B>(kept: Option<&Kept<B>>) -> Version {
    kept.map_or_else(Version::default, |kept| Version(kept.version))
}
