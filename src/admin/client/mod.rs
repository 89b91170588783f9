//! Has things done by a running gateway, through its admin API: what the command line uses where there is one.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, IF_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::api::Page;
use super::management::{Answer, Management};
use super::model::{
    Actor, Authorization, Awaited, CreatedKey, CredentialView, Departure, EventPage, EventQuery, ExplainQuery,
    Explained, Identity, KeyRotation, KeySettings, KeyView, NewCredential, NewKey, NewRoute, Progress, RefusalQuery,
    RefusalView, Reload, Removal, Returned, Rotation, RouteSettings, RouteView, SecretText, SettingView, Started,
    Suggestion, UpdatedCredential, Usage, UsageQuery, Verification, Version,
};
use super::problem::Problem;
use super::refusal::{Code, Refusal};
use crate::config::Admin;
use crate::id::{CredentialName, KeyName, RouteName};
use crate::vault::Presented;

pub use self::call::{call, is_there, reachable};

mod call;

/// Asks a running gateway on this machine.
pub struct Client {
    admin: Admin,
    token: Presented,
}

impl Client {
    /// A client of the admin listener of a configuration, with a token.
    pub fn new(admin: Admin, token: Presented) -> Self {
        Self { admin, token }
    }

    /// Who the gateway takes this for.
    ///
    /// # Errors
    ///
    /// `gateway_unreachable` when nobody listens there, `unauthenticated` when the token is not one of that gateway.
    pub async fn identity(&self) -> Result<Identity, Refusal> {
        self.get("session").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        parsed(self.ask(Method::GET, path, None, None).await?.body())
    }

    /// Everything of a list, page by page.
    async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Refusal> {
        let (mut all, mut cursor, mut known) = (Vec::new(), None::<String>, BTreeSet::new());
        loop {
            let after = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let page: Page<T> = self.get(&format!("{path}?limit=500{after}")).await?;
            all.extend(page.data);
            match page.next {
                Some(next) if known.insert(next.clone()) => cursor = Some(next),
                Some(_) | None => return Ok(all),
            }
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + Sync),
        expected: Option<Version>,
    ) -> Result<T, Refusal> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer(&mut *bytes, body).map_err(|_| Refusal::internal())?;
        parsed(self.ask(method, path, Some(bytes), expected).await?.body())
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, expected: Option<Version>) -> Result<T, Refusal> {
        parsed(self.ask(Method::POST, path, None, expected).await?.body())
    }

    async fn delete(&self, path: &str, expected: Option<Version>) -> Result<(), Refusal> {
        self.ask(Method::DELETE, path, None, expected).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Zeroizing<Vec<u8>>>,
        expected: Option<Version>,
    ) -> Result<Response<Bytes>, Refusal> {
        let mut headers = HeaderMap::new();
        self.token.attach(&mut headers);
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let tag = expected.and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok());
        headers.extend(tag.map(|tag| (IF_MATCH, tag)));
        let body = body.map(Bytes::from_owner).unwrap_or_default();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("/api/v1/{path}").parse().map_err(|_| Refusal::internal())?;
        *request.headers_mut() = headers;
        let response = call(&self.admin, request, PATIENCE).await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(&response)) }
    }

    fn unreachable(&self, error: &std::io::Error) -> Refusal {
        let address = reachable(&self.admin);
        let detail = match error.kind() {
            ErrorKind::ConnectionRefused => format!("no gateway listens at `{address}`"),
            ErrorKind::TimedOut => format!("the gateway at `{address}` did not answer in time"),
            _ => format!("the gateway at `{address}` cannot be asked: {error}"),
        };
        Refusal::new(Code::GatewayUnreachable, detail).hint("is it running, with `admin.address` set to this?")
    }

    fn refused(&self, response: &Response<Bytes>) -> Refusal {
        let problem = serde_json::from_slice::<Problem>(response.body()).map(Refusal::from);
        problem.unwrap_or_else(|_| match response.status() {
            StatusCode::NOT_FOUND => {
                let detail = format!("what listens at `{}` has no admin API", reachable(&self.admin));
                Refusal::new(Code::GatewayUnreachable, detail)
            }
            status => Refusal::new(Code::Internal, format!("the gateway answered {status}")),
        })
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let odd = |_| {
        let detail = "the gateway's answer is not understood: it is of another version";
        Refusal::new(Code::Internal, detail).hint("`closegate --version` here and there")
    };
    serde_json::from_slice(body).map_err(odd)
}

