//! Why a credential was not authorized, or its app not taken.

use super::client::Trouble;
use super::grants::GrantsFault;
use crate::id::CredentialName;

/// Why a credential was not authorized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowFault {
    /// It is no credential of OAuth 2.0.
    #[error("the credential is none of OAuth 2.0")]
    OtherKind,
    /// What came back is no answer of an authorization.
    #[error("this is not where an authorization comes back to: it has no `state`, or no `code` and no `error`")]
    Malformed,
    /// Nobody began it, or it was begun more than ten minutes ago, or it has come back already.
    #[error("nobody waits for this authorization: it was begun more than ten minutes ago, or has come back before")]
    Unknown,
    /// Nobody made this link, or it was opened before, or what it begins is over.
    #[error("this link begins nothing: it was opened before, or is older than ten minutes")]
    UnknownLink,
    /// The browser that came back had left for another authorization.
    #[error("the browser came back from Close with another authorization than the one that it had left for")]
    Mismatch,
    /// It was begun for another credential than the one that it is given for.
    #[error("this authorization was begun for another credential")]
    OtherCredential,
    /// The credential has another app by now, or is gone.
    #[error("the credential has changed since its authorization was begun")]
    Changed,
    /// The person declined, or the app is refused.
    #[error("Close gave no authorization: `{error}`")]
    Declined {
        /// Of which credential.
        credential: CredentialName,
        /// A word of RFC 6749 4.1.2.1, such as `access_denied`.
        error: String,
    },
    /// The refresh token is no text that could be one.
    #[error("this is no refresh token: it is empty, or holds a blank or a character beyond ASCII")]
    NoToken,
    /// The token endpoint refused.
    #[error("{0}")]
    Refused(String),
    /// The token endpoint could not be asked, or did not say.
    #[error("{0}")]
    Unanswered(String),
    /// The store could not be asked, or did not take it.
    #[error(transparent)]
    Store(#[from] GrantsFault),
    /// The client secret cannot be read.
    #[error("its client secret: {0}")]
    Secret(String),
    /// There was no randomness.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl FlowFault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OtherKind => "only `oauth2` credentials are authorized; for others give a new secret",
            Self::Malformed => "paste the whole URL that the browser was sent to after the consent",
            Self::Unknown | Self::OtherCredential | Self::Changed => "begin the authorization again",
            Self::UnknownLink => "begin the authorization again; did somebody else open it? a link is for one browser",
            Self::Mismatch => "nothing was authorized; begin again, and open no other link to Close meanwhile",
            Self::Declined { .. } => "begin again, and allow it; for another code see RFC 6749 4.1.2.1",
            Self::NoToken => "give the refresh token alone, on one line",
            Self::Refused(_) => "are client id, client secret and redirect URI those that Close shows?",
            Self::Unanswered(_) => "begin again once Close answers: the code or token may have been used up",
            Self::Store(_) => "is the store reachable? see its message",
            Self::Secret(_) => "see the reference of `client_secret`",
            Self::NoRandomness => "does the kernel's generator work?",
        }
    }
}

impl From<Trouble> for FlowFault {
    fn from(trouble: Trouble) -> Self {
        let what = trouble.to_string();
        match trouble {
            Trouble::Client | Trouble::Grant | Trouble::Refused(_) => Self::Refused(what),
            Trouble::Unreachable(_) | Trouble::Unanswered(_) | Trouble::Failed(..) | Trouble::Limited(_) => {
                Self::Unanswered(what)
            }
        }
    }
}
