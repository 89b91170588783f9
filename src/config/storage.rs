//! `data_dir` and `[store]`: where what is added at run time lies, and where its master key comes from.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::defaults::DATA_DIR;
use super::finding::Wrong;
use super::kinds;
use super::place::Place;
use super::raw::Node;
use super::walk::{Folders, Section, Walk};
use super::{SecretRef, secret};

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Where it lies.
    pub url: StoreUrl,
    /// The master key that its secrets are sealed under; without one it is a file beside the store.
    pub master_key: Option<SecretRef>,
    /// With a lost database: how long managed keys go on working from memory.
    pub max_stale: Duration,
}

/// Where a store lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// An SQLite file, by its path.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresUrl),
    /// The memory of the process.
    Memory,
}

/// The URL of a PostgreSQL database. It may hold a password, so it prints without one.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

/// The parts of such a URL.
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    password: Option<&'a str>,
    /// Host, port and database.
    place: &'a str,
    query: &'a str,
}

impl Store {
    /// The store of a folder, with all defaults.
    pub(super) fn of(data_dir: &Path) -> Self {
        let url = StoreUrl::Sqlite(data_dir.join("closegate.db"));
        Self { url, master_key: None, max_stale: Duration::from_secs(3600) }
    }
}

impl PostgresUrl {
    /// The URL, for who connects: it may hold a password, and goes into no text.
    pub fn whole(&self) -> &str {
        &self.0
    }

    /// Whether a password stands in it.
    pub(super) fn has_password(&self) -> bool {
        let Parts { password, query, .. } = self.parts();
        password.is_some() || query.contains("password=")
    }

