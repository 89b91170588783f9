//! References to secrets: `{ env = … }`, `{ file = … }`, `{ systemd = … }`, `{ command = […] }`. A secret itself is refused, unseen.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use super::SecretRef;
use super::environment::Held;
use super::finding::Wrong;
use super::kinds;
use super::place::{looks_secret, shown};
use super::raw::{Node, Raw};
use super::walk::{Purpose, Section, Split, Walk};

/// Reads the reference that a node must be.
pub(super) fn reference(walk: &mut Walk, path: String, node: &Node) -> Option<SecretRef> {
    if let Raw::Stored(reference) = &node.raw {
        return Some(reference.clone());
    }
    if !matches!(node.raw, Raw::Table(_)) {
        walk.fault(&path, node.place.clone(), outright(&path, node));
        return None;
    }
    let mut section = Section::of(walk, path, node);
    let found = one_of_four(walk, &mut section);
    if let Some((key, wrong)) = found.as_ref().and_then(|found| lost(walk, found)) {
        let key = section.key(key);
        walk.fault(&key, walk.place(&key), wrong);
    }
    section.close(walk);
    found
}

/// A required reference below a table.
pub(super) fn required(walk: &mut Walk, section: &mut Section<'_>, key: &'static str) -> Option<SecretRef> {
    let node = section.node(walk, key);
    if node.is_none() {
        let wrong = Wrong::new("missing", format!("`{key} = {{ env = \"NAME\" }}` or `{key} = {{ file = \"PATH\" }}`"));
        walk.fault(section.key(key), section.place().clone(), wrong);
    }
    reference(walk, section.key(key), node?)
}

impl fmt::Display for SecretRef {
    /// Where it is; of a command its program alone, since arguments may say more than they should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Systemd { name, .. } => write!(f, "systemd {name}"),
            Self::Command { argv, .. } => write!(f, "command {}", argv.first().map_or("", String::as_str)),
            Self::Stored { version, .. } => write!(f, "store (version {version})"),
        }
    }
}

fn one_of_four(walk: &mut Walk, section: &mut Section<'_>) -> Option<SecretRef> {
    let folders = walk.folders();
    let variable = section.optional(walk, "env", variable).map(SecretRef::Env);
    let file = section.optional(walk, "file", kinds::path(folders)).map(SecretRef::File);
    let name = section.optional(walk, "systemd", handed_over);
    let argv = section.list(walk, "command", Split::Never, kinds::text);
    let refresh = section.optional(walk, "refresh", kinds::duration(Duration::from_secs(1)..=YEAR));
    let given = section.count(&["env", "file", "systemd", "command"]);
    if given != 1 {
        let what = if given == 0 { "no reference to a secret" } else { "more than one reference to a secret" };
        walk.fault(section.path(), section.place().clone(), Wrong::new(what, FORMS));
        return None;
    }
    if section.count(&["command"]) == 0 && refresh.is_some() {
        let wrong = Wrong::new(
            "only a `command` is run again",
            "leave it out: a file is read again when Close rejects its secret",
        );
        walk.fault(section.key("refresh"), section.place().clone(), wrong);
    }
    if let Some(name) = name {
        return systemd(walk, section, name);
    }
    variable.or(file).or_else(|| command(walk, section, argv?, refresh))
}

/// Where systemd puts what it hands over, it says in a variable; without it there is nothing to refer to.
fn systemd(walk: &mut Walk, section: &Section<'_>, name: String) -> Option<SecretRef> {
    // The name is all that there is when nothing is used.
    let nowhere = (walk.purpose() == Purpose::Names).then(PathBuf::new);
    if let Some(folder) = walk.path(DIRECTORY).or(nowhere) {
        return Some(SecretRef::Systemd { path: folder.join(&name), name });
    }
    let wrong = Wrong::new(
        format!("systemd hands nothing over: `{DIRECTORY}` is not set"),
        format!("start closegate as a unit with `LoadCredential={name}:PATH`, or refer to `{{ file = \"PATH\" }}`"),
    );
    walk.fault(section.key("systemd"), section.place().clone(), wrong);
    None
}

