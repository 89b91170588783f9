//! The house rules that a compiler does not hold: floors, first lines, one writer of `authorization`, secrets in the vault.
//!
//! Each rule takes sources and returns what it found, so that the same rule is run on `src` and on planted violations.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use self::tokens::Token;

mod tokens;

/// A file below `src`.
struct Source {
    /// Relative to the package: `src/proxy/mod.rs`.
    path: String,
    text: String,
    tokens: Vec<Token>,
}

/// Where a module stands: the floor, and on floor 0 its place in the row.
type Rank = (u32, usize);

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), tokens: tokens::of(text) }
    }

    /// The module path: `src/proxy/inbound.rs` is `proxy::inbound`, `src/proxy/mod.rs` is `proxy`.
    fn module(&self) -> Vec<&str> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
    }

    /// Whether it holds nothing but tests.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The room it belongs to; nothing for the roots of the library and of the program.
    fn room(&self) -> Option<&str> {
        self.module().first().copied()
    }
}

#[test]
fn imports_go_down() {
    assert_none(&upward_imports(&sources(), &floors(&read("src/lib.rs"))));
}

#[test]
fn every_module_has_a_floor() {
    let lib = Source::new("src/lib.rs", &read("src/lib.rs"));
    let floors = floors(&lib.text);
    for pair in lib.tokens.windows(2).filter(|pair| pair[0].is("mod")) {
        assert!(floors.contains_key(pair[1].text()), "`{}` stands on no floor in src/lib.rs", pair[1].text());
    }
    assert!(floors["app"] > floors["proxy"] && floors["proxy"] > floors["vault"] && floors["vault"] > floors["config"]);
    assert!(floors["config"] > floors["rule"] && floors["rule"] > floors["path"]);
}

#[test]
fn every_file_says_what_it_is() {
    assert_none(&without_first_line(&sources()));
}

#[test]
fn one_file_writes_authorization_upstream() {
    assert_none(&foreign_authorization_writers(&sources()));
}

#[test]
fn secrets_are_exposed_in_the_vault_only() {
    assert_none(&exposures_outside_the_vault(&sources()));
}

#[test]
fn the_proxy_does_no_io_of_its_own() {
    assert_none(&io_in_the_proxy(&sources()));
}

/// Imports of a module of the same or a higher floor.
fn upward_imports(sources: &[Source], floors: &BTreeMap<String, Rank>) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let Some(room) = source.room() else { continue };
        for target in imported_rooms(source) {
            let fault = match (floors.get(room), floors.get(&target)) {
                _ if target == room => continue,
                (Some(from), Some(to)) if to < from => continue,
                (Some(_), Some(_)) => "stands on the same or a higher floor",
                (None, _) => "is imported by a module without a floor",
                (_, None) => "stands on no floor",
            };
            found.push(format!("{}: `crate::{target}` {fault}", source.path));
        }
    }
    found
}

/// The first segments of all paths from the root of the crate, by `crate` or by enough `super`s.
fn imported_rooms(source: &Source) -> Vec<String> {
    let mut rooms = Vec::new();
    let mut depth = tokens::Modules::below(source.module().len());
    for (at, token) in source.tokens.iter().enumerate() {
        depth.pass(&source.tokens, at);
        let begins_path = at == 0 || !source.tokens[at - 1].is("::");
        let supers = source.tokens[at..].iter().step_by(2).take_while(|token| token.is("super")).count();
        if begins_path && token.is("crate") && tokens::is_at(&source.tokens, at + 1, "::") {
            rooms.extend(tokens::first_segments(&source.tokens[at + 2..]));
        } else if begins_path && supers > 0 && supers >= depth.now() {
            rooms.extend(tokens::first_segments(&source.tokens[at + 2 * supers..]));
        }
    }
    rooms
}

/// Files whose first line is not a `//!` sentence.
fn without_first_line(sources: &[Source]) -> Vec<String> {
    let silent = |source: &&Source| {
        let first = source.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_none_or(|sentence| sentence.split_whitespace().count() < 3)
    };
    sources
        .iter()
        .filter(silent)
        .map(|source| format!("{}: no `//!` sentence in its first line", source.path))
        .collect()
}

