//! Credentials: added, verified, rotated, taken out of use and back, removed.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::rand;
use jiff::Timestamp;
use serde_json::json;

use super::body::{Method, told};
use super::ground::Ground;
use super::keys::Left;
use super::{
    Body, Introduced, Manager, RouteBody, agreed, events, expected, free, key_of, refuse, stored, unkept, view,
};
use crate::admin::model::{
    Actor, CredentialSecret, CredentialView, NewCredential, Removal, Rotation, RouteSettings, SecretText,
    UpdatedCredential, Verdict as Judgement, Verification, Version,
};
use crate::admin::{Code, Kind, Refusal};
use crate::app::managed::Kept;
use crate::app::reload::Effective;
use crate::config::{Credential, CredentialKind, Managed};
use crate::id::{CredentialName, RouteName};
use crate::origin::Origin;
use crate::store::{self, Draft, Event, Expected, Step};
use crate::vault::{AppVerdict, Introduction, Trial, Verdict};

/// Grants, by the name of their credential.
type Grants = BTreeMap<String, store::Grant>;

impl Manager {
    pub(super) async fn list_credentials(&self) -> Result<Vec<CredentialView>, Refusal> {
        let effective = self.effective().await?;
        let kept = effective.snapshot.credentials.keys();
        let mut names: Vec<_> = effective.loaded.config.credentials.keys().chain(kept).cloned().collect();
        names.sort();
        names.dedup();
        let grants = self.grants(&effective).await;
        Ok(names.iter().filter_map(|name| self.view_credential(&effective, name, &grants)).collect())
    }

    pub(super) async fn show_credential(&self, name: &CredentialName) -> Result<CredentialView, Refusal> {
        let effective = self.effective().await?;
        let grants = self.grants(&effective).await;
        let view = self.view_credential(&effective, name, &grants);
        view.ok_or_else(|| Refusal::not_found(Kind::Credential, name))
    }

    fn view_credential(&self, effective: &Effective, name: &CredentialName, grants: &Grants) -> Option<CredentialView> {
        let introduced = self.introduced().get(name).cloned();
        view::credential(effective, name, Ground::state(effective, name), grants.get(name.as_str()), introduced)
    }

    /// The grants of OAuth credentials, as far as the store tells of them.
    async fn grants(&self, effective: &Effective) -> Grants {
        let is_app = |credential: &Credential| matches!(credential.kind, CredentialKind::OAuth2(_));
        if !effective.loaded.config.credentials.values().any(is_app) {
            return Grants::new();
        }
        let grants = self.store().grants().await.unwrap_or_default();
        grants.into_iter().map(|grant| (grant.name.clone(), grant)).collect()
    }

    pub(super) async fn insert_credential(&self, new: NewCredential, by: &Actor) -> Result<CredentialView, Refusal> {
        let NewCredential { name, description, method } = new;
        let name = CredentialName::parse(&name).map_err(|fault| Refusal::field("name", fault.to_string(), NAME))?;
        let (method, secret) = apart(method);
        let now = Timestamp::now();
        let mut body = Body {
            description,
            method,
            secret: unused()?,
            created_at: now,
            verified_at: None,
            organization: None,
            user: None,
            key_id: None,
        };
        // Close may take its time: nobody waits for that, and what was decided before is decided again.
        let effective = self.effective().await?;
        addable(&effective, &name, &body)?;
        if let Method::Oauth2 { .. } = body.method {
            self.examine_new_app(&effective, &name, &body, &secret).await?;
        }
        if let Some(trial) = trial(&body.method, &secret)? {
            body.key_id = trial.key_id().map(str::to_owned);
            match self.ground.try_out(&effective, &trial, &effective.loaded.config.upstream.url).await? {
                (Verdict::Accepted, introduction) => body.introduce(now, introduction),
                (Verdict::Rejected, _) => return Err(refuse::by_close()),
                (Verdict::Undecided(why), _) => {
                    tracing::warn!(credential = %name, "the credential is saved as unverified: {why}");
                }
            }
        }
        let (effective, turn) = self.latest().await?;
        let route = addable(&effective, &name, &body)?;
        let detail = json!({ "method": body.method.shown(), "verified": body.verified_at.is_some() });
        let event = events::event(by, "credential.add", name.as_str(), detail);
        let draft = self.draft(&name, &body, Some(&secret)).await?;
        let steps = [Some(Step::Insert(draft)), route.map(Step::Insert)].into_iter().flatten().collect();
        self.make(&effective, steps, event).await?;
        drop(turn);
        self.settle(&name).await;
        self.show_credential(&name).await
    }

