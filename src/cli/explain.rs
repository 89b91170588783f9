//! `closegate route explain`: which route, credential and URL a request would get, and why it would be refused.

use std::fmt;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use super::{Output, USAGE, print, route, table};
use crate::app::Rehearsal;
use crate::catalogue::Demand;
use crate::config::{Loaded, Place, suggest};
use crate::id::KeyName;
use crate::proxy::{Entry, Explanation, Refusal, Way};
use crate::rule::{Rule, Ruling};

/// The request that is asked about.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  closegate route explain GET /sales/api/v1/lead/ --key reporting
  closegate route explain DELETE /sales/api/v1/lead/lead_1/ --key reporting --output json

Configuration and store answer, by the steps of the gateway itself: no gateway need run, and no secret is read. The request
comes to `[listen]`, by one of its names; listeners that would do otherwise are told.
Exit code 0: the request would be sent; 1: it would be refused.")]
pub(super) struct Args {
    /// The method, such as GET
    #[arg(value_name = "METHOD")]
    method: String,
    /// The path that the tool asks the gateway for, with or without its query
    #[arg(value_name = "PATH")]
    path: String,
    /// The name of the gateway key that the tool presents [default: none]
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

/// Explains, and tells by the exit code whether the request would be sent.
pub(super) fn run(args: &Args, loaded: &Loaded, rehearsal: &Rehearsal, output: Output) -> ExitCode {
    let key = match asked(args, loaded) {
        Ok(key) => key,
        Err(misuse) => {
            print::fault(format_args!("error: {misuse}"));
            return ExitCode::from(USAGE);
        }
    };
    let told = Told::of(args, key.as_ref(), loaded, rehearsal);
    let code = if told.sent || told.answered_here { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match output {
        Output::Text => print::data(told, code),
        Output::Json => print::data(serde_json::json!(told), code),
    }
}

/// Why nothing can be said. What was given is not repeated: somebody may have given the key itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Misuse {
    #[error("PATH is a URL\nhint: leave scheme and host out: `/sales/api/v1/me/`")]
    Url,
    #[error("--key: no key has this name\nhint: {hint}")]
    UnknownKey { hint: String },
}

/// The key that is asked about, when the question makes sense.
fn asked(args: &Args, loaded: &Loaded) -> Result<Option<KeyName>, Misuse> {
    let scheme = args.path.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphabetic())) {
        return Err(Misuse::Url);
    }
    let Some(name) = &args.key else { return Ok(None) };
    let keys = &loaded.config.keys;
    if let Some(known) = KeyName::parse(name).ok().filter(|known| keys.contains_key(known)) {
        return Ok(Some(known));
    }
    let hint = suggest(name, keys.keys().map(KeyName::as_str));
    let hint = hint.unwrap_or_else(|| "none is declared: add `[keys.NAME]`, or leave `--key` out".to_owned());
    Err(Misuse::UnknownKey { hint })
}

/// An explanation with what the configuration says of the names in it; `Display` is for people, `Serialize` for programs.
#[derive(Serialize)]
struct Told {
    sent: bool,
    key: Option<String>,
    #[serde(flatten)]
    way: Option<WayTold>,
    refusal: Option<RefusalTold>,
    /// Why it would be refused if the key were not only observed.
    observed: Option<RefusalTold>,
    /// Whether the gateway itself would answer it.
    answered_here: bool,
    /// The keys that would be let through, where the request would be refused.
    keys: Vec<Alternative>,
    /// The listeners beside `[listen]` that would do otherwise.
    elsewhere: Vec<Elsewhere>,
    #[serde(skip)]
    method: String,
    #[serde(skip)]
    caller: String,
}

#[derive(Serialize)]
struct WayTold {
    route: String,
    source: Place,
    prefix: String,
    /// Whether the path begins with the prefix; if not, the route is the first of the key's.
    prefix_in_path: bool,
    credential: String,
    endpoint: Option<&'static str>,
    scope: &'static str,
    upstream: String,
    rules: RulesTold,
}

#[derive(Serialize)]
struct RulesTold {
    route: RulingTold,
    key: Option<RulingTold>,
}

