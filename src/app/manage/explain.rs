//! Why requests are refused: those that were, one by one, and what would become of one, by the gateway's own steps.

use jiff::Timestamp;

use super::Manager;
use super::ground::Ground;
use crate::admin::Refusal;
use crate::admin::model::{ExplainQuery, Explained, Objection, RefusalQuery, RefusalView, RulingView, Sieve, WayView};
use crate::app::Rehearsal;
use crate::config::Config;
use crate::id::KeyName;
use crate::proxy::{self, Entry, Explanation, Way};
use crate::rule::{Rule, Ruling};
use crate::telemetry::{Client, Refused};

impl Manager {
    pub(super) fn list_refusals(&self, query: &RefusalQuery) -> Vec<RefusalView> {
        let Ground::Running { telemetry, .. } = &self.ground else { return Vec::new() };
        let wanted = |refused: &Refused| {
            query.key.as_deref().is_none_or(|key| refused.key.as_deref() == Some(key))
                && query.code.as_deref().is_none_or(|code| refused.code == code)
        };
        let refusals = telemetry.refusals().into_iter().filter(wanted);
        refusals.take(query.limit.unwrap_or(USUAL)).map(RefusalView::of).collect()
    }

    pub(super) async fn rehearse(&self, query: ExplainQuery) -> Result<Explained, Refusal> {
        let effective = self.effective().await?;
        let config = &effective.loaded.config;
        let ExplainQuery { method, path, key } = query;
        let name = key.as_deref().map(|name| known(config, name)).transpose()?;
        if path.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphabetic())) {
            return Err(Refusal::field("path", "is a URL", "leave scheme and host out: `/sales/api/v1/me/`"));
        }
        let rehearsal = Rehearsal::of(config).map_err(|_| Refusal::internal())?;
        let Explanation { way, refusal, observed, own, .. } = rehearsal.explain(&method, &path, name.as_ref());
        let passes = |key: &&KeyName| rehearsal.explain(&method, &path, Some(key)).refusal.is_none();
        let others = config.keys.keys().filter(|_| refusal.is_some()).filter(passes);
        Ok(Explained {
            sent: refusal.is_none() && !own,
            answered_here: own,
            keys: others.take(NAMED).map(KeyName::to_string).collect(),
            refusal: refusal.map(Objection::of),
            observed: observed.map(Objection::of),
            way: way.and_then(|way| WayView::of(way, config)),
        })
    }
}

/// The key of that name. What was given is not repeated: somebody may have given the key itself.
fn known(config: &Config, name: &str) -> Result<KeyName, Refusal> {
    let known = KeyName::parse(name).ok().filter(|name| config.keys.contains_key(name));
    known.ok_or_else(|| Refusal::field("key", "no key has this name", "the name of a key, not its text"))
}

impl RefusalView {
    fn of(refused: Refused) -> Self {
        let Refused { at, request_id, client, key, route, method, path, endpoint, scope, status, code, user_agent } =
            refused;
        let milliseconds = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        Self {
            at: Timestamp::from_millisecond(milliseconds).unwrap_or_default(),
            request_id,
            key: key.map(|key| key.to_string()),
            route: route.map(|route| route.to_string()),
            method: method.to_owned(),
            path,
            endpoint: endpoint.map(str::to_owned),
            scope: scope.map(str::to_owned),
            status,
            code: code.to_owned(),
            from: origin(client),
            user_agent,
        }
    }
}

fn origin(client: Client) -> String {
    match client {
        Client::Address(address) => address.to_canonical().to_string(),
        Client::Unix(None) => "unix".to_owned(),
        Client::Unix(Some(uid)) => format!("unix:{uid}"),
    }
}

impl Objection {
    fn of(refusal: proxy::Refusal) -> Self {
        let proxy::Refusal { status, code, error, hint } = refusal;
        Self { status, code: code.to_owned(), error, hint }
    }
}

impl WayView {
    fn of(way: Way, config: &Config) -> Option<Self> {
        let credential = config.routes.get(&way.route)?.credential.to_string();
        Some(Self {
            route: way.route.to_string(),
            prefix_in_path: way.entry == Entry::Prefix,
            credential,
            endpoint: way.endpoint.map(str::to_owned),
            scope: way.demand.as_str().to_owned(),
            upstream: way.upstream,
            by_route: RulingView::of(way.by_route),
            by_key: way.by_key.map(RulingView::of),
        })
    }
}

impl RulingView {
    fn of(ruling: Ruling<Rule>) -> Self {
        let (ruling, rule) = match ruling {
            Ruling::Denied(rule) => (Sieve::Denied, Some(rule)),
            Ruling::Unlisted => (Sieve::Unlisted, None),
            Ruling::Allowed(rule) => (Sieve::Allowed, Some(rule)),
            Ruling::Unruled => (Sieve::Unruled, None),
        };
        Self { ruling, rule: rule.map(|rule| rule.to_string()) }
    }
}

const USUAL: usize = 100;
/// So many keys are named that would pass.
const NAMED: usize = 20;
