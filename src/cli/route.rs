//! `closegate route`: the routes of a configuration, and what becomes of a request; without the secrets.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use super::credential::Removed;
use super::{Needs, Output, desk, explain, print, refuse, table, told};
use crate::admin::Kind;
use crate::admin::model::{NewRoute, RouteView};
use crate::app::{Rehearsal, Together};
use crate::config::{Loaded, Place, Route};
use crate::id::RouteName;
use crate::proxy::Openness;
use crate::rule::Rules;
use crate::vault::Warning;

/// What is asked about routes.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a route to the store
    #[command(after_help = ADD)]
    Add(Add),
    /// Remove a route from the store
    Remove(Name),
    /// List the routes with their prefixes, credentials, upstreams and rules, and where they are declared
    List,
    /// Say which route, credential and upstream URL a request would get, or why it would be refused
    Explain(explain::Args),
}

impl Command {
    /// How much of the configuration it cannot do without.
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::Remove(_) => Needs::Bearings,
            Self::Add(_) | Self::List | Self::Explain(_) => Needs::Names,
        }
    }
}

/// A route to add; what is left out is as in the configuration file.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: RouteName,
    /// Stripped from the path [default: "/" and the name]
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// As whom requests are sent [default: the credential of the route's name]
    #[arg(long, value_name = "CREDENTIAL")]
    credential: Option<String>,
    /// Where they are sent [default: `upstream.url`]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// What may be asked; with any, the rest is refused: 'METHOD[,METHOD] PATTERN'
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// What may not be asked
    #[arg(long, value_name = "RULE")]
    deny: Vec<String>,
    /// Callers on loopback and Unix sockets need no key
    #[arg(long)]
    anonymous: bool,
}

/// The name of a route.
#[derive(Debug, clap::Args)]
pub(super) struct Name {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: RouteName,
}

const ADD: &str = "Examples:
  closegate route add sales-read --credential sales --allow 'GET,HEAD /api/v1/**'";

fn parse_name(text: &str) -> Result<RouteName, String> {
    RouteName::parse(text).map_err(|fault| fault.to_string())
}

impl Add {
    fn route(&self) -> NewRoute {
        NewRoute {
            name: self.name.to_string(),
            prefix: self.prefix.clone(),
            credential: self.credential.clone(),
            upstream: self.upstream.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            anonymous: self.anonymous,
        }
    }
}

/// A route that was added.
#[derive(Serialize)]
#[serde(transparent)]
struct Added(RouteView);

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RouteView { name, prefix, credential, upstream, .. } = &self.0;
        write!(f, "the route `{name}` sends `{prefix}` to {upstream} with the credential `{credential}`")
    }
}

/// Adds and removes in the gateway that runs, else on the store; the rest is answered from the configuration alone, and no
/// secret is read.
pub(super) fn run(command: &Command, loaded: &Loaded, output: Output) -> ExitCode {
    match command {
        Command::Add(add) => {
            let added = desk::ask(loaded, async |desk, by| desk.add_route(add.route(), by).await);
            return desk::respond(added.map(Added), output);
        }
        Command::Remove(Name { name }) => {
            let removed = desk::ask(loaded, async |desk, by| desk.remove_route(name, None, by).await);
            return desk::respond(removed.map(|()| Removed { removed: name.to_string(), kind: Kind::Route }), output);
        }
        Command::List | Command::Explain(_) => {}
    }
    let seen = Together::of(loaded).and_then(|together| Ok((Rehearsal::together(&together)?, together)));
    let (rehearsal, Together { loaded, doubt, .. }) = match seen {
        Ok(seen) => seen,
        Err(faults) => return refuse(&told(loaded, faults), output),
    };
    if let Some(Warning { what, hint, .. }) = doubt {
        print::fault(format_args!("warning: {what}\n  hint: {hint}"));
    }
    match command {
        Command::List => list(&Listing::of(&loaded, &rehearsal), output),
        Command::Explain(args) => explain::run(args, &loaded, &rehearsal, output),
        // Those have been answered.
        Command::Add(_) | Command::Remove(_) => ExitCode::SUCCESS,
    }
}

/// Who may use a route, in the words of `check` and `route`.
pub(super) fn access(openness: Openness) -> &'static str {
    match openness {
        Openness::Open => "open",
        Openness::Guarded => "needs a key",
        Openness::Unguarded => "open: no key is defined",
        Openness::Closed => "closed: no key is defined",
    }
}