#[derive(Serialize)]
struct RulingTold {
    ruling: &'static str,
    rule: Option<String>,
}

#[derive(Serialize)]
struct RefusalTold {
    status: u16,
    code: &'static str,
    error: String,
    hint: String,
}

#[derive(Serialize)]
struct Elsewhere {
    listener: String,
    sent: bool,
    status: Option<u16>,
    code: Option<&'static str>,
}

#[derive(Serialize)]
struct Alternative {
    key: String,
    route: String,
}

impl Told {
    fn of(args: &Args, key: Option<&KeyName>, loaded: &Loaded, rehearsal: &Rehearsal) -> Self {
        let Explanation { way, refusal, observed, own, .. } = rehearsal.explain(&args.method, &args.path, key);
        let keys = if refusal.is_some() { alternatives(args, loaded, rehearsal) } else { Vec::new() };
        Self {
            sent: refusal.is_none() && !own,
            key: key.map(KeyName::to_string),
            caller: caller(key, way.as_ref(), loaded),
            elsewhere: elsewhere(args, key, refusal.as_ref(), rehearsal),
            way: way.and_then(|way| WayTold::of(way, loaded)),
            refusal: refusal.map(RefusalTold::of),
            observed: observed.map(RefusalTold::of),
            answered_here: own,
            keys,
            method: args.method.clone(),
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut row = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
        row("caller", self.caller.clone());
        if let Some(way) = &self.way {
            row("route", format!("{} ({})", way.route, way.source));
            let how = if way.prefix_in_path { "" } else { " (not in the path: the first route of the key)" };
            row("prefix", format!("{}{how}", way.prefix));
            row("credential", way.credential.clone());
            row("endpoint", way.endpoint.unwrap_or("not in the catalogue").to_owned());
            let how = if way.scope == Demand::ByStatus.as_str() { SENT_BY_STATUS } else { "" };
            row("scope", format!("{}{how}", way.scope));
            row("upstream", way.upstream.clone());
            row("rules", way.rules.to_string());
        }
        if let Some(RefusalTold { status, code, error, .. }) = &self.observed {
            row("observed", format!("it would be refused, {status} {code}: {error}; the key has `mode = \"observe\"`"));
        }
        if !self.keys.is_empty() {
            let named: Vec<String> = self.keys.iter().map(|one| format!("{} (route {})", one.key, one.route)).collect();
            row("keys that may", named.join(", "));
        }
        for there in &self.elsewhere {
            let outcome = match (there.status, there.code) {
                (Some(status), Some(code)) => format!("refused: {status} {code}"),
                _ => "sent".to_owned(),
            };
            row(&format!("on listener {}", there.listener), outcome);
        }
        rows
    }
}

/// The other listeners that would do otherwise.
fn elsewhere(args: &Args, key: Option<&KeyName>, here: Option<&Refusal>, rehearsal: &Rehearsal) -> Vec<Elsewhere> {
    let here = here.map(|refusal| refusal.code);
    let all = rehearsal.explain_elsewhere(&args.method, &args.path, key);
    let told = all.map(|(listener, explanation)| Elsewhere {
        listener: listener.to_string(),
        sent: explanation.refusal.is_none(),
        status: explanation.refusal.as_ref().map(|refusal| refusal.status),
        code: explanation.refusal.map(|refusal| refusal.code),
    });
    told.filter(|there| there.code != here).collect()
}

/// The keys with which the same request would be sent.
fn alternatives(args: &Args, loaded: &Loaded, rehearsal: &Rehearsal) -> Vec<Alternative> {
    let with = |key: &KeyName| {
        let Explanation { way, refusal, .. } = rehearsal.explain(&args.method, &args.path, Some(key));
        let way = way.filter(|_| refusal.is_none())?;
        Some(Alternative { key: key.to_string(), route: way.route.to_string() })
    };
    loaded.config.keys.keys().filter_map(with).collect()
}

/// Who asks, for people.
fn caller(key: Option<&KeyName>, way: Option<&Way>, loaded: &Loaded) -> String {
    let Some(name) = key else {
        let access = way.map(|way| route::access(way.openness));
        return access.map_or_else(|| "no key".to_owned(), |access| format!("no key ({access})"));
    };
    let place = loaded.place(&format!("keys.{name}"));
    match loaded.config.keys.get(name).and_then(|key| key.expires) {
        Some(at) if at <= Timestamp::now() => format!("key {name}, expired {at} ({place})"),
        Some(at) => format!("key {name}, expires {at} ({place})"),
        None => format!("key {name} ({place})"),
    }
}

impl WayTold {
    fn of(way: Way, loaded: &Loaded) -> Option<Self> {
        let route = loaded.config.routes.get(&way.route)?;
        let rules = RulesTold { route: RulingTold::of(way.by_route), key: way.by_key.map(RulingTold::of) };
        Some(Self {
            source: loaded.place(&format!("routes.{}", way.route)),
            route: way.route.to_string(),
            prefix: route.prefix.as_str().to_owned(),
            prefix_in_path: way.entry == Entry::Prefix,
            credential: route.credential.to_string(),
            endpoint: way.endpoint,
            scope: way.demand.as_str(),
            upstream: way.upstream,
            rules,
        })
    }
}

impl RulingTold {
    fn of(ruling: Ruling<Rule>) -> Self {
        let (ruling, rule) = match ruling {
            Ruling::Denied(rule) => ("denied", Some(rule)),
            Ruling::Unlisted => ("unlisted", None),
            Ruling::Allowed(rule) => ("allowed", Some(rule)),
            Ruling::Unruled => ("unruled", None),
        };
        Self { ruling, rule: rule.map(|rule| rule.to_string()) }
    }
}

impl RefusalTold {
    fn of(refusal: Refusal) -> Self {
        let Refusal { status, code, error, hint } = refusal;
        Self { status, code, error, hint }
    }
}

/// What is said of an operation that the body decides about.
const SENT_BY_STATUS: &str = " (`send` where the body's `status` is `outbox` or `scheduled`, or cannot be read)";

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.refusal, &self.way) {
            (Some(RefusalTold { status, code, error, hint }), _) => {
                writeln!(f, "refused: {status} {code}: {error}\nhint: {hint}")?;
            }
            (None, Some(way)) => writeln!(f, "sent: {} {}", self.method, way.upstream)?,
            (None, None) => writeln!(f, "answered: the gateway itself tells what the key may do")?,
        }
        table::columns(f, "  ", &self.rows())
    }
}

