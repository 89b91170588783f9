//! The documents say what the code does: codes of errors, README's configuration, the tests that ARCHITECTURE names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use closegate::admin::Code;
use closegate::config::{self, Environment, Sources};
use tempfile::TempDir;

/// Status and types of `Proxy-Status` by code.
type Errors = BTreeMap<String, (u16, BTreeSet<String>)>;

#[test]
fn every_error_is_documented() {
    let told = told(&read("src/proxy/error.rs"));
    assert!(told.len() > 20, "{told:#?}");
    assert_eq!(documented(&read("docs/errors.md")), told);
}

#[test]
fn every_code_of_the_admin_api_is_documented() {
    let documented = documented_codes(&read("docs/admin-api.md"));
    let told: BTreeSet<(u16, String)> =
        Code::ALL.iter().map(|code| (code.status().as_u16(), code.as_str().to_owned())).collect();
    assert_eq!(documented, told);
}

#[test]
fn the_configuration_in_the_readme_loads() {
    let folder = TempDir::new().unwrap();
    for name in ["close-sales", "close-partner", "key-reporting"] {
        fs::write(folder.path().join(name), "0123456789abcdef").unwrap();
    }
    let text = block(&read("README.md"), "# closegate.toml").replace("/run/secrets", folder.path().to_str().unwrap());
    let file = folder.path().join("closegate.toml");
    fs::write(&file, text + &block(&read("README.md"), "[metrics]")).unwrap();
    let sources = Sources { file: Some(file), environment: Environment::default(), folder: folder.path().to_owned() };
    let config = config::load(&sources).unwrap_or_else(|faults| panic!("{faults}")).config;
    let prefixes: Vec<_> = config.routes.values().map(|route| route.prefix.as_str().to_owned()).collect();
    assert_eq!(prefixes, ["/partner", "/sales"]);
    assert_eq!((config.keys.len(), config.metrics.address.is_some()), (2, true));
}

#[test]
fn the_tests_that_documents_name_exist() {
    let text = read("ARCHITECTURE.md");
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter_map(test_path).collect();
    assert!(named.len() > 15, "{named:?}");
    let modules = modules();
    for path in named {
        assert!(is_defined(path, &modules), "there is no test `{path}`");
    }
    for wrong in ["tidy::no_such_test", "wire::the_tests_that_documents_name_exist", "nowhere::imports_go_down"] {
        assert!(!is_defined(wrong, &modules), "{wrong}");
    }
}

/// The path of each file's module, as the tests below it are called, and its text.
fn modules() -> Vec<(Vec<String>, String)> {
    let module = |folder: &'static str| {
        move |path: PathBuf| {
            let parts = path.strip_prefix(root().join(folder)).unwrap_or(&path).with_extension("");
            let mut parts: Vec<String> = parts.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            parts.retain(|part| !matches!(part.as_str(), "mod" | "lib" | "main"));
            (parts, read(&path))
        }
    };
    files("tests/it").into_iter().map(module("tests/it")).chain(files("src").into_iter().map(module("src"))).collect()
}

/// Whether there is a test of that path, or a module. What stands before the first part of a document's path is left open.
fn is_defined(path: &str, modules: &[(Vec<String>, String)]) -> bool {
    let parts: Vec<&str> = path.split("::").collect();
    let Some((name, around)) = parts.split_last() else { return false };
    let ends = |module: &[String], with: &[&str]| {
        module.len() >= with.len()
            && module[module.len() - with.len()..].iter().zip(with).all(|(one, other)| one == other)
    };
    modules.iter().any(|(module, text)| {
        let inline = around
            .split_last()
            .filter(|(inner, outer)| text.contains(&format!("mod {inner} {{")) && ends(module, outer));
        let holds = ends(module, around) || inline.is_some();
        let defined = text.contains(&format!("fn {name}()")) || text.contains(&format!("mod {name} {{"));
        holds && defined || ends(module, &parts)
    })
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "docs/deployment.md",
        "docs/admin-api.md",
        "docs/errors.md",
        "docs/keys.md",
        "docs/metrics.md",
    ] {
        let (text, folder) = (read(document), root().join(document));
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let there = link.starts_with("https://") || folder.parent().unwrap().join(link).exists();
            assert!(there, "{document}: {link}");
        }
    }
    assert!(read("README.md").lines().count() <= 150);
}

/// What `src/proxy/error.rs` tells clients: the arguments of each call of `tell`.
fn told(source: &str) -> Errors {
    let text =
        |argument: &str| argument.trim().strip_prefix('"').map(|rest| rest.split('"').next().unwrap().to_owned());
    let unreachable: Vec<_> = source.split("unreachable(").skip(1).filter_map(text).collect();
    let mut errors = Errors::new();
    for call in source.split("tell(").skip(1) {
        let arguments: Vec<&str> = call.splitn(4, ',').map(str::trim).collect();
        // The definition of `tell` has no number.
        let (Ok(status), Some(code)) = (arguments[0].parse(), text(arguments[1])) else { continue };
        let types = match (arguments[2], text(arguments[2])) {
            (_, Some(literal)) => vec![literal],
            ("DENIED", None) => vec!["http_request_denied".to_owned()],
            ("proxy_status", None) => unreachable.clone(),
            (other, None) => panic!("{code}: what is `{other}`?"),
        };
        let known = errors.entry(code).or_insert((status, BTreeSet::new()));
        assert_eq!(known.0, status);
        known.1.extend(types);
    }
    errors
}

/// Status and code of each row in `docs/admin-api.md`.
fn documented_codes(page: &str) -> BTreeSet<(u16, String)> {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        Some((cells.get(1)?.parse().ok()?, cells.get(2)?.trim_matches('`').to_owned()))
    });
    rows.collect()
}

/// The rows of the table in `docs/errors.md`.
fn documented(page: &str) -> Errors {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let status = cells.get(1)?.parse().ok()?;
        let types = cells[3].split(", ").map(|kind| kind.trim_matches('`').to_owned()).collect();
        assert!(!cells[4].is_empty());
        Some((cells[2].trim_matches('`').to_owned(), (status, types)))
    });
    rows.collect()
}

/// The indented block of a page that begins with this line.
fn block(page: &str, first: &str) -> String {
    let lines = page.lines().skip_while(|line| line.trim_start() != first || !line.starts_with("    "));
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    block.flat_map(|line| [line.trim_start(), "\n"]).collect()
}

/// The last segment of `module::name`, when that is how a test or a module of tests is called.
fn test_path(code: &str) -> Option<&str> {
    let (modules, name) = code.rsplit_once("::")?;
    let is_lower = |text: &str| text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b':'));
    (is_lower(modules) && is_lower(name)).then_some(code)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path.to_str().unwrap()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