/// Writers of the `authorization` header that are not the one allowed; the simulator and tests send to nobody real.
fn foreign_authorization_writers(sources: &[Source]) -> Vec<String> {
    let bound = |source: &&Source| {
        source.path != "src/vault/authorization.rs" && source.room() != Some("sim") && !source.is_test()
    };
    let mut found = Vec::new();
    for source in sources.iter().filter(bound) {
        let code = tokens::without_tests(&source.tokens);
        let writes = code.iter().enumerate().any(|(at, token)| {
            let call =
                ["insert", "append", "entry", "header", "try_insert", "try_append"].iter().any(|name| token.is(name));
            call && tokens::is_at(&code, at + 1, "(")
                && tokens::first_argument(&code[at + 2..]).any(names_authorization)
        });
        if writes {
            found.push(format!("{}: writes the `authorization` header", source.path));
        }
    }
    found
}

fn names_authorization(token: &Token) -> bool {
    match token {
        Token::Text(text) => text.eq_ignore_ascii_case("authorization"),
        Token::Code(code) => code == "AUTHORIZATION",
    }
}

/// Mentions of `expose(` outside the vault.
fn exposures_outside_the_vault(sources: &[Source]) -> Vec<String> {
    let exposes = |source: &&Source| source.tokens.windows(2).any(|pair| pair[0].is("expose") && pair[1].is("("));
    let outside = sources.iter().filter(|source| source.room() != Some("vault"));
    outside.filter(exposes).map(|source| format!("{}: `expose(` outside src/vault", source.path)).collect()
}

/// Names of sockets, files and processes below `src/proxy`, its tests apart.
fn io_in_the_proxy(sources: &[Source]) -> Vec<String> {
    const IO: [&str; 12] = [
        "File",
        "TcpListener",
        "TcpStream",
        "UdpSocket",
        "UnixListener",
        "UnixStream",
        "fs",
        "lookup_host",
        "process",
        "println",
        "stderr",
        "stdout",
    ];
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.room() == Some("proxy") && !source.is_test()) {
        for token in tokens::without_tests(&source.tokens) {
            if let Some(name) = IO.iter().find(|name| token.is(name)) {
                found.push(format!("{}: `{name}` is I/O of its own", source.path));
            }
        }
    }
    found
}

/// The table in the documentation of the crate: a floor a row, the modules of floor 0 in the order they build on one another.
fn floors(lib: &str) -> BTreeMap<String, Rank> {
    let mut floors = BTreeMap::new();
    for row in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let Some((floor, modules)) = row.split_once('|') else { continue };
        let Ok(floor) = floor.trim().parse::<u32>() else { continue };
        for (place, module) in modules.split('`').skip(1).step_by(2).enumerate() {
            floors.insert(module.to_owned(), (floor, if floor == 0 { place } else { 0 }));
        }
    }
    floors
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source::new(&name, &read(&name)));
            }
        }
    }
    assert!(found.len() > 20, "only {} files were found below src", found.len());
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Each rule finds what was planted for it and lets the lawful neighbour pass.
mod planted {
    use super::*;

    const TABLE: &str = "//! | floor | modules |\n//! |---|---|\n//! | 2 | `vault`, `keys` |\n//! | 1 | `net` |\n//! | 0 | `path`, `rule` |\n";

    fn arrows(path: &str, text: &str) -> usize {
        upward_imports(&[Source::new(path, text)], &floors(TABLE)).len()
    }

    #[test]
    fn an_upward_import_is_found_however_it_is_written() {
        for text in [
            "use crate::vault::Vault;",
            "use crate::{path::Prefix, vault::{Vault, secret}};",
            "use crate::{\n    path::{self, Prefix},\n    keys,\n};",
            "pub(crate) use crate::keys as policy;",
            "fn f(vault: &crate::vault::Vault) {}",
            "use super::vault;",
            "use super::{vault, path};",
            "mod inner { mod deeper { use super::super::super::vault::Vault; } }",
            "#[cfg(test)] mod tests { use crate::vault::Vault; }",
            "use crate::attic;",
            "use crate::*;",
        ] {
            assert_eq!(arrows("src/net/mod.rs", text), 1, "{text}");
        }
        assert_eq!(arrows("src/net/tls.rs", "use super::super::vault;"), 1);
        assert_eq!(arrows("src/keys/mod.rs", "use crate::vault::Vault;"), 1, "its own floor");
        assert_eq!(arrows("src/path.rs", "use crate::rule::Rule;"), 1, "to the right on floor 0");
        assert_eq!(arrows("src/attic.rs", "use crate::path::Prefix;"), 1, "a module without a floor");
    }