/// How many rules there are, in words.
pub(super) fn rules(rules: &Rules) -> String {
    match (rules.allow.len(), rules.deny.len()) {
        (0, 0) => "no rules".to_owned(),
        (allow, deny) => format!("{allow} allow, {deny} deny"),
    }
}

/// All routes; `Display` is for people, `Serialize` for programs.
#[derive(Serialize)]
#[serde(transparent)]
struct Listing(Vec<Row>);

#[derive(Serialize)]
struct Row {
    name: String,
    prefix: String,
    credential: String,
    upstream: String,
    allow: Vec<String>,
    deny: Vec<String>,
    access: &'static str,
    /// Whether it is its credential's by default, and declared nowhere itself.
    default: bool,
    source: Place,
    #[serde(skip)]
    rules: String,
}

fn list(listing: &Listing, output: Output) -> ExitCode {
    match output {
        Output::Text if listing.0.is_empty() => {
            print::data("no routes: set `CLOSE_API_KEY`, or add `[credentials.NAME]`", ExitCode::SUCCESS)
        }
        Output::Text => print::data(listing, ExitCode::SUCCESS),
        Output::Json => print::data(serde_json::json!(listing), ExitCode::SUCCESS),
    }
}

impl Listing {
    fn of(loaded: &Loaded, rehearsal: &Rehearsal) -> Self {
        let row = |(name, route)| Some(Row::of(loaded, name, route, rehearsal.openness(name)?));
        Self(loaded.config.routes.iter().filter_map(row).collect())
    }
}

impl Row {
    fn of(loaded: &Loaded, name: &RouteName, route: &Route, openness: Openness) -> Self {
        Self {
            name: name.to_string(),
            prefix: route.prefix.as_str().to_owned(),
            credential: route.credential.to_string(),
            upstream: route.upstream.to_string(),
            allow: route.rules.allow.iter().map(ToString::to_string).collect(),
            deny: route.rules.deny.iter().map(ToString::to_string).collect(),
            access: access(openness),
            default: loaded.is_default_route(name),
            source: loaded.place(&format!("routes.{name}")),
            rules: rules(&route.rules),
        }
    }

    fn cells(&self) -> Vec<String> {
        let Self { name, prefix, credential, upstream, rules, source, .. } = self;
        let source = if self.default {
            format!("{source} (default route of credential {credential})")
        } else {
            source.to_string()
        };
        [name, prefix, credential, upstream, rules, self.access, &source].map(str::to_owned).into()
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["NAME", "PREFIX", "CREDENTIAL", "UPSTREAM", "RULES", "ACCESS", "DECLARED"];
        let rows = [header.map(str::to_owned).into()].into_iter().chain(self.0.iter().map(Row::cells));
        table::columns(f, "", &rows.collect::<Vec<_>>())
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

[routes.portal]
credential = "partner"
anonymous = true
deny = ["* /api/v1/export/**"]

[keys.reporting]
secret = { file = "absent" }
routes = ["sales"]
"#;

    fn listing(text: &str) -> Listing {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("closegate.toml"), text).unwrap();
        let environment = Environment::default();
        let loaded = load_names(&Sources { file: None, environment, folder: folder.path().to_owned() }).unwrap();
        Listing::of(&loaded, &Rehearsal::of(&loaded.config).unwrap())
    }

    #[test]
    fn routes_stand_in_columns_with_where_they_are_declared() {
        let text = listing(FILE).to_string();
        let expected = "\
NAME    PREFIX   CREDENTIAL  UPSTREAM               RULES            ACCESS       DECLARED
portal  /portal  partner     https://api.close.com  0 allow, 1 deny  open         closegate.toml:8
sales   /sales   sales       https://api.close.com  no rules         needs a key  closegate.toml:2 (default route of credential sales)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn scripts_get_a_list_of_objects() {
        let json = serde_json::json!(listing(FILE));
        assert_eq!(json[0]["deny"][0], "* /api/v1/export/**");
        assert_eq!(
            json[1],
            serde_json::json!({
                "name": "sales", "prefix": "/sales", "credential": "sales", "upstream": "https://api.close.com",
                "allow": [], "deny": [], "access": "needs a key", "default": true, "source": "closegate.toml:2",
            })
        );
        assert_eq!(serde_json::json!(listing("")), serde_json::json!([]));
    }
}