/// The `key=value` of a query, of what is given.
fn query(pairs: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

impl Management for Client {
    fn credentials(&self) -> Answer<'_, Vec<CredentialView>> {
        Box::pin(self.all("credentials"))
    }

    fn credential<'a>(&'a self, name: &'a CredentialName) -> Answer<'a, CredentialView> {
        Box::pin(async move { self.get(&format!("credentials/{name}")).await })
    }

    fn add_credential<'a>(&'a self, new: NewCredential, _: &'a Actor) -> Answer<'a, CredentialView> {
        Box::pin(async move { self.send(Method::POST, "credentials", &new, None).await })
    }

    fn update_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        to: UpdatedCredential,
        expected: Option<Version>,
        _: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        Box::pin(async move { self.send(Method::PUT, &format!("credentials/{name}"), &to, expected).await })
    }

    fn remove_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        expected: Option<Version>,
        _: &'a Actor,
    ) -> Answer<'a, Removal> {
        Box::pin(async move {
            let answer = self.ask(Method::DELETE, &format!("credentials/{name}"), None, expected).await?;
            if answer.status() == StatusCode::NO_CONTENT { Ok(Removal::whole(name)) } else { parsed(answer.body()) }
        })
    }

    fn verify_credential<'a>(&'a self, name: &'a CredentialName, _: &'a Actor) -> Answer<'a, Verification> {
        Box::pin(async move { self.post(&format!("credentials/{name}/verify"), None).await })
    }

    fn rotate_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        to: Rotation,
        expected: Option<Version>,
        _: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        Box::pin(async move { self.send(Method::POST, &format!("credentials/{name}/rotate"), &to, expected).await })
    }

    fn disable_credential<'a>(&'a self, name: &'a CredentialName, _: &'a Actor) -> Answer<'a, CredentialView> {
        Box::pin(async move { self.post(&format!("credentials/{name}/disable"), None).await })
    }

    fn enable_credential<'a>(&'a self, name: &'a CredentialName, _: &'a Actor) -> Answer<'a, CredentialView> {
        Box::pin(async move { self.post(&format!("credentials/{name}/enable"), None).await })
    }

    fn start_authorization<'a>(
        &'a self,
        name: &'a CredentialName,
        departure: Departure,
        _: &'a Actor,
    ) -> Answer<'a, Started> {
        let how = match departure {
            Departure::Here => Authorization::Start {},
            Departure::ByLink => Authorization::Link {},
        };
        Box::pin(async move { self.send(Method::POST, &format!("credentials/{name}/authorize"), &how, None).await })
    }

    fn follow_link<'a>(&'a self, _: &'a str) -> Answer<'a, Started> {
        // Browsers do.
        Box::pin(async { Err(Refusal::internal()) })
    }

    fn await_authorization<'a>(&'a self, name: &'a CredentialName, state: &'a str) -> Answer<'a, Progress> {
        let awaited = Awaited { state: state.to_owned() };
        let path = format!("credentials/{name}/authorize/outcome");
        Box::pin(async move { self.send(Method::POST, &path, &awaited, None).await })
    }

    fn mismatch<'a>(&'a self, _: &'a str, _: &'a Actor) -> Answer<'a, ()> {
        // Browsers come back to the gateway itself.
        Box::pin(async { Err(Refusal::internal()) })
    }

    fn complete_authorization<'a>(
        &'a self,
        name: Option<&'a CredentialName>,
        returned: Returned,
        _: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        Box::pin(async move {
            let name = name.ok_or_else(Refusal::internal)?;
            let how = Authorization::RedirectUrl(returned.query().to_owned());
            self.send(Method::POST, &format!("credentials/{name}/authorize"), &how, None).await
        })
    }

    fn take_over_grant<'a>(
        &'a self,
        name: &'a CredentialName,
        refresh_token: SecretText,
        _: &'a Actor,
    ) -> Answer<'a, CredentialView> {
        let how = Authorization::RefreshToken(refresh_token);
        Box::pin(async move { self.send(Method::POST, &format!("credentials/{name}/authorize"), &how, None).await })
    }

    fn routes(&self) -> Answer<'_, Vec<RouteView>> {
        Box::pin(self.all("routes"))
    }

    fn route<'a>(&'a self, name: &'a RouteName) -> Answer<'a, RouteView> {
        Box::pin(async move { self.get(&format!("routes/{name}")).await })
    }

    fn add_route<'a>(&'a self, new: NewRoute, _: &'a Actor) -> Answer<'a, RouteView> {
        Box::pin(async move { self.send(Method::POST, "routes", &new, None).await })
    }

    fn replace_route<'a>(
        &'a self,
        name: &'a RouteName,
        to: RouteSettings,
        expected: Option<Version>,
        _: &'a Actor,
    ) -> Answer<'a, RouteView> {
        Box::pin(async move { self.send(Method::PUT, &format!("routes/{name}"), &to, expected).await })
    }

    fn remove_route<'a>(&'a self, name: &'a RouteName, expected: Option<Version>, _: &'a Actor) -> Answer<'a, ()> {
        Box::pin(async move { self.delete(&format!("routes/{name}"), expected).await })
    }

    fn keys(&self) -> Answer<'_, Vec<KeyView>> {
        Box::pin(self.all("keys"))
    }

    fn key<'a>(&'a self, name: &'a KeyName) -> Answer<'a, KeyView> {
        Box::pin(async move { self.get(&format!("keys/{name}")).await })
    }

    fn create_key<'a>(&'a self, new: NewKey, _: &'a Actor) -> Answer<'a, CreatedKey> {
        Box::pin(async move { self.send(Method::POST, "keys", &new, None).await })
    }

    fn replace_key<'a>(
        &'a self,
        name: &'a KeyName,
        to: KeySettings,
        expected: Option<Version>,
        _: &'a Actor,
    ) -> Answer<'a, KeyView> {
        Box::pin(async move { self.send(Method::PUT, &format!("keys/{name}"), &to, expected).await })
    }

    fn revoke_key<'a>(&'a self, name: &'a KeyName, _: &'a Actor) -> Answer<'a, KeyView> {
        Box::pin(async move { self.post(&format!("keys/{name}/revoke"), None).await })
    }

    fn rotate_key<'a>(
        &'a self,
        name: &'a KeyName,
        to: KeyRotation,
        expected: Option<Version>,
        _: &'a Actor,
    ) -> Answer<'a, CreatedKey> {
        Box::pin(async move { self.send(Method::POST, &format!("keys/{name}/rotate"), &to, expected).await })
    }

    fn remove_key<'a>(&'a self, name: &'a KeyName, expected: Option<Version>, _: &'a Actor) -> Answer<'a, ()> {
        Box::pin(async move { self.delete(&format!("keys/{name}"), expected).await })
    }

    fn suggestion<'a>(&'a self, name: &'a KeyName) -> Answer<'a, Suggestion> {
        Box::pin(async move { self.get(&format!("keys/{name}/suggestion")).await })
    }

    fn usage(&self, asked: UsageQuery) -> Answer<'_, Usage> {
        let UsageQuery { by, since, key, route, credential, endpoint, points } = asked;
        let by = by.map(|by| by.as_str().to_owned());
        let points = points.map(|points| points.to_string());
        let path = query(&[
            ("by", by),
            ("since", since),
            ("key", key),
            ("route", route),
            ("credential", credential),
            ("endpoint", endpoint),
            ("points", points),
        ]);
        let path = format!("usage?{path}");
        Box::pin(async move { self.get(&path).await })
    }

    fn events(&self, asked: EventQuery) -> Answer<'_, EventPage> {
        let EventQuery { limit, cursor, actor, action, subject } = asked;
        let limit = limit.map(|limit| limit.to_string());
        let pairs = [("limit", limit), ("cursor", cursor), ("actor", actor), ("action", action), ("subject", subject)];
        let path = format!("events?{}", query(&pairs));
        Box::pin(async move { self.get(&path).await })
    }

    fn refusals(&self, asked: RefusalQuery) -> Answer<'_, Vec<RefusalView>> {
        let RefusalQuery { limit, key, code } = asked;
        let path = format!(
            "refusals?{}",
            query(&[("limit", limit.map(|limit| limit.to_string())), ("key", key), ("code", code)])
        );
        Box::pin(async move { self.get(&path).await })
    }

    fn explain(&self, asked: ExplainQuery) -> Answer<'_, Explained> {
        let ExplainQuery { method, path, key } = asked;
        let path = format!("explain?{}", query(&[("method", Some(method)), ("path", Some(path)), ("key", key)]));
        Box::pin(async move { self.get(&path).await })
    }

    fn config(&self) -> Answer<'_, Vec<SettingView>> {
        Box::pin(self.get("config"))
    }

    fn reload<'a>(&'a self, _: &'a Actor) -> Answer<'a, Reload> {
        Box::pin(self.post("reload", None))
    }
}

/// Close may take its time to answer a verification.
const PATIENCE: Duration = Duration::from_secs(90);
/// Room for a request: a vector that grows leaves copies behind.
const ROOM: usize = 64 * 1024;