fn command(walk: &mut Walk, section: &Section<'_>, argv: Vec<String>, refresh: Option<Duration>) -> Option<SecretRef> {
    if argv.first().is_some_and(|program| !program.is_empty()) {
        return Some(SecretRef::Command { argv, refresh });
    }
    let wrong = Wrong::new("expected a program and its arguments", "`[\"op\", \"read\", \"op://vault/close/token\"]`");
    walk.fault(section.key("command"), section.place().clone(), wrong);
    None
}

/// Why the secret that is referred to is not there; only what a command would say is not known yet.
///
/// The reference stays what it is: whether routes and keys agree does not depend on it.
fn lost(walk: &Walk, reference: &SecretRef) -> Option<(&'static str, Wrong)> {
    match reference {
        _ if walk.purpose() == Purpose::Names => None,
        SecretRef::Env(name) => match walk.held(name) {
            Some(Held::Something) => None,
            Some(Held::Nothing) => Some(("env", unset(name, "empty"))),
            None => Some(("env", unset(name, "not set"))),
        },
        SecretRef::File(path) => kinds::openable(path).err().map(|wrong| ("file", wrong)),
        SecretRef::Systemd { name, path } => {
            kinds::open(path).err().map(|error| ("systemd", not_handed_over(name, error.kind())))
        }
        SecretRef::Command { .. } | SecretRef::Stored { .. } => None,
    }
}

fn unset(name: &str, how: &str) -> Wrong {
    let hint = "set it to the secret where closegate is started, or refer to `{ file = \"PATH\" }`";
    Wrong::new(format!("the environment variable `{name}` is {how}"), hint)
}

fn not_handed_over(name: &str, why: ErrorKind) -> Wrong {
    let hint =
        format!("add `LoadCredential={name}:PATH` to the unit, run `systemctl daemon-reload`, and start it again");
    Wrong::new(format!("the credential `{name}` of systemd cannot be opened ({why})"), hint)
}

/// What systemd takes for the name of a credential (systemd.exec(5)): a file's name, in ASCII and without a colon. The
/// secret itself in its place is refused.
fn handed_over(node: &Node) -> Result<String, Wrong> {
    let name = kinds::text(node)?;
    let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !matches!(byte, b'/' | b':');
    let dots = name.bytes().all(|byte| byte == b'.');
    if name.len() <= 255 && !dots && name.bytes().all(plain) && !looks_secret(&name) {
        return Ok(name);
    }
    let hint = "the name that `LoadCredential=` gives it, not the secret and no path: `close-sales`";
    Err(Wrong::new("expected the name of a credential of systemd", hint))
}

/// The name of a variable; the secret itself in its place is refused.
fn variable(node: &Node) -> Result<String, Wrong> {
    let name = kinds::text(node)?;
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !looks_secret(&name) {
        return Ok(name);
    }
    Err(Wrong::new("expected the name of an environment variable", "the name, not the secret: `CLOSE_SALES_API_KEY`"))
}

/// What to say where something else than a reference stands: nothing of what stands there.
fn outright(path: &str, node: &Node) -> Wrong {
    let key = path.rsplit('.').next().map(shown).unwrap_or_default();
    let hint = if node.variable().is_some() {
        let name = path.to_ascii_uppercase().replace('.', "__").replace('-', "_");
        format!("set `CLOSEGATE__{name}__ENV` to the name of the variable that holds it, or `…__FILE` to a path")
    } else {
        format!("`{key} = {{ env = \"NAME\" }}` or `{key} = {{ file = \"PATH\" }}`")
    };
    Wrong::new("expected a reference to a secret, never the secret itself", hint)
}

const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
const FORMS: &str = "exactly one of `{ env = \"NAME\" }`, `{ file = \"PATH\" }`, `{ systemd = \"NAME\" }`, `{ command = [\"PROGRAM\", \"ARGUMENT\"] }`";
const YEAR: Duration = Duration::from_secs(365 * 86_400);
