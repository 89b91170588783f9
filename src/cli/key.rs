//! `closegate key`: gateway keys that lie in the store, made and ended while the gateway runs.

use std::fmt;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use super::credential::Removed;
use super::{Needs, Output, desk, table};
use crate::admin::model::{CreatedKey, KeyRotation, KeyState, KeyView, Mode, NewKey, Scope, Suggestion};
use crate::admin::{Kind, Refusal};
use crate::config::{self, Loaded};
use crate::id::{KeyName, RouteName};

/// What is done with gateway keys.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key; its text is printed this once
    #[command(after_help = CREATE)]
    Create(Create),
    /// List the keys, those of the configuration among them
    List,
    /// Show a key, without its text
    Show(Name),
    /// End a key: it is refused at once, and stays listed
    Revoke(Name),
    /// Give a key another text, which is printed this once
    Rotate(Rotate),
    /// Print the least scopes and rules that cover what a key really used
    #[command(after_help = SUGGEST)]
    Suggest(Name),
    /// Remove a key: it is refused, and its name is free
    Remove(Name),
}

impl Command {
    /// How much of the configuration it cannot do without.
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::List | Self::Show(_) | Self::Revoke(_) | Self::Remove(_) | Self::Suggest(_) => Needs::Bearings,
            Self::Create(_) | Self::Rotate(_) => Needs::Names,
        }
    }
}

/// The name of a key.
#[derive(Debug, clap::Args)]
pub(super) struct Name {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: KeyName,
}

/// A key to make.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: KeyName,
    /// A route that it may use; calls without a prefix go to the first
    #[arg(long = "route", value_name = "ROUTE", required = true, value_parser = parse_route)]
    routes: Vec<RouteName>,
    /// What it may do: read, write, delete, send, export, admin, or '*' for all of them
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = parse_scope)]
    scopes: Vec<Scope>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What it may ask; with any, the rest is refused: 'METHOD[,METHOD] PATTERN'
    #[arg(long, value_name = "RULE")]
    allow: Vec<String>,
    /// What it may not ask
    #[arg(long, value_name = "RULE")]
    deny: Vec<String>,
    /// How many requests, such as 20/s
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<String>,
    /// How many requests at one moment before the rate holds
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// How many requests in flight at once
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// How many requests a day; a day begins at 00:00 UTC
    #[arg(long, value_name = "N")]
    daily_quota: Option<u32>,
    /// When it ends: a time from now, such as 90d, or a moment, such as 2027-06-30T00:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = parse_end)]
    expires: Option<Timestamp>,
    /// Record what its scopes and rules do not allow, and let it pass
    #[arg(long)]
    observe: bool,
}

/// A key that gets another text.
#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: KeyName,
    /// How long the text before goes on [default: 24h]
    #[arg(long, value_name = "TIME")]
    overlap: Option<String>,
}

const CREATE: &str = "Examples:
  closegate key create reporting --route sales --scope read --rate 20/s --expires 90d
  closegate key create sync --route sales --scope read,write,delete";

const SUGGEST: &str = "Examples:
  closegate key suggest reporting
  closegate key suggest reporting --output json

It goes by the usage of up to 90 days; what was refused does not count. Of paths that Close does not
document only the number is kept, so that no rule covers them: it is told, and the access records say
which they were. The lines can stand in the configuration file; with `key create` they are `--scope`
and `--allow`.";

fn parse_name(text: &str) -> Result<KeyName, String> {
    KeyName::parse(text).map_err(|fault| fault.to_string())
}

fn parse_route(text: &str) -> Result<RouteName, String> {
    RouteName::parse(text).map_err(|fault| fault.to_string())
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    serde_json::from_value(text.into()).map_err(|_| "read, write, delete, send, export, admin, or '*'".to_owned())
}

fn parse_rate(text: &str) -> Result<String, String> {
    let rate = config::Rate::parse(text, None).map(|_| text.to_owned());
    rate.ok_or_else(|| "20/s, 600/m or 5000/h".to_owned())
}

fn parse_end(text: &str) -> Result<Timestamp, String> {
    let from_now = config::duration(text).and_then(|time| Timestamp::now().checked_add(time).ok());
    from_now.or_else(|| text.parse().ok()).ok_or_else(|| "90d, or 2027-06-30T00:00:00Z".to_owned())
}

/// Does it in the gateway that runs, else on the store.
pub(super) fn run(command: &Command, loaded: &Loaded, output: Output) -> ExitCode {
    let card = |outcome: Result<KeyView, Refusal>| desk::respond(outcome.map(Card), output);
    match command {
        Command::Create(create) => {
            let created = desk::ask(loaded, async |desk, by| desk.create_key(create.key(), by).await);
            desk::respond(created.map(Shown), output)
        }
        Command::List => desk::respond(desk::look(loaded, async |desk| desk.keys().await).map(Listing), output),
        Command::Show(Name { name }) => card(desk::look(loaded, async |desk| desk.key(name).await)),
        Command::Revoke(Name { name }) => card(desk::ask(loaded, async |desk, by| desk.revoke_key(name, by).await)),
        Command::Rotate(Rotate { name, overlap }) => {
            let to = KeyRotation { overlap: overlap.clone() };
            let rotated = desk::ask(loaded, async |desk, by| desk.rotate_key(name, to, None, by).await);
            desk::respond(rotated.map(Shown), output)
        }
        Command::Suggest(Name { name }) => {
            let suggestion = desk::look(loaded, async |desk| desk.suggestion(name).await);
            desk::respond(suggestion.map(Advice), output)
        }
        Command::Remove(Name { name }) => {
            let removed = desk::ask(loaded, async |desk, by| desk.remove_key(name, None, by).await);
            desk::respond(removed.map(|()| Removed { removed: name.to_string(), kind: Kind::Key }), output)
        }
    }
}