    /// Whether the server's certificate is verified, or the connection never leaves the machine.
    pub(super) fn is_guarded(&self) -> bool {
        let Parts { place, query, .. } = self.parts();
        let host = place.split('/').next().unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.contains(']') { host } else { name });
        let local = matches!(name, "" | "localhost" | "[::1]") || name.starts_with("127.") || name.starts_with("%2F");
        local || query.contains("host=/") || query.contains("sslmode=verify-")
    }

    fn parts(&self) -> Parts<'_> {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgres", &self.0));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let end = rest.find('/').unwrap_or(rest.len());
        let (user, place) = match rest[..end].rfind('@') {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let (user, password) = match user.and_then(|user| user.split_once(':')) {
            Some((user, password)) => (Some(user), Some(password)),
            None => (user, None),
        };
        Parts { scheme, user, password, place, query }
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { scheme, user, password, place, query } = self.parts();
        write!(f, "{scheme}://")?;
        if let Some(user) = user {
            write!(f, "{user}{}@", if password.is_some() { ":***" } else { "" })?;
        }
        write!(f, "{place}{}", if query.is_empty() { "" } else { "?***" })
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => fmt::Display::fmt(url, f),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

/// The folder that data lies in: as it is said, else what systemd gives, else that of the user's state.
pub(super) fn data_dir(root: &mut Section<'_>, walk: &mut Walk) -> PathBuf {
    let folders = walk.folders();
    let said = root.optional(walk, "data_dir", kinds::path(folders));
    // Systemd names several with colons between them.
    let first = |list: PathBuf| list.to_str().and_then(|list| list.split(':').next()).map(PathBuf::from);
    let of_unit = || Some(("STATE_DIRECTORY", walk.path("STATE_DIRECTORY").and_then(first)?));
    let of_user = || Some(("XDG_STATE_HOME", walk.path("XDG_STATE_HOME")?.join("closegate")));
    let absolute = |found: &(&str, PathBuf)| found.1.is_absolute();
    let found = of_unit().filter(absolute).or_else(|| of_user().filter(absolute));
    match (said, found) {
        (Some(said), _) => said,
        (None, Some((variable, folder))) => {
            walk.note("data_dir".to_owned(), Place::Variable(variable.to_owned()));
            folder
        }
        (None, None) => PathBuf::from(DATA_DIR),
    }
}

/// `[store]`.
pub(super) fn store(mut at: Section<'_>, walk: &mut Walk, data_dir: &Path) -> Store {
    let known = Store::of(data_dir);
    let folders = walk.folders();
    let node = at.node(walk, "url");
    let url = at.or(walk, "url", known.url, url(folders));
    let master_key = at.node(walk, "master_key").and_then(|node| secret::reference(walk, at.key("master_key"), node));
    let max_stale = at.or(walk, "max_stale", known.max_stale, kinds::duration(STALE));
    if let (StoreUrl::Postgres(_), 0) = (&url, at.count(&["master_key"])) {
        let what = "missing: a store that replicas share has no file beside it";
        let hint =
            "`master_key = { file = \"PATH\" }`, the same for every replica; `openssl rand -base64 32` makes one";
        walk.fault(at.key("master_key"), at.place().clone(), Wrong::new(what, hint));
    }
    if let (StoreUrl::Postgres(url), Some(node)) = (&url, node) {
        doubt(walk, &at.key("url"), node, url);
    }
    at.close(walk);
    Store { url, master_key, max_stale }
}

fn doubt(walk: &mut Walk, key: &str, node: &Node, url: &PostgresUrl) {
    if url.has_password() {
        let hint = "leave it out, and set `PGPASSWORD`, or `PGPASSFILE` to a file of PostgreSQL's passwords";
        walk.warn(key, node.place.clone(), Wrong::new("a password in the configuration", hint));
    }
    if !url.is_guarded() {
        let hint = "add `?sslmode=verify-full`, with `sslrootcert=PATH` where its authority is your own";
        let what = "the certificate of the database is not verified: somebody between could answer in its place";
        walk.warn(key, node.place.clone(), Wrong::new(what, hint));
    }
}

/// `sqlite:PATH`, `postgres://…` or `memory:`; nothing of what stands there is repeated.
fn url(folders: Folders) -> impl FnOnce(&Node) -> Result<StoreUrl, Wrong> {
    move |node| {
        let text = kinds::text(node)?;
        let hint = "`\"sqlite:PATH\"`, `\"postgres://USER@HOST/DATABASE\"` or `\"memory:\"`";
        let wrong = || Wrong::new("expected where the store lies", hint);
        if text == "memory:" {
            return Ok(StoreUrl::Memory);
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let odd = path.is_empty() || path.contains(['?', '#']) || path.starts_with(':');
            return if odd { Err(wrong()) } else { Ok(StoreUrl::Sqlite(folders.absolute(path, &node.place))) };
        }
        let shared = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if !shared || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err(wrong());
        }
        let url = PostgresUrl(text);
        let known = |pair: &str| PARAMETERS.iter().any(|name| pair.split('=').next() == Some(name));
        let query = url.parts().query;
        if !query.is_empty() && !query.split('&').all(known) {
            let hint = format!("known are {}", PARAMETERS.join(", "));
            return Err(Wrong::new("a parameter of the database's URL is not known", hint));
        }
        Ok(StoreUrl::Postgres(url))
    }
}

const STALE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(30 * 86_400);
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_prints_without_what_could_be_a_secret() {
        for (url, shown, password, guarded) in [
            ("postgres://gate@db.example.com/closegate", "postgres://gate@db.example.com/closegate", false, false),
            ("postgres://gate:planted@db/c?sslmode=verify-full", "postgres://gate:***@db/c?***", true, true),
            ("postgresql://gate:pl@nted:x@127.0.0.1:5432/c", "postgresql://gate:***@127.0.0.1:5432/c", true, true),
            ("postgres://db?password=planted", "postgres://db?***", true, false),
            ("postgres://%2Frun%2Fpostgresql/c", "postgres://%2Frun%2Fpostgresql/c", false, true),
            ("postgres:///c?host=/run/postgresql", "postgres:///c?***", false, true),
            ("postgres://[::1]:5432/c", "postgres://[::1]:5432/c", false, true),
        ] {
            let parsed = PostgresUrl(url.to_owned());
            assert_eq!((parsed.to_string(), format!("{parsed:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!((parsed.has_password(), parsed.is_guarded()), (password, guarded), "{url}");
            assert_eq!(parsed.whole(), url);
        }
    }
}
