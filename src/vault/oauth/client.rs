//! An OAuth app at its token endpoint: exchanges a refresh token or a code, ends a grant (RFC 6749, 7009, 7636).
//!
//! It shows its id and secret in the body, as Close's documentation has it; where that is answered with
//! `invalid_client` it tries Basic once, and goes on with that if it is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::endpoint::{self, Answer, Form, Silence};
use super::tokens::Given;
use crate::config::{Endpoint, OAuth2};
use crate::vault::credential::Candidate;
use crate::vault::probe::Dial;
use crate::vault::secret::Secret;

/// An app that can show who it is.
#[derive(Clone)]
pub(in crate::vault) struct Client {
    pub(super) app: OAuth2,
    pub(super) secret: Candidate,
    pub(super) manner: Manner,
    pub(super) dial: Arc<dyn Dial>,
}

/// How an app shows who it is; learned once, for all that know it.
#[derive(Debug, Clone, Default)]
pub(in crate::vault) struct Manner(Arc<AtomicBool>);

/// Why the token endpoint gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::vault) enum Trouble {
    /// No byte of the question was sent.
    #[error("the token endpoint cannot be reached: {0}")]
    Unreachable(String),
    /// Nobody can say whether the question was carried out.
    #[error("the token endpoint {0}")]
    Unanswered(&'static str),
    /// A status that says neither yes nor no.
    #[error("the token endpoint answered {0}")]
    Failed(u16, Option<Duration>),
    /// It asks to be left alone for a while; nothing was carried out.
    #[error("the token endpoint answered 429")]
    Limited(Option<Duration>),
    /// `invalid_client`
    #[error("the token endpoint does not take the client id and secret (`invalid_client`)")]
    Client,
    /// `invalid_grant`
    #[error("the token endpoint refused the token or the code (`invalid_grant`)")]
    Grant,
    /// Another refusal; nothing was carried out.
    #[error("the token endpoint refused: `{0}`")]
    Refused(String),
}

impl Trouble {
    /// Whether what was asked may have been carried out all the same.
    pub(super) fn is_doubtful(&self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::Failed(..))
    }

    /// How long the endpoint asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(_, wait) | Self::Limited(wait) => *wait,
            _ => None,
        }
    }
}

impl Client {
    /// New tokens for a refresh token.
    pub(super) async fn refresh(&self, token: &Secret) -> Result<Given, Trouble> {
        let form = || Form::new().with("grant_type", b"refresh_token").with("refresh_token", token.expose());
        self.ask(&self.app.token_url, form).await.and_then(given)
    }

    /// New tokens for a code.
    pub(super) async fn exchange(
        &self,
        code: &Secret,
        verifier: &Secret,
        redirect_uri: &str,
    ) -> Result<Given, Trouble> {
        let form = || {
            Form::new()
                .with("grant_type", b"authorization_code")
                .with("code", code.expose())
                .with("redirect_uri", redirect_uri.as_bytes())
                .with("code_verifier", verifier.expose())
        };
        self.ask(&self.app.token_url, form).await.and_then(given)
    }

    /// Ends the grant of a refresh token.
    pub(super) async fn revoke(&self, token: &Secret) -> Result<(), Trouble> {
        let form = || Form::new().with("token", token.expose());
        self.ask(&self.app.revocation_url, form).await.map(drop)
    }

    /// Asks, by Basic too if the body is not taken; gives a 2xx.
    async fn ask(&self, to: &Endpoint, form: impl Fn() -> Form) -> Result<Answer, Trouble> {
        let asked = async {
            if self.manner.0.load(Ordering::Relaxed) {
                return self.ask_by_basic(to, form()).await;
            }
            match self.ask_in_body(to, form()).await {
                Err(Trouble::Client) => {
                    let answer = self.ask_by_basic(to, form()).await;
                    self.manner.0.fetch_or(!matches!(answer, Err(Trouble::Client)), Ordering::Relaxed);
                    answer
                }
                answer => answer,
            }
        };
        tokio::time::timeout(LIMIT, asked).await.unwrap_or(Err(Trouble::Unanswered("did not answer within 10 s")))
    }

    async fn ask_in_body(&self, to: &Endpoint, form: Form) -> Result<Answer, Trouble> {
        let form = form.with("client_id", self.app.client_id.as_bytes());
        let secret = self.secret.app_secret().map_or(&b""[..], Secret::expose);
        judge(endpoint::post(&*self.dial, to, form.with("client_secret", secret), None).await)
    }

    async fn ask_by_basic(&self, to: &Endpoint, form: Form) -> Result<Answer, Trouble> {
        judge(endpoint::post(&*self.dial, to, form, Some(self.secret.header())).await)
    }
}

fn judge(answer: Result<Answer, Silence>) -> Result<Answer, Trouble> {
    let answer = answer.map_err(|silence| match silence {
        Silence::Unasked(why) => Trouble::Unreachable(why),
        Silence::Unanswered(why) => Trouble::Unanswered(why),
    })?;
    let status = answer.status.as_u16();
    match status {
        200..=299 => Ok(answer),
        429 => Err(Trouble::Limited(answer.retry_after)),
        400..=499 => Err(refusal(status, &answer.body)),
        _ => Err(Trouble::Failed(status, answer.retry_after)),
    }
}

/// RFC 6749 5.2.
fn refusal(status: u16, body: &[u8]) -> Trouble {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let code = serde_json::from_slice(body).map(|Refusal { error }| error).ok();
    match (code.as_deref(), status) {
        (Some("invalid_grant"), _) => Trouble::Grant,
        (Some("invalid_client"), _) | (None, 401) => Trouble::Client,
        (Some(code), _) if is_code(code) => Trouble::Refused(code.to_owned()),
        _ => Trouble::Refused(format!("HTTP {status}")),
    }
}

/// What may be repeated to people: a word of an error, never what else somebody may have put there.
fn is_code(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn given(answer: Answer) -> Result<Given, Trouble> {
    Given::parse(&answer.body).ok_or(Trouble::Unanswered("answered without usable tokens"))
}

/// How long a question may take, in both ways together.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_code_and_repeats_nothing_else() {
        for (status, body, trouble) in [
            (400, r#"{"error":"invalid_grant","error_description":"planted"}"#, Trouble::Grant),
            (401, r#"{"error":"invalid_grant"}"#, Trouble::Grant),
            (400, r#"{"error":"invalid_client"}"#, Trouble::Client),
            (401, "<html>", Trouble::Client),
            (401, r#"{"error":"Unauthorized"}"#, Trouble::Refused("HTTP 401".to_owned())),
            (400, r#"{"error":"unauthorized_client"}"#, Trouble::Refused("unauthorized_client".to_owned())),
            (403, r#"{"error":"planted-token-0123456789"}"#, Trouble::Refused("HTTP 403".to_owned())),
            (404, "", Trouble::Refused("HTTP 404".to_owned())),
        ] {
            assert_eq!(refusal(status, body.as_bytes()), trouble, "{status} {body}");
        }
    }
}