impl Create {
    fn key(&self) -> NewKey {
        NewKey {
            name: self.name.to_string(),
            description: self.description.clone(),
            routes: self.routes.iter().map(ToString::to_string).collect(),
            scopes: self.scopes.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            rate: self.rate.clone(),
            burst: self.burst,
            concurrency: self.concurrency,
            daily_quota: self.daily_quota,
            expires_at: self.expires,
            mode: if self.observe { Mode::Observe } else { Mode::Enforce },
        }
    }
}

/// A key with its text: the text alone on stdout's last line, so that a script can take it.
#[derive(Serialize)]
#[serde(transparent)]
struct Shown(CreatedKey);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CreatedKey { key, text, closed_routes } = &self.0;
        if !closed_routes.is_empty() {
            writeln!(
                f,
                "These routes were open while no key was defined, and need one now: {}",
                closed_routes.join(", ")
            )?;
        }
        writeln!(f, "The key `{}`, shown this once:", key.name)?;
        f.write_str(text.reveal())
    }
}

/// What a key would need at least, as lines of the configuration file.
#[derive(Serialize)]
#[serde(transparent)]
struct Advice(Suggestion);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Suggestion { key, since, scopes, allow, used, notes, .. } = &self.0;
        let requests: u64 = used.iter().map(|operation| operation.requests).sum();
        writeln!(f, "# what `{key}` used since {since}: {requests} requests of {} operations", used.len())?;
        for note in notes {
            writeln!(f, "# {note}")?;
        }
        if !used.is_empty() {
            let texts = |texts: Vec<String>| texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>();
            writeln!(f, "scopes = [{}]", texts(scopes.iter().map(word).collect()).join(", "))?;
            writeln!(f, "allow = [")?;
            texts(allow.clone()).iter().try_for_each(|rule| writeln!(f, "    {rule},"))?;
            writeln!(f, "]")?;
        }
        Ok(())
    }
}

/// All keys.
#[derive(Serialize)]
#[serde(transparent)]
struct Listing(Vec<KeyView>);

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no keys: `closegate key create NAME --route ROUTE --scope SCOPE`");
        }
        let header = ["NAME", "ID", "STATE", "ROUTES", "SCOPES", "EXPIRES", "LAST USED", "DECLARED"];
        let cells = |view: &KeyView| {
            let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
            vec![
                view.name.clone(),
                view.id.clone().unwrap_or_else(|| "-".to_owned()),
                state(view.state).to_owned(),
                view.routes.join(", "),
                scopes(view),
                time(view.expires_at),
                time(view.last_used_at),
                view.source.to_string(),
            ]
        };
        let rows = [header.map(str::to_owned).into()].into_iter().chain(self.0.iter().map(cells));
        table::columns(f, "", &rows.collect::<Vec<_>>())
    }
}

/// One key.
#[derive(Serialize)]
#[serde(transparent)]
struct Card(KeyView);

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.0;
        let list = |list: &[String]| (!list.is_empty()).then(|| list.join("; "));
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let rows = [
            ("name", Some(view.name.clone())),
            ("id", view.id.clone()),
            ("description", view.description.clone()),
            ("state", Some(state(view.state).to_owned())),
            ("routes", list(&view.routes)),
            ("scopes", Some(scopes(view))),
            ("allow", list(&view.allow)),
            ("deny", list(&view.deny)),
            ("rate", view.rate.clone()),
            ("burst", number(view.burst)),
            ("concurrency", number(view.concurrency)),
            ("daily quota", number(view.daily_quota)),
            ("expires", time(view.expires_at)),
            ("mode", (view.mode == Mode::Observe).then(|| "observe".to_owned())),
            ("declared", Some(view.source.to_string())),
            ("created", time(view.created_at)),
            ("updated", time(view.updated_at)),
            ("last used", time(view.last_used_at)),
        ];
        let rows = rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
        table::columns(f, "", &rows.collect::<Vec<_>>())
    }
}

fn word(scope: &Scope) -> String {
    serde_json::json!(scope).as_str().unwrap_or_default().to_owned()
}

fn scopes(view: &KeyView) -> String {
    match &view.scopes {
        Some(scopes) => scopes.iter().map(word).collect::<Vec<_>>().join(", "),
        None => "what its routes allow".to_owned(),
    }
}

fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Expired => "expired",
        KeyState::Revoked => "revoked",
    }
}
