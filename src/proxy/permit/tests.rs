//! Tests of who may ask what.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request};

use super::steps::Nobody;
use super::*;
use crate::catalogue::{Catalogue, Demand};
use crate::config::{Limits, Mode};
use crate::id::{CredentialId, KeyName, RouteName};
use crate::keys::{self, Quota};
use crate::origin::Origin;
use crate::path::Prefix;
use crate::proxy::door::Exposure;
use crate::rule::Rules;
use crate::scope::Scopes;

fn routes() -> RouteTable {
    let route = |(index, name): (u32, &str)| Route {
        name: RouteName::parse(name).unwrap(),
        label: Label::NONE,
        prefix: Prefix::parse(&format!("/{name}")).unwrap(),
        credential: CredentialId(0),
        credential_label: Label::NONE,
        origin: Origin::close(),
        host: HeaderValue::from_static("api.close.com"),
        rules: Rules::default(),
        anonymous: false,
        danger_anonymous: false,
        index,
    };
    RouteTable::new((0..).zip(["sales", "partner"]).map(route).collect())
}

/// The key of the tests, with these scopes.
fn keys(scopes: Scopes) -> KeySet {
    let key = keys::Key {
        name: KeyName::parse("tool").unwrap(),
        label: Label::NONE,
        digest: Some(keys::digest(b"the-key-of-the-tool")),
        former: None,
        uid: None,
        fingerprint: None,
        routes: vec![0],
        scopes,
        rules: Rules::default(),
        mode: Mode::Enforce,
        quota: Quota::new(Limits::default()),
        expires: None,
    };
    KeySet::new(vec![key], None).unwrap()
}

fn fault(key: Option<&'static str>, path: &str) -> Option<ProxyError> {
    let (routes, keys, door) = (
        routes(),
        keys(Scopes::ALL),
        Door { exposure: Exposure::Loopback, hosts: Vec::new(), max_body: 0, body_timeout: Duration::ZERO },
    );
    let access = Access { keys: &keys, routes: &routes, door: &door, uid: None };
    let mut headers = HeaderMap::new();
    headers
        .extend(key.map(|key| (http::header::HeaderName::from_static("closegate-key"), HeaderValue::from_static(key))));
    let caller = access.identify(&Presented::read(&headers, &keys).unwrap(), SystemTime::UNIX_EPOCH);
    let target = PathAndQuery::try_from(path).unwrap();
    access.resolve(&target, RequestPath::parse(path).unwrap(), caller).err()
}

/// security.md 27: a stranger gets one answer, whether a route is there or not.
#[test]
fn a_stranger_learns_of_no_route() {
    for path in ["/sales/x", "/partner", "//sales/x", "/nowhere", "//nowhere", "/api/v1/me/", "/"] {
        assert!(matches!(fault(None, path), Some(ProxyError::KeyMissing)), "{path}");
        assert!(matches!(fault(Some("no-such-key-at-all"), path), Some(ProxyError::KeyInvalid)), "{path}");
    }
}

#[test]
fn a_key_leads_to_its_own_routes() {
    let known = |path| fault(Some("the-key-of-the-tool"), path);
    for path in ["/sales", "/sales/api/v1/me/", "/sales//x", "/api/v1/me/"] {
        assert!(known(path).is_none(), "{path}");
    }
    for path in ["/partner/x", "/nowhere", "//api/v1/me/", "/"] {
        assert!(matches!(known(path), Some(ProxyError::NoRoute)), "{path}");
    }
    assert!(matches!(known("//sales/x"), Some(ProxyError::Path(_))));
}

/// What becomes of a request of a key with these scopes.
fn decided(scopes: Scopes, method: &str, target: &str, line: Option<(&str, &str)>) -> Result<(), ProxyError> {
    let (routes, keys, door) = (
        routes(),
        keys(scopes),
        Door { exposure: Exposure::Loopback, hosts: Vec::new(), max_body: 0, body_timeout: Duration::ZERO },
    );
    let access = Access { keys: &keys, routes: &routes, door: &door, uid: None };
    let mut request = Request::builder().method(method).uri(target).header("closegate-key", "the-key-of-the-tool");
    if let Some((name, value)) = line {
        request = request.header(name, value);
    }
    let parts = request.body(()).unwrap().into_parts().0;
    let shown = Shown::of(&parts, access.keys);
    let inbound = access.admit(parts, shown, &mut Nobody)?;
    match access.decide(&inbound, &mut Nobody)? {
        // Nothing is known of a body: it counts as one that sends.
        Decision::Sealed(sealed) => sealed.open(Scope::Send, &mut Nobody).map(drop),
        Decision::Permitted(_) | Decision::Introspection(_) => Ok(()),
    }
}

/// Done-when of the catalogue: what a key lacks the scope for it cannot do by an override either, whatever else it may do.
#[test]
fn no_override_does_what_a_scope_is_missing_for() {
    for operation in Catalogue::close().operations() {
        let path = operation.endpoint.replace(['{', '}'], "");
        let targets =
            [format!("/sales{path}"), format!("/sales{}", path.trim_end_matches('/')).replace("/v1/", "//v1//")];
        let needed = match operation.demand {
            Demand::Fixed(scope) => Scopes::NONE.with(scope),
            Demand::ByStatus => [Scope::Write, Scope::Send].into_iter().collect(),
        };
        let others: Scopes = Scope::ALL.into_iter().filter(|scope| !needed.contains(*scope)).collect();
        let method = operation.method.as_str();
        for target in &targets {
            let by_override = Some(("x-http-method-override", method));
            let refused = decided(others, "POST", target, by_override);
            assert!(matches!(refused, Err(ProxyError::ScopeMissing { .. })), "{method} {target}: {refused:?}");
            // The one exception: a POST that stands for a documented GET.
            let reads = method == "GET" && needed == Scopes::NONE.with(Scope::Read);
            let reader = decided(Scopes::NONE.with(Scope::Read), "POST", target, by_override);
            let search = method == "POST" && needed == Scopes::NONE.with(Scope::Read);
            assert_eq!(reader.is_ok(), reads || search, "{method} {target}");
            for (name, value) in [
                ("x-http-method-override", method.to_ascii_lowercase().as_str()),
                ("x-http-method", method),
                ("x-method-override", method),
                ("x_http_method_override", method),
            ] {
                let odd = decided(Scopes::ALL, "POST", target, Some((name, value)));
                assert!(matches!(odd, Err(ProxyError::Malformed(_))), "{name} {method} {target}: {odd:?}");
            }
            for parameter in ["_method", "%5Fmethod", "_m%65thod"] {
                let odd = decided(Scopes::ALL, "POST", &format!("{target}?{parameter}={method}"), None);
                assert!(matches!(odd, Err(ProxyError::Malformed(_))), "{parameter} {method} {target}: {odd:?}");
            }
        }
    }
}
