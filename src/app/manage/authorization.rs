//! OAuth credentials: authorized by a person or by a refresh token, their app's secret examined, their grant ended.

use std::time::Duration;

use serde_json::json;

use super::ground::Ground;
use super::{CredentialBody, Manager, events, refuse};
use crate::admin::model::{
    Actor, CredentialView, Departure, Outcome, Progress, Removal, Returned, SecretText, Started, Verdict as Judgement,
};
use crate::admin::{Code, Kind, Refusal};
use crate::app::reload::Effective;
use crate::config::{CredentialKind, Managed, OAuth2};
use crate::id::CredentialName;
use crate::vault::{self, AppVerdict, Authorized, Consent, FlowFault, Revocation, Trial, Vault, Verdict};

/// What ends a grant at Close, or why Close cannot be told.
pub(super) type Ending = Result<Revocation, FlowFault>;

impl Manager {
    pub(super) async fn begin_authorization(
        &self,
        name: &CredentialName,
        departure: Departure,
        by: &Actor,
    ) -> Result<Started, Refusal> {
        let effective = self.effective().await?;
        self.app_known(&effective, name)?;
        let vault = self.ground.vault_of(&effective, &self.archive, name).await?;
        let id = vault.find(name).ok_or_else(|| Refusal::not_found(Kind::Credential, name))?;
        let consent = vault.begin_authorization(id, &by.label()).await.map_err(|fault| refuse::by_flow(&fault))?;
        let link = match departure {
            Departure::Here => None,
            Departure::ByLink => self.lend(&vault, name, &consent).await?,
        };
        Ok(Started { link, ..started(consent) })
    }

    pub(super) async fn finish_authorization(
        &self,
        name: Option<&CredentialName>,
        returned: Returned,
        by: &Actor,
    ) -> Result<CredentialView, Refusal> {
        let effective = self.effective().await?;
        let vault = match name {
            Some(name) => {
                self.app_known(&effective, name)?;
                self.ground.vault_of(&effective, &self.archive, name).await?
            }
            None => self.ground.vault(&effective)?,
        };
        let returned = vault::Returned::parse(returned.query()).map_err(|fault| refuse::by_flow(&fault))?;
        let mark = vault::state_digest(returned.state());
        let event = events::event(by, AUTHORIZED, "", json!({}));
        match vault.finish_authorization(returned, name, event).await {
            Ok(authorized) => {
                let welcomed = self.welcome(&effective, &vault, authorized, by).await;
                self.conclude(mark, &Progress::of(Outcome::Authorized)).await;
                welcomed
            }
            Err(fault) => {
                if let FlowFault::Declined { credential, error } = &fault {
                    let detail = json!({ "error": error });
                    self.note(events::event(by, "credential.declined", credential.as_str(), detail)).await;
                }
                let refusal = refuse::by_flow(&fault);
                // One that is unknown was over before, or never was.
                if fault != FlowFault::Unknown {
                    self.conclude(mark, &Progress::refused(&refusal)).await;
                }
                Err(refusal)
            }
        }
    }

    pub(super) async fn adopt_grant(
        &self,
        name: &CredentialName,
        token: &SecretText,
        by: &Actor,
    ) -> Result<CredentialView, Refusal> {
        let effective = self.effective().await?;
        self.app_known(&effective, name)?;
        let vault = self.ground.vault_of(&effective, &self.archive, name).await?;
        let id = vault.find(name).ok_or_else(|| Refusal::not_found(Kind::Credential, name))?;
        let event = events::event(by, AUTHORIZED, "", json!({}));
        let authorized = vault.adopt(id, token, event).await.map_err(|fault| refuse::by_flow(&fault))?;
        self.welcome(&effective, &vault, authorized, by).await
    }

    /// A grant was gained: it is put to use, and Close asked who that is.
    async fn welcome(
        &self,
        effective: &Effective,
        vault: &Vault,
        authorized: Authorized,
        by: &Actor,
    ) -> Result<CredentialView, Refusal> {
        self.tell(&authorized.event);
        let name = &authorized.credential;
        let origin = effective.origin_of(name);
        let taken_up = async {
            if self.ground.serves(effective, name) {
                vault.taken_up(&authorized).await;
            }
        };
        let ((verdict, introduction), ()) = tokio::join!(vault.try_out(&authorized.trial, &origin), taken_up);
        let event =
            |verdict: Judgement| events::event(by, "credential.verify", name.as_str(), json!({ "verdict": verdict }));
        match verdict {
            Verdict::Accepted => self.remember(name, introduction, event(Judgement::Accepted)).await,
            Verdict::Rejected => self.note(event(Judgement::Rejected)).await,
            Verdict::Undecided(_) => self.note(event(Judgement::Undecided)).await,
        }
        self.show_credential(name).await
    }

    /// Waits until it is known how an OAuth credential stands that has just come into use; not for long.
    pub(super) async fn settle(&self, name: &CredentialName) {
        let Ok(effective) = self.effective().await else { return };
        let vault = effective.vault.as_ref();
        if let Some(awaiting) = vault.and_then(|vault| vault.awaited(vault.find(name)?)) {
            let _ = tokio::time::timeout(SETTLING, awaiting.token()).await;
        }
    }

