//! What the gateway of a configuration would decide, without its secrets: none is read, nothing is bound and nothing sent.
//!
//! It is made of the gateway's own parts, in which each key has a text that stands in for the one nobody has read.

use std::collections::HashMap;

use super::assemble::{self, Slots};
use super::listeners;
use super::secrets::{Fault, History};
use super::together::Together;
use crate::config::{Address, Config, Listener};
use crate::id::{CredentialId, CredentialName, KeyName, ListenerName, RouteName};
use crate::keys;
use crate::proxy::{Checkpoint, Explanation, Exposure, Openness, Post, Question, Steps};
use crate::telemetry::{Access, Options, Telemetry};
use crate::vault::KeyText;

/// The decisions of a gateway that does not run.
///
/// Of the sockets that systemd would hand over it is assumed that they are on loopback, as `check` does.
pub struct Rehearsal {
    checkpoint: Checkpoint,
    listen: Post,
    others: Vec<(ListenerName, Post)>,
}

impl Rehearsal {
    /// Puts together what decides, with what was added at run time.
    pub fn together(together: &Together) -> Result<Self, Vec<Fault>> {
        let mut rehearsal = Self::of(&together.loaded.config)?;
        if together.history == History::Keys {
            rehearsal.checkpoint.keys = rehearsal.checkpoint.keys.after_others();
        }
        Ok(rehearsal)
    }

    /// Puts together what decides.
    pub fn of(config: &Config) -> Result<Self, Vec<Fault>> {
        let options = Options { max_key_series: config.metrics.max_key_series, access: Access::Off };
        let telemetry = Telemetry::new(options, std::io::sink());
        // Credentials are numbered in the order of their names.
        let numbers: HashMap<_, _> = config.credentials.keys().zip((0..).map(CredentialId)).collect();
        let find = |name: &CredentialName| numbers.get(name).copied();
        let (routes, _) = assemble::routes(config, &telemetry, find, &mut Slots::default());
        let texts = config
            .keys
            .keys()
            .map(|name| KeyText { digest: Some(keys::digest(stand_in(name).as_bytes())), fingerprint: None });
        let keys = assemble::keys(config, &telemetry, texts.collect(), None, None)?;
        let others = config.listeners.iter().map(|(name, listener)| (name.clone(), post(listener)));
        Ok(Self { checkpoint: Checkpoint { keys, routes }, listen: post(&config.listen), others: others.collect() })
    }

    /// What would become of a request of the key, or of one without a key, at the listener of `[listen]`.
    pub fn explain(&self, method: &str, target: &str, key: Option<&KeyName>) -> Explanation {
        self.explain_at(&self.listen, method, target, key)
    }

    /// What would become of it at each of the other listeners.
    pub fn explain_elsewhere(
        &self,
        method: &str,
        target: &str,
        key: Option<&KeyName>,
    ) -> impl Iterator<Item = (&ListenerName, Explanation)> {
        self.others.iter().map(move |(name, post)| (name, self.explain_at(post, method, target, key)))
    }

    /// Whether callers of a route need a key: at the listener where they need it most.
    pub fn openness(&self, route: &RouteName) -> Option<Openness> {
        let route = self.checkpoint.routes.named(route)?;
        let posts = std::iter::once(&self.listen).chain(self.others.iter().map(|(_, post)| post));
        posts.map(|post| self.checkpoint.openness(post, route)).max()
    }

    /// The steps of a request at the listener of `[listen]`, for whoever takes them one by one.
    pub fn steps(&self) -> Steps<'_> {
        self.checkpoint.steps(&self.listen)
    }

    /// The text by which a rehearsal knows a key, and nothing else does.
    pub fn text_of(name: &KeyName) -> String {
        stand_in(name)
    }

    fn explain_at(&self, post: &Post, method: &str, target: &str, key: Option<&KeyName>) -> Explanation {
        let key = key.map(stand_in);
        self.checkpoint.explain(post, Question { method, target, key: key.as_deref() })
    }
}

/// What would decide at a listener.
fn post(listener: &Listener) -> Post {
    let exposure = match &listener.address {
        Address::Unix(_) => Exposure::Socket,
        address if address.is_wide() => Exposure::Network,
        _ => Exposure::Loopback,
    };
    let door = listeners::door(listener, exposure);
    Post { door, limits: listeners::head_limits(listener) }
}

