//! The credentials that the simulator takes, and those that a demonstration makes up.

use std::{fmt, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ids::random_text;

/// A credential that the simulator takes, and the organisation it opens.
///
/// Credentials of one organisation see the same records, as two API keys of one Close organisation do.
#[derive(Clone, PartialEq, Eq)]
pub struct Accepted {
    organisation: String,
    secret: String,
    authorization: String,
}

impl Accepted {
    /// An API key: the user name of Basic, with an empty password.
    pub fn api_key(organisation: &str, key: &str) -> Self {
        Self::new(organisation, key, format!("Basic {}", STANDARD.encode(format!("{key}:"))))
    }

    /// A user name and a password by Basic.
    pub fn basic(organisation: &str, user: &str, password: &str) -> Self {
        Self::new(organisation, password, format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// An OAuth access token by Bearer.
    pub fn bearer(organisation: &str, token: &str) -> Self {
        Self::new(organisation, token, format!("Bearer {token}"))
    }

    /// The name of the organisation it opens, as `GET /api/v1/me/` tells it.
    pub fn organisation(&self) -> &str {
        &self.organisation
    }

    /// The secret: the API key, the password or the token.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The one value of `Authorization` that presents it.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    fn new(organisation: &str, secret: &str, authorization: String) -> Self {
        Self { organisation: organisation.to_owned(), secret: secret.to_owned(), authorization }
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a credential of `{}`: [secret]", self.organisation)
    }
}

/// The credentials of a demonstration, made anew at every call.
#[derive(Debug, Clone)]
pub struct DemoCredentials {
    /// An API key of the organisation `sales`.
    pub sales: Accepted,
    /// A bearer token of the organisation `support`.
    pub support: Accepted,
}

/// Makes an API key and a bearer token that nothing but this process knows.
pub fn demo_credentials() -> io::Result<DemoCredentials> {
    let key = format!("api_{}.{}", random_text()?, random_text()?);
    let token = format!("{}{}", random_text()?, random_text()?);
    Ok(DemoCredentials { sales: Accepted::api_key("sales", &key), support: Accepted::bearer("support", &token) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_is_the_user_name_of_basic() {
        // The test vector of Close's documentation.
        assert_eq!(Accepted::api_key("a", "yourapikey").authorization(), "Basic eW91cmFwaWtleTo=");
        assert_eq!(Accepted::basic("a", "u", "p").authorization(), "Basic dTpw");
        assert_eq!(Accepted::bearer("a", "t").authorization(), "Bearer t");
    }

    #[test]
    fn demo_credentials_have_the_real_shape_and_are_not_printed() {
        let demo = demo_credentials().unwrap();
        let key = demo.sales.secret();
        assert_eq!((key.len(), &key[..4], &key[26..27]), (49, "api_", "."));
        assert!(!format!("{demo:?}").contains(key));
        assert_ne!(demo_credentials().unwrap().sales, demo.sales);
    }
}