impl fmt::Display for RulesTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route: {}", self.route)?;
        self.key.as_ref().map_or(Ok(()), |key| write!(f, "; key: {key}"))
    }
}

impl fmt::Display for RulingTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ruling, &self.rule) {
            (ruling, Some(rule)) => write!(f, "{ruling} by `{rule}`"),
            ("unlisted", None) => f.write_str("covered by no `allow`"),
            (_, None) => f.write_str("no rule against it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Sources, load_names};

    const FILE: &str = r#"
[credentials.sales]
api_key = { env = "NEVER_SET" }

[credentials.partner]
bearer = { file = "absent" }

[routes.sales]
deny = ["* /api/v1/export/**"]

[keys.portal]
secret = { env = "NEVER_SET" }
routes = ["partner", "sales"]

[keys.reporting]
hash = "sha256:28b1a1d4375bf360583d06d12b21b1340dc42f8fa2cc25c16b311f646b51692e"
routes = ["sales"]
allow = ["GET,HEAD /api/v1/**"]

[keys.old]
secret = { env = "NEVER_SET" }
routes = ["sales"]
expires = 2020-01-01T00:00:00Z
"#;

    fn loaded() -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("closegate.toml"), FILE).unwrap();
        let environment = Environment::default();
        load_names(&Sources { file: None, environment, folder: folder.path().to_owned() }).unwrap()
    }

    fn told(method: &str, path: &str, key: &str) -> Told {
        let loaded = loaded();
        let rehearsal = Rehearsal::of(&loaded.config).unwrap();
        let args = Args { method: method.to_owned(), path: path.to_owned(), key: None };
        Told::of(&args, KeyName::parse(key).ok().as_ref(), &loaded, &rehearsal)
    }

    #[test]
    fn a_request_that_would_be_sent_reads_like_this() {
        let text = told("GET", "/sales/api/v1/lead/?_limit=2", "reporting").to_string();
        let expected = "\
sent: GET https://api.close.com/api/v1/lead/?_limit=2
  caller      key reporting (closegate.toml:15)
  route       sales (closegate.toml:8)
  prefix      /sales
  credential  sales
  endpoint    /api/v1/lead/
  scope       read
  upstream    https://api.close.com/api/v1/lead/?_limit=2
  rules       route: no rule against it; key: allowed by `GET,HEAD /api/v1/**`
";
        assert_eq!(text, expected);
        let first = told("GET", "/api/v1/me/", "portal").to_string();
        assert!(first.contains("/partner (not in the path: the first route of the key)"), "{first}");
    }

    #[test]
    fn a_refusal_says_why_and_who_may() {
        let missing = told("GET", "/sales/api/v1/me/", "").to_string();
        for line in ["refused: 401 key_missing: ", "\nhint: ", "caller         no key\n"] {
            assert!(missing.contains(line), "{line}: {missing}");
        }
        assert!(missing.ends_with("  keys that may  portal (route sales), reporting (route sales)\n"), "{missing}");
        let expired = told("GET", "/sales/api/v1/me/", "old").to_string();
        assert!(expired.contains("401 key_invalid") && expired.contains("key old, expired 2020-01-01"), "{expired}");
        let denied = told("GET", "/sales/api/v1/export/", "reporting").to_string();
        assert!(denied.contains("route: denied by `* /api/v1/export/**`; key: allowed by"), "{denied}");
        let unlisted = told("POST", "/sales/api/v1/lead/", "reporting").to_string();
        assert!(unlisted.contains("key: covered by no `allow`"), "{unlisted}");
        assert!(!told("GET", "/sales/../x", "").to_string().contains("keys that may"));
    }

    #[test]
    fn scripts_get_the_same() {
        let json = serde_json::json!(told("POST", "/sales/api/v1/lead/", "reporting"));
        assert_eq!(
            (&json["sent"], &json["route"], &json["prefix_in_path"]),
            (&false.into(), &"sales".into(), &true.into())
        );
        assert_eq!((&json["refusal"]["status"], &json["refusal"]["code"]), (&403.into(), &"path_denied".into()));
        assert_eq!(json["rules"]["key"], serde_json::json!({ "ruling": "unlisted", "rule": null }));
        assert_eq!(json["keys"], serde_json::json!([{ "key": "portal", "route": "sales" }]));
        let sent = serde_json::json!(told("GET", "/sales/x", "portal"));
        assert_eq!((&sent["refusal"], &sent["endpoint"]), (&serde_json::Value::Null, &serde_json::Value::Null));
        assert_eq!(sent["upstream"], "https://api.close.com/x");
    }

    #[test]
    fn a_name_that_is_none_gets_the_nearest_and_a_key_is_not_repeated() {
        let loaded = loaded();
        let ask = |path: &str, key: Option<&str>| {
            let args = Args { method: "GET".to_owned(), path: path.to_owned(), key: key.map(str::to_owned) };
            asked(&args, &loaded).map_err(|misuse| misuse.to_string())
        };
        for name in ["reportin", "Reporting"] {
            let near = "--key: no key has this name\nhint: did you mean `reporting`?";
            assert_eq!(ask("/", Some(name)), Err(near.to_owned()));
        }
        for text in ["cgk_0123abcd_secret", "sixteen-or-more-letters"] {
            let fault = ask("/", Some(text)).unwrap_err();
            assert!(!fault.contains(text) && fault.contains("known here: `old`, `portal`, `reporting`"), "{fault}");
        }
        assert_eq!(ask("/sales?to=https://x", None), Ok(None));
        assert!(ask("https://localhost/sales", None).is_err());
    }
}
