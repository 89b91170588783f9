//! Whether Close takes the secret of an app, asked before it is kept or used.

use std::sync::Arc;

use super::client::{Client, Manner, Trouble};
use super::fault::FlowFault;
use super::flow;
use super::grants::{Condition, Stored};
use super::refresh::{By, Errand, Outcome, Setback};
use crate::config::OAuth2;
use crate::id::CredentialName;
use crate::vault::credential::joined;
use crate::vault::secret::Secret;
use crate::vault::{Trial, Vault};

/// What the token endpoint says of an app's secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppVerdict {
    /// It takes it.
    Accepted,
    /// It does not (`invalid_client`).
    Refused,
    /// It did not say.
    Undecided(String),
}

impl Vault {
    /// Asks the token endpoint whether it takes a secret for an app; nothing is put to use.
    ///
    /// A grant that the credential has is renewed with it, step by step as always: that is certain, and the tokens of a
    /// renewed grant are as good for the secret that is in use. Where there is none, a refresh token is shown that nobody
    /// ever had: an endpoint looks at who asks before it looks at what is asked for (RFC 6749 5.2).
    pub async fn examine_app(
        &self,
        name: &CredentialName,
        app: &OAuth2,
        trial: &Trial,
    ) -> Result<AppVerdict, FlowFault> {
        let means = self.means();
        let (secret, dial) = (trial.candidate().clone(), Arc::clone(&means.dial));
        let client = Client { app: app.clone(), secret, manner: Manner::default(), dial };
        let way = means.under.way();
        let verdict = match means.grants.stored(name).await? {
            Some(stored) if is_live(&stored, app) => {
                let (name, grants) = (name.clone(), Arc::clone(&means.grants));
                verdict(Errand { name, grants, client, stale: Some(Arc::new(stored.tokens)) }.run().await)
            }
            _ => by_nothing(&client).await?,
        };
        drop(way);
        Ok(verdict)
    }
}

fn is_live(stored: &Stored, app: &OAuth2) -> bool {
    !matches!(stored.condition, Condition::Dead(_)) && stored.tokens.client_id == app.client_id
}

fn verdict(outcome: Outcome) -> AppVerdict {
    match outcome {
        // Who is told that the token is none has been let in.
        Outcome::Renewed(_, By::Us) | Outcome::Dead(_) => AppVerdict::Accepted,
        Outcome::Renewed(_, By::Others) => AppVerdict::Undecided("its tokens were renewed meanwhile".to_owned()),
        Outcome::Nothing => AppVerdict::Undecided("its grant was changed meanwhile".to_owned()),
        Outcome::Later(Setback::Endpoint(Trouble::Client)) => AppVerdict::Refused,
        Outcome::Later(setback) => AppVerdict::Undecided(setback.to_string()),
    }
}

async fn by_nothing(client: &Client) -> Result<AppVerdict, FlowFault> {
    let nobodys = Secret::new(joined(&[flow::random()?.as_bytes()]));
    Ok(match client.refresh(&nobodys).await {
        Ok(_) | Err(Trouble::Grant) => AppVerdict::Accepted,
        Err(Trouble::Client) => AppVerdict::Refused,
        Err(trouble) => AppVerdict::Undecided(trouble.to_string()),
    })
}