    pub(super) async fn describe_credential(
        &self,
        name: &CredentialName,
        to: UpdatedCredential,
        seen: Option<Version>,
        by: &Actor,
    ) -> Result<CredentialView, Refusal> {
        let (effective, turn) = self.latest().await?;
        let kept = effective.kept_credential(name)?;
        let mut body = kept.body.clone();
        body.description = to.description;
        agreed(&effective, &effective.snapshot.managed(), body.addition(name))?;
        let draft = Draft { sealed: kept.sealed.clone(), ..self.draft(name, &body, None).await? };
        let event = events::event(by, "credential.update", name.as_str(), json!({}));
        self.make(&effective, vec![Step::Replace(draft, expected(seen, kept.version))], event).await?;
        drop(turn);
        self.show_credential(name).await
    }

    pub(super) async fn delete_credential(
        &self,
        name: &CredentialName,
        seen: Option<Version>,
        by: &Actor,
    ) -> Result<Removal, Refusal> {
        let (effective, turn) = self.latest().await?;
        let hidden = effective.hidden(Kind::Credential, name.as_str(), effective.snapshot.credentials.get(name), seen);
        if let Some(hidden) = hidden {
            let event = events::discarded(by, "credential.remove", name.as_str());
            self.make(&effective, vec![hidden], event).await?;
            return Ok(Removal::whole(name));
        }
        let kept = effective.kept_credential(name)?;
        let own = effective.snapshot.routes.keys().find(|route| route.as_str() == name.as_str());
        let own = own.filter(|route| effective.sends_with(route, name));
        let others = view::routes_of(&effective.loaded.config, name);
        let others: Vec<_> =
            others.into_iter().filter(|route| Some(route.as_str()) != own.map(RouteName::as_str)).collect();
        if !others.is_empty() {
            let detail = format!("the credential `{name}` is used by {}", quoted("route", &others));
            return Err(Refusal::new(Code::InUse, detail).hint("remove these routes, or give them another credential"));
        }
        let mut steps = vec![Step::Remove(store::Kind::Credential, name.to_string(), expected(seen, kept.version))];
        let mut left = Left::default();
        if let Some(own) = own {
            left = effective.leave_route(own)?;
            steps.push(Step::Remove(store::Kind::Route, own.to_string(), Expected::Any));
        }
        let ending = self.ending(&effective, name).await?;
        let event = events::event(by, "credential.remove", name.as_str(), left.told());
        self.make(&effective, steps.into_iter().chain(left.steps).collect(), event).await?;
        drop(turn);
        Ok(self.end_grant(name, ending, by).await)
    }

    pub(super) async fn examine_credential(&self, name: &CredentialName, by: &Actor) -> Result<Verification, Refusal> {
        let effective = self.effective().await?;
        if !effective.knows(name) {
            return Err(Refusal::not_found(Kind::Credential, name));
        }
        let origin = effective.origin_of(name);
        let (verdict, introduction) = self.ground.introduce(&effective, &self.archive, name, &origin).await?;
        let (verdict, detail) = match verdict {
            Verdict::Accepted => (Judgement::Accepted, None),
            Verdict::Rejected => (Judgement::Rejected, Some("Close answered 401".to_owned())),
            Verdict::Undecided(why) => (Judgement::Undecided, Some(why.to_string())),
        };
        let event = events::event(by, "credential.verify", name.as_str(), json!({ "verdict": verdict }));
        match verdict {
            Judgement::Accepted => self.remember(name, introduction, event).await,
            Judgement::Rejected | Judgement::Undecided => self.note(event).await,
        }
        Ok(Verification { verdict, detail, credential: self.show_credential(name).await? })
    }

