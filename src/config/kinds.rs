//! What single values are: each function types one node or says what it should be.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

use super::finding::Wrong;
use super::nearest;
use super::raw::{Node, Raw};
use super::units;
use super::walk::{Folders, Purpose};
use crate::origin::{Origin, OriginFault, Reach, Scheme};
use crate::path::Prefix;
use crate::rule::Rule;

type Kind<T> = Result<T, Wrong>;

pub(super) fn text(node: &Node) -> Kind<String> {
    match &node.raw {
        Raw::Text(text) => Ok(text.clone()),
        _ => Err(Wrong::new("expected a text", "texts stand in quotes: `\"…\"`")),
    }
}

pub(super) fn flag(node: &Node) -> Kind<bool> {
    match (&node.raw, node.variable()) {
        (Raw::Flag(flag), _) => Ok(*flag),
        (_, Some("true")) => Ok(true),
        (_, Some("false")) => Ok(false),
        _ => Err(Wrong::new("expected `true` or `false`", "write `true` or `false`, without quotes")),
    }
}

/// Whether `danger_private_upstream` stands there.
pub(super) fn reach(node: &Node) -> Kind<Reach> {
    flag(node).map(|anywhere| if anywhere { Reach::Anywhere } else { Reach::Public })
}

pub(super) fn count(range: RangeInclusive<usize>) -> impl FnOnce(&Node) -> Kind<usize> {
    move |node| {
        let number = match &node.raw {
            Raw::Whole(number) => usize::try_from(*number).ok(),
            _ => node.variable().and_then(|text| text.parse().ok()),
        };
        let is_whole = matches!(node.raw, Raw::Whole(_)) || number.is_some();
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let what = format!("expected a whole number from {} to {}", range.start(), range.end());
            let unlike = "write the number without quotes and without a unit";
            Wrong::new(what, if is_whole { "choose one within these bounds, or leave it out" } else { unlike })
        })
    }
}

pub(super) fn duration(range: RangeInclusive<Duration>) -> impl FnOnce(&Node) -> Kind<Duration> {
    move |node| {
        let duration = text(node).ok().and_then(|text| units::duration(&text));
        duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
            let (least, most) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
            Wrong::new(
                format!("expected a duration from {least} to {most}"),
                "a whole number and a unit: `\"250ms\"`, `\"5s\"`, `\"2m\"`, `\"1h\"`, `\"90d\"`",
            )
        })
    }
}

pub(super) fn size(range: RangeInclusive<u64>) -> impl FnOnce(&Node) -> Kind<u64> {
    move |node| {
        let size = text(node).ok().and_then(|text| units::size(&text));
        size.filter(|size| range.contains(size)).ok_or_else(|| {
            let (least, most) = (units::show_size(*range.start()), units::show_size(*range.end()));
            Wrong::new(
                format!("expected a size from {least} to {most}"),
                "a whole number and a unit: `\"512B\"`, `\"32KiB\"`, `\"25MiB\"`, `\"64kB\"`, `\"8MB\"`",
            )
        })
    }
}

/// A size that is held in memory.
pub(super) fn memory(range: RangeInclusive<usize>) -> impl FnOnce(&Node) -> Kind<usize> {
    let wide = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let size = size(wide(*range.start())..=wide(*range.end()));
    move |node| size(node).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// `"auto"` or a number of threads.
pub(super) fn workers(node: &Node) -> Kind<Option<usize>> {
    match &node.raw {
        Raw::Text(text) if text == "auto" => Ok(None),
        _ => count(1..=256)(node).map(Some).map_err(|_| {
            Wrong::new("expected `\"auto\"` or a number of threads from 1 to 256", "`\"auto\"` is one thread a core")
        }),
    }
}

/// One of some words.
pub(super) fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl FnOnce(&Node) -> Kind<T> {
    move |node| {
        let given = text(node)?;
        words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
            let hint = nearest::suggest(&given, words.iter().map(|(word, _)| *word)).unwrap_or_default();
            Wrong::new(format!("expected {}", all.join(" or ")), hint)
        })
    }
}

