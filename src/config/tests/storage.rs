//! `data_dir` and `[store]`: where they come from, what is refused, and that no password is shown.

use super::*;

fn url(text: &str) -> String {
    format!("[store]\nmaster_key = {{ env = \"K\" }}\nurl = \"{text}\"\n")
}

#[test]
fn the_folder_is_what_is_said_else_what_the_system_gives() {
    let state = [("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("XDG_STATE_HOME", "/home/x/.local/state")];
    let folder = |text, variables: &[(&str, &str)]| {
        let loaded = good(text, variables);
        (loaded.config.data_dir.display().to_string(), loaded.place("data_dir").to_string())
    };
    let found = |folder: &str, place: &str| (folder.to_owned(), place.to_owned());
    assert_eq!(folder("", &[]), found("/var/lib/closegate", "default"));
    assert_eq!(folder("", &state), found("/var/lib/a", "env STATE_DIRECTORY"));
    assert_eq!(folder("", &state[1..]), found("/home/x/.local/state/closegate", "env XDG_STATE_HOME"));
    assert_eq!(folder("", &[("XDG_STATE_HOME", "relative")]), found("/var/lib/closegate", "default"));
    assert_eq!(folder("data_dir = \"/x\"", &state), found("/x", "closegate.toml:1"));
    let setup = setup("data_dir = \"data\"", &[]);
    let config = load(&setup.sources).unwrap().config;
    assert_eq!(config.store.url, StoreUrl::Sqlite(setup.folder.path().join("data/closegate.db")));
}

#[test]
fn a_store_lies_in_a_file_a_database_or_memory() {
    let of = |text: &str| good(&url(text), &[]).config.store.url;
    assert_eq!(of("memory:"), StoreUrl::Memory);
    assert_eq!(of("sqlite:/x/y.db"), StoreUrl::Sqlite("/x/y.db".into()));
    assert_eq!(of("sqlite:///x/y.db"), StoreUrl::Sqlite("/x/y.db".into()));
    assert!(matches!(of("postgres://gate@db.example.com/closegate?sslmode=verify-full"), StoreUrl::Postgres(_)));
    for bad in ["planted", "sqlite:", "sqlite::memory:", "mysql://planted", "postgres://planted planted"] {
        let (at, place, what) = only(&url(bad), &[]);
        assert_eq!((at.as_str(), place.as_str()), ("store.url", "closegate.toml:3"));
        assert!(what.contains("`\"postgres://USER@HOST/DATABASE\"`") && !what.contains("planted"), "{what}");
    }
    let (_, _, what) = only(&url("postgres://db/c?planted=planted"), &[]);
    assert!(what.contains("known are sslmode, sslrootcert") && !what.contains("planted"), "{what}");
}

#[test]
fn replicas_need_a_master_key_that_they_share() {
    let (at, _, what) = only("[store]\nurl = \"postgres://localhost/c\"", &[]);
    assert!(at == "store.master_key" && what.contains("`openssl rand -base64 32` makes one"), "{at} {what}");
}

#[test]
fn a_password_of_a_database_is_warned_about_and_never_shown() {
    let text = url("postgres://gate:planted@db.example.com/closegate");
    let loaded = good(&text, &[]);
    let warned: Vec<_> = loaded.warnings.iter().filter(|warning| warning.key == "store.url").collect();
    assert_eq!(warned.len(), 2, "the password, and the certificate: {warned:?}");
    let all = format!("{:?} {:?} {:?}", loaded.config, settings(&loaded), loaded.warnings);
    assert!(all.contains("postgres://gate:***@db.example.com/closegate") && !all.contains("planted@"), "{all}");
    let other = good(&text.replace("planted", "another"), &[]);
    assert_eq!(differences_in_fixed(&loaded.config, &other.config), ["store.url"]);
    let guarded = good(&url("postgres://gate@db.example.com/c?sslmode=verify-full"), &[]);
    assert!(guarded.warnings.iter().all(|warning| warning.key != "store.url"), "{:?}", guarded.warnings);
}

#[test]
fn a_change_of_the_store_waits_for_a_restart() {
    let one = good("", &[]);
    let other = good("data_dir = \"/x\"\n[store]\nmax_stale = \"2h\"\nmaster_key = { env = \"K\" }", &[]);
    let different = differences_in_fixed(&one.config, &other.config);
    assert_eq!(different, ["data_dir", "store.url", "store.master_key", "store.max_stale"]);
}