    pub(super) async fn switch_secret(
        &self,
        name: &CredentialName,
        to: Rotation,
        seen: Option<Version>,
        by: &Actor,
    ) -> Result<CredentialView, Refusal> {
        let effective = self.effective().await?;
        let kept = effective.kept_credential(name)?;
        if seen.is_some_and(|seen| seen.0 != kept.version) {
            return Err(Refusal::stale(Kind::Credential, name));
        }
        let mut body = kept.body.clone();
        // Nobody waits until Close has answered.
        if let Some(app) = effective.app_of(name) {
            let vault = self.ground.vault_of(&effective, &self.archive, name).await?;
            if let AppVerdict::Undecided(why) = self.examine_app(&vault, (name, app), &to.secret, "secret").await? {
                return Err(refuse::by_silence(&why));
            }
        }
        if let Some(trial) = trial(&body.method, &to.secret)? {
            body.key_id = trial.key_id().map(str::to_owned);
            match self.ground.try_out(&effective, &trial, &effective.origin_of(name)).await? {
                (Verdict::Accepted, introduction) => body.introduce(Timestamp::now(), introduction),
                (Verdict::Rejected, _) => return Err(refuse::by_close()),
                (Verdict::Undecided(why), _) => return Err(refuse::by_silence(&why)),
            }
        }
        let (effective, turn) = self.latest().await?;
        let now = effective.kept_credential(name)?;
        if (now.body.secret, &now.body.method) != (kept.body.secret, &kept.body.method) {
            return Err(Refusal::stale(Kind::Credential, name));
        }
        body.description.clone_from(&now.body.description);
        body.secret += 1;
        let draft = self.draft(name, &body, Some(&to.secret)).await?;
        let event = events::event(by, "credential.rotate", name.as_str(), json!({}));
        self.make(&effective, vec![Step::Replace(draft, expected(seen, now.version))], event).await?;
        drop(turn);
        effective.let_go(name).await;
        self.settle(name).await;
        self.show_credential(name).await
    }

    /// Takes a credential out of use, or back.
    pub(super) async fn turn(
        &self,
        name: &CredentialName,
        step: Step,
        action: &str,
        by: &Actor,
    ) -> Result<CredentialView, Refusal> {
        let (effective, turn) = self.latest().await?;
        if !effective.knows(name) {
            return Err(Refusal::not_found(Kind::Credential, name));
        }
        let now_disabled = effective.snapshot.disabled.contains(name.as_str());
        if now_disabled != matches!(step, Step::Disable(_)) {
            self.make(&effective, vec![step], events::event(by, action, name.as_str(), json!({}))).await?;
        }
        drop(turn);
        self.settle(name).await;
        self.show_credential(name).await
    }

    /// Remembers when Close accepted a credential, and as whom: with its record, or for as long as this process runs.
    pub(super) async fn remember(&self, name: &CredentialName, introduction: Option<Introduction>, event: Event) {
        let now = Timestamp::now();
        let kept = match self.latest().await {
            Ok((effective, turn)) => effective.kept_credential(name).cloned().ok().map(|kept| (effective, turn, kept)),
            Err(_) => None,
        };
        let Some((effective, _turn, Kept { mut body, version, sealed, .. })) = kept else {
            let (organization, user) = introduction.map_or((None, None), told);
            self.introduced().insert(name.clone(), Introduced { verified_at: Some(now), organization, user });
            return self.note(event).await;
        };
        body.introduce(now, introduction);
        let Ok(draft) = self.draft(name, &body, None).await else { return };
        let step = Step::Replace(Draft { sealed, ..draft }, Expected::Version(version));
        if let Err(refusal) = self.make(&effective, vec![step], event).await {
            // Somebody who changed it meanwhile has verified it as well.
            tracing::warn!(credential = %name, "that Close accepts the credential is not remembered: {refusal}");
        }
    }

    async fn draft(&self, name: &CredentialName, body: &Body, secret: Option<&SecretText>) -> Result<Draft, Refusal> {
        let sealed = match secret {
            Some(secret) => {
                let sealed = self.archive.seal_credential(name, secret).await;
                Some(sealed.map_err(|fault| refuse::by_archive(&fault))?)
            }
            None => None,
        };
        Ok(Draft { kind: store::Kind::Credential, name: name.to_string(), body: stored(body)?, sealed })
    }
}

impl Effective {
    fn kept_credential(&self, name: &CredentialName) -> Result<&Kept<Body>, Refusal> {
        let declared = self.declared(&key_of(Kind::Credential, name.as_str())).is_some();
        let kept = self.snapshot.credentials.get(name).filter(|_| !declared);
        kept.ok_or_else(|| unkept(self, Kind::Credential, name.as_str()))
    }

