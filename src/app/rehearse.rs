//! What the gateway of a configuration would decide, without its secrets: none is read, nothing is bound and nothing sent.
//!
//! It is made of the gateway's own parts, in which each key has a text that stands in for the one nobody has read.

use super::assemble::{self, Slots};
use super::secrets::Fault;
use crate::config::Config;
use crate::id::{CredentialId, CredentialName, KeyName, RouteName};
use crate::keys;
use crate::proxy::{Checkpoint, Entrance, Explanation, Question};
use crate::telemetry::{Access, Options, Telemetry};
use crate::vault::KeyText;

/// The decisions of a gateway that does not run, at the listener of `[listen]`.
pub struct Rehearsal {
    checkpoint: Checkpoint,
}

impl Rehearsal {
    /// Puts together what decides.
    pub fn of(config: &Config) -> Result<Self, Vec<Fault>> {
        let options = Options { max_key_series: config.metrics.max_key_series, access: Access::Off };
        let telemetry = Telemetry::new(options, std::io::sink());
        let (routes, _) = assemble::routes(config, &telemetry, |name| numbered(config, name), &mut Slots::default());
        let texts = config
            .keys
            .keys()
            .map(|name| KeyText { digest: keys::digest(stand_in(name).as_bytes()), opaque_length: None });
        let keys = assemble::keys(config, &telemetry, &routes, texts.collect())?;
        let door = assemble::doors(config).swap_remove(0);
        let checkpoint = Checkpoint { keys, routes, door, limits: assemble::head_limits(config) };
        Ok(Self { checkpoint })
    }

    /// What would become of a request of the key, or of one without a key.
    pub fn explain(&self, method: &str, target: &str, key: Option<&KeyName>) -> Explanation {
        let key = key.map(stand_in);
        self.checkpoint.explain(Question { method, target, key: key.as_deref() })
    }

    /// Whether callers of a route need a key.
    pub fn entrance(&self, route: &RouteName) -> Option<Entrance> {
        self.checkpoint.routes.named(route).map(|route| self.checkpoint.entrance(route))
    }
}

/// The text of a key, in a rehearsal alone.
fn stand_in(name: &KeyName) -> String {
    format!("stand-in-for-{name}")
}

/// Credentials are numbered in the order of their names.
fn numbered(config: &Config, name: &CredentialName) -> Option<CredentialId> {
    let place = config.credentials.keys().position(|known| known == name)?;
    u32::try_from(place).ok().map(CredentialId)
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
            ("GET", "/sales/a?key=cgk_0123abcd_x", "reporting", (400, "request_malformed")),
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
        let entrance = |text: String| rehearsal(&text).entrance(&RouteName::parse("a").unwrap()).unwrap();
        let open = "[routes.a]\nanonymous = true\n";
        assert_eq!(entrance(credential.to_owned()), Entrance::Unguarded);
        assert_eq!(entrance([credential, key].concat()), Entrance::Guarded);
        assert_eq!(entrance([credential, key, open].concat()), Entrance::Open);
        assert_eq!(entrance([credential, wide].concat()), Entrance::Closed);
        assert_eq!(entrance([credential, wide, open].concat()), Entrance::Closed);
        assert_eq!(entrance([credential, wide, open, "danger_anonymous = true"].concat()), Entrance::Open);
    }
}