/// `IP:PORT` to listen on; `localhost` is 127.0.0.1.
pub(super) fn listener(node: &Node) -> Kind<SocketAddr> {
    let address = text(node)?;
    let by_name = || {
        let port = address.strip_prefix("localhost:")?.parse().ok()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    address.parse().ok().or_else(by_name).ok_or_else(|| {
        Wrong::new(
            "expected an IP address and a port",
            "such as `\"127.0.0.1:8080\"`, `\"[::1]:8080\"` or, for every interface, `\"0.0.0.0:8080\"`",
        )
    })
}

/// `HOST:PORT` to connect to.
pub(super) fn destination(node: &Node) -> Kind<String> {
    let given = text(node)?;
    let plain = given.parse::<http::uri::Authority>().ok().filter(|authority| {
        !authority.as_str().contains('@') && !authority.host().is_empty() && authority.port_u16().is_some_and(|p| p > 0)
    });
    plain.map(|_| given).ok_or_else(|| {
        Wrong::new("expected a host and a port", "such as `\"127.0.0.1:18443\"`, without a scheme and a path")
    })
}

pub(super) fn origin(node: &Node) -> Kind<Origin> {
    Origin::parse(&text(node)?).map_err(|fault| Wrong::new(fault.to_string(), "such as `\"https://api.close.com\"`"))
}

/// `https://HOST[:PORT]` of our own, as browsers call it.
pub(super) fn site(node: &Node) -> Kind<Origin> {
    let origin = Origin::parse(&text(node)?).ok().filter(|origin| origin.base().is_empty());
    origin.ok_or_else(|| {
        let hint = "such as `\"https://gate.example.com\"`: what browsers call the admin listener";
        Wrong::new("expected a URL of scheme and host, without a path", hint)
    })
}

/// `http://HOST:PORT` of a proxy.
pub(super) fn proxy(node: &Node) -> Kind<Origin> {
    let origin = Origin::parse(&text(node)?);
    if origin == Err(OriginFault::Userinfo) {
        let hint =
            "leave them out: a secret is never written into the configuration, and closegate presents none to a proxy";
        return Err(Wrong::new("a proxy's URL carries no user name and no password", hint));
    }
    let plain = origin.ok().filter(|origin| origin.scheme() == Scheme::Http && origin.base().is_empty());
    plain.ok_or_else(|| {
        let hint = "such as `\"http://proxy.corp:3128\"`; TLS goes through it, and ends at the upstream as ever";
        Wrong::new("expected the URL of an HTTP proxy, without a path", hint)
    })
}

/// A host name without a port, or `*`; in lower case.
pub(super) fn host(node: &Node) -> Kind<String> {
    let host = text(node)?.to_ascii_lowercase();
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let six = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    if host == "*" || six || (!host.is_empty() && host.len() <= 253 && host.bytes().all(name)) {
        return Ok(host);
    }
    Err(Wrong::new(
        "expected a host name",
        "a name without scheme, port and path, such as `\"gate.example.com\"`, or `\"[::1]\"`, or `\"*\"` for any",
    ))
}

pub(super) fn prefix(node: &Node) -> Kind<Prefix> {
    let fault = |fault: crate::path::PathFault| Wrong::new(fault.to_string(), "such as `\"/sales\"`, or `\"/\"`");
    Prefix::parse(&text(node)?).map_err(fault)
}

pub(super) fn rule(node: &Node) -> Kind<Rule> {
    Rule::parse(&text(node)?).map_err(|_| {
        Wrong::new(
            "expected a rule: `METHOD[,METHOD] PATTERN`",
            "such as `\"GET,HEAD /api/v1/lead/**\"` or `\"* /api/v1/lead/*\"`; `**` stands at the end only",
        )
    })
}

/// A moment with its offset from UTC.
pub(super) fn moment(node: &Node) -> Kind<Timestamp> {
    text(node)?.parse().map_err(|_| {
        Wrong::new("expected a date and a time with an offset", "such as `2027-06-30T00:00:00Z`; `Z` is UTC")
    })
}

/// `sha256:` and 64 hexadecimal digits.
pub(super) fn digest(node: &Node) -> Kind<[u8; 32]> {
    let given = text(node)?;
    given.strip_prefix("sha256:").and_then(hexadecimal).ok_or_else(|| {
        Wrong::new(
            "expected `sha256:` and 64 hexadecimal digits",
            "the SHA-256 of the key's text, never the key: `printf %s \"$KEY\" | sha256sum` prints the digits",
        )
    })
}

/// A path, made absolute by the folder of its source.
pub(super) fn path(folders: Folders) -> impl FnOnce(&Node) -> Kind<PathBuf> {
    move |node| match text(node)? {
        path if path.is_empty() || super::place::looks_like_key(&path) => {
            Err(Wrong::new("expected the path of a file", "a relative path begins in the folder of this file"))
        }
        path => Ok(folders.absolute(&path, &node.place)),
    }
}

/// The path of a file that must be there when the configuration is to be used.
pub(super) fn file(folders: Folders) -> impl FnOnce(&Node) -> Kind<PathBuf> {
    move |node| {
        let purpose = folders.purpose();
        let path = path(folders)(node)?;
        match purpose {
            Purpose::Use => openable(&path).map(|()| path),
            Purpose::Names => Ok(path),
        }
    }
}

/// Whether a file is there and may be read; nothing of it is.
pub(super) fn openable(path: &Path) -> Kind<()> {
    open(path).map_err(|error| {
        let (name, kind) = (shown_path(path), error.kind());
        Wrong::new(format!("{name} cannot be opened ({kind})"), "name a file that exists and that this user may read")
    })
}

/// Opens a file that may be read, and closes it again.
pub(super) fn open(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // To open a pipe would wait for its writer, who would then write to nobody.
    if kind.is_file() { File::open(path).map(drop) } else { Ok(()) }
}

/// A path as it may be printed: somebody may have written the secret in its place.
fn shown_path(path: &Path) -> String {
    let odd = |part: &str| super::place::looks_secret(part) || part.contains(char::is_control);
    if path.iter().any(|part| part.to_str().is_none_or(odd)) {
        return "the file".to_owned();
    }
    format!("the file `{}`", path.display())
}

/// A level, or a filter of `tracing-subscriber`.
pub(super) fn level(node: &Node) -> Kind<String> {
    let given = text(node)?;
    let wrong = |hint: String| Wrong::new("expected a level or a filter", hint);
    if given.contains(['=', '[']) {
        let filter = EnvFilter::builder().parse(&given);
        return filter.map(|_| given).map_err(|_| wrong("a filter is `info,closegate::proxy=debug`".to_owned()));
    }
    let known = LEVELS.contains(&given.as_str());
    known.then(|| given.clone()).ok_or_else(|| wrong(nearest::suggest(&given, LEVELS).unwrap_or_default()))
}

fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// The longest that a duration of the running gateway may be.
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// A time-out of nothing would refuse everything.
pub(super) const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