    /// Where a credential is asked about: where its first route leads.
    pub(super) fn origin_of(&self, name: &CredentialName) -> Origin {
        let config = &self.loaded.config;
        let route = config.routes.values().find(|route| route.credential == *name);
        route.map_or_else(|| config.upstream.url.clone(), |route| route.upstream.clone())
    }

    fn sends_with(&self, route: &RouteName, name: &CredentialName) -> bool {
        self.loaded.config.routes.get(route).is_none_or(|route| route.credential == *name)
    }

    /// Waits until the requests that began with a credential's former secret are over, but not for long: what is sent
    /// after a rotation was answered is sent with the new one.
    async fn let_go(&self, name: &CredentialName) {
        let Some(vault) = &self.vault else { return };
        let over = async {
            while vault.uses(name) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // A long answer goes on as it began.
        let _ = tokio::time::timeout(FAREWELL, over).await;
    }
}

/// Whether a credential may be added, beside what is there now; gives the route to be made with it.
fn addable(effective: &Effective, name: &CredentialName, body: &Body) -> Result<Option<Draft>, Refusal> {
    free(effective, Kind::Credential, name.as_str(), effective.snapshot.credentials.contains_key(name))?;
    let managed = agreed(effective, &effective.snapshot.managed(), body.addition(name))?;
    default_route(effective, managed, name, body.created_at)
}

/// The route that a new credential has, unless a route of its name is there already.
fn default_route(
    effective: &Effective,
    managed: Managed,
    name: &CredentialName,
    now: Timestamp,
) -> Result<Option<Draft>, Refusal> {
    let route = name.default_route();
    if effective.loaded.config.routes.contains_key(&route) || effective.snapshot.routes.contains_key(&route) {
        return Ok(None);
    }
    let settings = RouteSettings {
        prefix: None,
        credential: Some(name.to_string()),
        upstream: None,
        allow: Vec::new(),
        deny: Vec::new(),
        anonymous: false,
    };
    let body = RouteBody { settings, created_at: now };
    agreed(effective, &managed, body.addition(route.as_str()))?;
    Ok(Some(Draft { kind: store::Kind::Route, name: route.to_string(), body: stored(&body)?, sealed: None }))
}

/// How a new credential authenticates, and its secret.
fn apart(method: CredentialSecret) -> (Method, SecretText) {
    match method {
        CredentialSecret::ApiKey(secret) => (Method::ApiKey, secret),
        CredentialSecret::Bearer(secret) => (Method::Bearer, secret),
        CredentialSecret::Basic(basic) => (Method::Basic { username: basic.username }, basic.password),
        CredentialSecret::Oauth2(app) => {
            let method = Method::Oauth2 {
                client_id: app.client_id,
                redirect_uri: app.redirect_uri,
                authorization_url: app.authorization_url,
                token_url: app.token_url,
                revocation_url: app.revocation_url,
            };
            (method, app.client_secret)
        }
    }
}

/// What Close can be asked about before it is kept; an app has nothing yet.
fn trial(method: &Method, secret: &SecretText) -> Result<Option<Trial>, Refusal> {
    let (field, trial) = match method {
        Method::ApiKey => ("method.api_key", Trial::api_key(secret)),
        Method::Bearer => ("method.bearer", Trial::bearer(secret)),
        Method::Basic { username } => ("method.basic.password", Trial::password(username, secret)),
        Method::Oauth2 { .. } => return Ok(None),
    };
    trial.map(Some).map_err(|unfit| Refusal::field(field, unfit.to_string(), "paste all of it, and only that"))
}

/// A number that no secret of that name ever had: one who has not seen that the credential was removed meanwhile would
/// take the same number for the same secret.
fn unused() -> Result<u64, Refusal> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Refusal::internal())?;
    // What counts on from it stays within what every reader of JSON takes.
    Ok(u64::from_be_bytes(bytes) >> 16)
}

/// `route `a`` or `routes `a`, `b``.
pub(super) fn quoted(what: &str, names: &[String]) -> String {
    let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() == 1 { format!("{what} {listed}") } else { format!("{what}s {listed}") }
}

pub(super) const NAME: &str = "lower-case letters, digits and dashes, such as `sales`";
/// How long a rotation waits for requests that began before it.
const FAREWELL: Duration = Duration::from_secs(2);