    #[test]
    fn downward_imports_and_mere_mentions_pass() {
        for text in [
            "use crate::{path::Prefix, rule};",
            "use crate::net::tls;",
            "use super::path;",
            "mod inner { use super::super::path; use super::vault; }",
            "// use crate::vault::Vault;\n/* crate::vault /* nested */ crate::vault */",
            "const S: &str = \"crate::vault\"; const R: &str = r#\"\"crate::vault\"#; const C: char = '\"';",
            "fn life<'a>(x: &'a str) -> &'a str { x }",
            "use other::crate_::vault;",
        ] {
            assert_eq!(arrows("src/net/mod.rs", text), 0, "{text}");
        }
        assert_eq!(arrows("src/net/tls.rs", "use super::vault; // net::vault"), 0);
        assert_eq!(arrows("src/vault/secret.rs", "pub(in crate::vault) fn expose() {}"), 0);
        assert_eq!(arrows("src/rule.rs", "use crate::path::Prefix;"), 0, "to the left on floor 0");
        assert_eq!(arrows("src/main.rs", "use crate::vault::Vault;"), 0, "the root stands above all");
    }

    #[test]
    fn a_file_that_says_nothing_is_found() {
        let silent = |text| without_first_line(&[Source::new("src/x.rs", text)]).len();
        assert_eq!(silent("//! What a stranger understands."), 0);
        for text in ["", "use std::fs;\n//! Late.", "// Not a doc comment at all.", "//!", "\n//! One line too late."] {
            assert_eq!(silent(text), 1, "{text:?}");
        }
    }

    #[test]
    fn a_second_writer_of_authorization_is_found() {
        let writers = |path: &str, text: &str| foreign_authorization_writers(&[Source::new(path, text)]).len();
        for text in [
            "fn f() { headers.insert(AUTHORIZATION, value); }",
            "fn f() { headers.append(header::AUTHORIZATION, value); }",
            "fn f() { headers.insert(\n    http::header::AUTHORIZATION,\n    value); }",
            "fn f() { headers.entry(\"authorization\").or_insert(value); }",
            "fn f() { Request::builder().header(\"Authorization\", value); }",
            "fn f() { headers.insert(HeaderName::from_static(\"authorization\"), value); }",
        ] {
            assert_eq!(writers("src/proxy/outbound.rs", text), 1, "{text}");
            assert_eq!(writers("src/vault/mod.rs", text), 1, "{text}");
            assert_eq!(writers("src/vault/authorization.rs", text), 0, "{text}");
            assert_eq!(writers("src/sim/api.rs", text), 0, "{text}");
            assert_eq!(writers("src/proxy/tests.rs", text), 0, "{text}");
            assert_eq!(writers("src/proxy/tests/more.rs", text), 0, "{text}");
            assert_eq!(writers("src/proxy/outbound.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}")), 0, "{text}");
            assert_eq!(writers("src/proxy/outbound.rs", &format!("#[cfg(test)]\nmod tests {{}} {text}")), 1, "{text}");
        }
        for text in ["fn f() { headers.remove(AUTHORIZATION); }", "fn f() { headers.insert(HOST, authorization); }"] {
            assert_eq!(writers("src/proxy/inbound.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn an_exposure_outside_the_vault_is_found() {
        let exposures = |path, text| exposures_outside_the_vault(&[Source::new(path, text)]).len();
        assert_eq!(exposures("src/proxy/mod.rs", "let raw = secret.expose();"), 1);
        assert_eq!(exposures("src/vault/source.rs", "let raw = secret.expose();"), 0);
        assert_eq!(exposures("src/proxy/mod.rs", "// secret.expose() is not ours to call"), 0);
    }

    #[test]
    fn io_below_the_proxy_is_found() {
        let io = |path, text| io_in_the_proxy(&[Source::new(path, text)]).len();
        assert_eq!(io("src/proxy/mod.rs", "use tokio::net::TcpStream;"), 1);
        assert_eq!(io("src/proxy/mod.rs", "let text = std::fs::read(path);"), 1);
        assert_eq!(io("src/proxy/mod.rs", "println!(\"x\");"), 1);
        assert_eq!(io("src/edge/mod.rs", "use tokio::net::TcpStream;"), 0);
        assert_eq!(io("src/proxy/mod.rs", "use std::net::SocketAddr;\n#[cfg(test)]\nmod tests { use std::fs; }"), 0);
    }
}
