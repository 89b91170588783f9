//! What a key may do, and what is left of its limits: the gateway's own answer to `GET /.well-known/closegate`.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::respond::REQUEST_ID;
use crate::config::{Limits, Mode};
use crate::id::RequestId;
use crate::keys::{Key, Left};
use crate::routes::{Route, RouteTable};
use crate::rule::Rule;

/// The answer for a key at this time. It names what the key may use and nothing beyond: no credential, no upstream.
pub(super) fn introspection(
    key: &Key,
    routes: &RouteTable,
    now: SystemTime,
    request_id: &RequestId,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(told(key, routes, now).to_string()));
    let of_one_moment = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    let headers: [(HeaderName, HeaderValue); 2] =
        of_one_moment.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers.map(|(name, value)| (Some(name), value)));
    response.headers_mut().insert(REQUEST_ID, request_id.header());
    response
}

fn told(key: &Key, routes: &RouteTable, now: SystemTime) -> Value {
    let usable = key.routes.iter().filter_map(|index| routes.by_index(*index));
    json!({
        "key": key.name.as_str(),
        "routes": usable.map(|route| told_route(route)).collect::<Vec<_>>(),
        "scopes": key.scopes.names(),
        "allow": texts(&key.rules.allow),
        "deny": texts(&key.rules.deny),
        "mode": match key.mode {
            Mode::Enforce => "enforce",
            Mode::Observe => "observe",
        },
        "limits": told_limits(key.quota.limits(), &key.quota.left(now)),
        "expires": key.expires.and_then(|at| Timestamp::try_from(at).ok()).map(|at| at.to_string()),
    })
}

fn told_route(route: &Route) -> Value {
    json!({
        "name": route.name.as_str(),
        "prefix": route.prefix.as_str(),
        "allow": texts(&route.rules.allow),
        "deny": texts(&route.rules.deny),
    })
}

/// Each limit with what is left of it; `null` for one that the key does not have.
fn told_limits(limits: &Limits, left: &Left) -> Value {
    let rate = limits.rate.as_ref();
    json!({
        "rate": rate.map(|rate| json!({ "rate": rate.to_string(), "burst": rate.burst, "left": left.rate })),
        "concurrency": limits.concurrency.map(|most| json!({ "limit": most, "left": left.concurrency })),
        "daily_quota": limits.daily_quota.map(|most| {
            json!({ "limit": most, "left": left.daily, "resets_in": left.resets_in })
        }),
    })
}

fn texts(rules: &[Rule]) -> Vec<String> {
    rules.iter().map(ToString::to_string).collect()
}