/// The text of a key, in a rehearsal alone.
fn stand_in(name: &KeyName) -> String {
    format!("stand-in-for-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Sources, load_names};
    use crate::proxy::Entry;
    use crate::rule::Ruling;

    const FILE: &str = r#"
[credentials.sales]
api_key = { env = "NEVER_SET" }
[credentials.partner]
bearer = { file = "absent" }
[routes.sales]
upstream = "https://example.com/base"
credential = "sales"
deny = ["* /base/api/v1/export/**"]
[routes.open]
credential = "partner"
anonymous = true
[keys.reporting]
hash = "sha256:28b1a1d4375bf360583d06d12b21b1340dc42f8fa2cc25c16b311f646b51692e"
routes = ["sales"]
allow = ["GET,HEAD /base/api/v1/**"]
[keys.old]
secret = { env = "NEVER_SET" }
routes = ["sales"]
expires = 2020-01-01T00:00:00Z
"#;

    fn rehearsal(text: &str) -> Rehearsal {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("closegate.toml"), text).unwrap();
        let environment = Environment::default();
        let sources = Sources { file: None, environment, folder: folder.path().to_owned() };
        Rehearsal::of(&load_names(&sources).unwrap().config).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn asked(method: &str, target: &str, key: &str) -> Explanation {
        rehearsal(FILE).explain(method, target, KeyName::parse(key).ok().as_ref())
    }

    fn code(method: &str, target: &str, key: &str) -> (u16, &'static str) {
        asked(method, target, key).refusal.map_or((0, ""), |refusal| (refusal.status, refusal.code))
    }

    #[test]
    fn a_request_that_would_be_sent_is_told_with_its_way() {
        let explained = asked("GET", "/sales/api/v1//lead/lead_1/?a=%62", "reporting");
        assert!(explained.refusal.is_none());
        assert_eq!(explained.key.unwrap().as_str(), "reporting");
        let way = explained.way.unwrap();
        assert_eq!((way.route.as_str(), way.entry), ("sales", Entry::Prefix));
        assert_eq!(way.upstream, "https://example.com/base/api/v1//lead/lead_1/?a=%62");
        assert_eq!(way.by_route, Ruling::Unruled);
        assert!(matches!(way.by_key, Some(Ruling::Allowed(rule)) if rule.to_string() == "GET,HEAD /base/api/v1/**"));
        let first = asked("GET", "/api/v1/me/", "reporting").way.unwrap();
        assert_eq!((first.route.as_str(), first.entry), ("sales", Entry::FirstOfKey));
        let open = asked("GET", "/open/api/v1/me/", "").way.unwrap();
        assert_eq!((open.endpoint, open.by_key), (Some("/api/v1/me/"), None));
    }

    #[test]
    fn every_step_may_refuse() {
        for (method, target, key, refused) in [
            ("GET", "/sales/api/v1/me/", "", (401, "key_missing")),
            ("GET", "/sales/api/v1/me/", "old", (401, "key_invalid")),
            ("POST", "/sales/api/v1/lead/", "reporting", (403, "path_denied")),
            ("GET", "/sales/api/v1/export/", "reporting", (403, "path_denied")),
            ("GET", "/sales/oauth2/token/", "reporting", (403, "secrets_endpoint")),
            ("GET", "/open/api/v1/api_key/", "", (403, "secrets_endpoint")),
            ("GET", "/partner/api/v1/me/", "reporting", (404, "no_route")),
            ("GET", "/sales/a/../b", "reporting", (400, "path_not_canonical")),
            ("GET", "//sales/a", "reporting", (400, "path_not_canonical")),
            ("POST", "/sales/a?%5fmethod=PUT", "reporting", (400, "request_malformed")),
            ("GET", "/sales/a?key=cgk_0123abcd_x0123456", "reporting", (400, "request_malformed")),
            ("GET", "/sales/a b", "reporting", (400, "request_malformed")),
            ("get", "/sales/a", "reporting", (400, "request_malformed")),
            ("TRACE", "/sales/a", "reporting", (405, "method_refused")),
            ("CONNECT", "/sales/a", "reporting", (405, "method_refused")),
        ] {
            assert_eq!(code(method, target, key), refused, "{method} {target} {key}");
        }
        assert_eq!(code("GET", &format!("/sales/{}", "a".repeat(20_000)), "reporting"), (414, "uri_too_long"));
    }

    #[test]
    fn what_refuses_is_named() {
        let denied = asked("GET", "/sales/api/v1/export/lead/", "reporting").way.unwrap();
        assert!(matches!(denied.by_route, Ruling::Denied(rule) if rule.to_string() == "* /base/api/v1/export/**"));
        assert_eq!(denied.upstream, "https://example.com/base/api/v1/export/lead/");
        let unlisted = asked("POST", "/sales/api/v1/lead/?x=y", "reporting").way.unwrap();
        assert_eq!(unlisted.by_key, Some(Ruling::Unlisted));
        assert_eq!(unlisted.upstream, "https://example.com/base/api/v1/lead/", "without the query");
    }

    #[test]
    fn who_may_enter_depends_on_keys_and_listener() {
        let credential = "[credentials.a]\nbearer = { env = \"A\" }\n";
        let key = "[keys.k]\nroutes = [\"a\"]\nsecret = { env = \"K\" }\n";
        let wide = "[listen]\naddress = \"0.0.0.0:8080\"\n";
        let openness = |text: String| rehearsal(&text).openness(&RouteName::parse("a").unwrap()).unwrap();
        let open = "[routes.a]\nanonymous = true\n";
        assert_eq!(openness(credential.to_owned()), Openness::Unguarded);
        assert_eq!(openness([credential, key].concat()), Openness::Guarded);
        assert_eq!(openness([credential, key, open].concat()), Openness::Open);
        assert_eq!(openness([credential, wide].concat()), Openness::Closed);
        assert_eq!(openness([credential, wide, open].concat()), Openness::Closed);
        assert_eq!(openness([credential, wide, open, "danger_anonymous = true"].concat()), Openness::Open);
        let beside = "[listeners.wide]\naddress = \"0.0.0.0:8080\"\n";
        assert_eq!(openness([credential, beside].concat()), Openness::Closed, "where it is needed most");
    }

    #[test]
    fn each_listener_decides_for_itself() {
        let beside = "[credentials.a]\nbearer = { env = \"A\" }\n[listeners.wide]\naddress = \"0.0.0.0:0\"\n";
        let rehearsal = rehearsal(beside);
        assert!(rehearsal.explain("GET", "/a/x", None).refusal.is_none());
        let elsewhere: Vec<_> = rehearsal.explain_elsewhere("GET", "/a/x", None).collect();
        assert_eq!(elsewhere[0].0.as_str(), "wide");
        assert_eq!(elsewhere[0].1.refusal.as_ref().unwrap().code, "key_missing");
    }
}