    /// Refuses what is no OAuth credential in use.
    fn app_known<'e>(&self, effective: &'e Effective, name: &CredentialName) -> Result<&'e OAuth2, Refusal> {
        if let Some(app) = effective.app_of(name) {
            return Ok(app);
        }
        if !effective.knows(name) {
            return Err(Refusal::not_found(Kind::Credential, name));
        }
        Err(Refusal::new(Code::WrongState, format!("the credential `{name}` is no OAuth app that is in use"))
            .hint("only a credential of the method `oauth2` is authorized"))
    }

    /// Refuses the secret of an app that the token endpoint does not take. Whether it could be asked.
    pub(super) async fn examine_app(
        &self,
        vault: &Vault,
        (name, app): (&CredentialName, &OAuth2),
        secret: &SecretText,
        field: &str,
    ) -> Result<AppVerdict, Refusal> {
        let trial = Trial::app_secret(app, secret)
            .map_err(|unfit| Refusal::field(field, unfit.to_string(), "paste all of it, and only that"))?;
        let examined = vault.examine_app(name, app, &trial).await.map_err(|fault| refuse::by_flow(&fault))?;
        if examined == AppVerdict::Refused { Err(refuse::by_token_endpoint()) } else { Ok(examined) }
    }

    /// Refuses a new app that the token endpoint does not take; an endpoint that cannot be asked keeps nobody.
    pub(super) async fn examine_new_app(
        &self,
        effective: &Effective,
        name: &CredentialName,
        body: &CredentialBody,
        secret: &SecretText,
    ) -> Result<(), Refusal> {
        let managed = effective.snapshot.managed().with(body.addition(name));
        let Some(app) = effective.app_with(&managed, name)? else { return Ok(()) };
        let vault = self.ground.vault_of_none(effective).await?;
        let examined = self.examine_app(&vault, (name, &app), secret, "method.oauth2.client_secret").await?;
        if let AppVerdict::Undecided(why) = examined {
            tracing::warn!(credential = %name, "the credential is saved, and its client secret not verified: {why}");
        }
        Ok(())
    }

    /// What will end the grant of a credential that is to be removed; none where it has none.
    pub(super) async fn ending(&self, effective: &Effective, name: &CredentialName) -> Result<Option<Ending>, Refusal> {
        if effective.app_of(name).is_none() {
            return Ok(None);
        }
        let vault = self.ground.vault_of(effective, &self.archive, name).await?;
        let Some(id) = vault.find(name) else { return Ok(None) };
        vault.revocation(id).await.map_err(|fault| refuse::by_flow(&fault))
    }

    /// Ends the grant of a credential that was removed, and notes what came of it: that Close cannot be told keeps no
    /// credential.
    pub(super) async fn end_grant(&self, name: &CredentialName, ending: Option<Ending>, by: &Actor) -> Removal {
        let ended = match ending {
            None => return Removal::whole(name),
            Some(Ok(revocation)) => revocation.carry_out().await,
            Some(Err(fault)) => Err(fault),
        };
        let why = ended.err().map(|fault| fault.to_string());
        let detail = json!({ "revoked": why.is_none(), "reason": why });
        self.note(events::event(by, "credential.revoke", name.as_str(), detail)).await;
        match why {
            None => Removal::whole(name),
            Some(why) => Removal::with_grant_left(name, &why),
        }
    }
}

impl Effective {
    /// The app of an OAuth credential that is in use, or would be.
    pub(super) fn app_of(&self, name: &CredentialName) -> Option<&OAuth2> {
        match &self.loaded.config.credentials.get(name)?.kind {
            CredentialKind::OAuth2(app) => Some(app),
            CredentialKind::ApiKey { .. } | CredentialKind::Basic { .. } | CredentialKind::Bearer(_) => None,
        }
    }

    /// The app that a credential would have beside these additions.
    fn app_with(&self, managed: &Managed, name: &CredentialName) -> Result<Option<OAuth2>, Refusal> {
        let loaded = self.base()?.with(managed).map_err(|_| Refusal::internal())?;
        Ok(match loaded.config.credentials.get(name).map(|credential| &credential.kind) {
            Some(CredentialKind::OAuth2(app)) => Some(OAuth2::clone(app)),
            _ => None,
        })
    }

    pub(super) fn knows(&self, name: &CredentialName) -> bool {
        self.loaded.config.credentials.contains_key(name) || self.snapshot.credentials.contains_key(name)
    }
}

impl Ground {
    /// Whether requests are sent with a credential here.
    fn serves(&self, effective: &Effective, name: &CredentialName) -> bool {
        matches!(self, Self::Running { .. }) && !effective.snapshot.disabled.contains(name.as_str())
    }
}

/// What a person is to open, without a link.
pub(super) fn started(consent: Consent) -> Started {
    Started {
        authorization_url: consent.url,
        redirect_uri: consent.redirect_uri,
        state: consent.state.to_string(),
        expires_at: consent.expires,
        link: None,
    }
}

const AUTHORIZED: &str = "credential.authorize";
/// How long a change waits for what the store has of a grant.
const SETTLING: Duration = Duration::from_secs(2);
