//! Each source of a secret, and what a command gets to see.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;

use super::*;
use std::collections::BTreeMap;

use crate::config::{Credential, CredentialKind};

fn shell(script: &str) -> SecretRef {
    SecretRef::Command { argv: vec!["sh".into(), "-c".into(), script.into()], refresh: None }
}

async fn text(reference: &SecretRef) -> Result<String, String> {
    let found = read(reference, &Supply::default()).await.map_err(|unread| unread.what)?;
    assert!(!format!("{found:?}").contains("planted"));
    Ok(String::from_utf8(found.secret.expose().to_vec()).unwrap())
}

async fn of_file(bytes: &[u8]) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let outcome = text(&SecretRef::File(file.path().to_owned())).await;
    outcome.map_err(|what| what.replace(&file.path().display().to_string(), "F"))
}

#[tokio::test]
async fn one_trailing_newline_of_a_file_is_dropped() {
    for bytes in ["planted", "planted\n", "planted\r\n"] {
        assert_eq!(of_file(bytes.as_bytes()).await.unwrap(), "planted");
    }
    assert_eq!(of_file(&[b'a'; LONGEST]).await.unwrap().len(), LONGEST);
}

#[tokio::test]
async fn what_is_no_line_of_text_is_refused_without_repeating_it() {
    let control = "file `F` holds a line break or another control character";
    for bytes in ["planted\n\n", "planted\nplanted", "planted\r", "plan\0ted", "plan\x7fted", "\tplanted"] {
        assert_eq!(of_file(bytes.as_bytes()).await.unwrap_err(), control, "{bytes:?}");
    }
    assert_eq!(of_file(b"").await.unwrap_err(), "file `F` is empty");
    assert_eq!(of_file(b"\n").await.unwrap_err(), "file `F` is empty");
    assert_eq!(of_file(&[b'a'; LONGEST + 1]).await.unwrap_err(), "file `F` gives more than 64 KiB");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let missing = SecretRef::File("/nonexistent/secret".into());
    assert_eq!(text(&missing).await.unwrap_err(), "file `/nonexistent/secret` cannot be read: entity not found");
    assert_eq!(text(&SecretRef::File("/".into())).await.unwrap_err(), "file `/` cannot be read: is a directory");
}

#[tokio::test]
async fn a_file_that_others_can_read_is_warned_about_off_tmpfs_only() {
    // A tmpfs is not there on every machine; what is on disk always is.
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    for (mode, warned) in [(0o600, false), (0o640, true), (0o604, true), (0o611, false)] {
        let path = folder.path().join(format!("{mode:o}"));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"planted").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let reference = SecretRef::File(path.clone());
        let found = read(&reference, &Supply::default()).await.unwrap();
        let warning = found.exposure("credentials.sales.bearer", &reference);
        assert_eq!(warning.is_some(), warned, "{mode:o}");
        assert!(warning.is_none_or(|warning| warning.what.contains(path.to_str().unwrap())));
    }
    assert!(lies_in_memory(RAMFS_MAGIC) && !lies_in_memory(0xef53), "ext4 lies on a disk");
    let shm = Path::new("/dev/shm");
    let in_memory = File::open(shm).is_ok_and(|shm| lies_in_memory(rustix::fs::fstatfs(&shm).unwrap().f_type));
    if in_memory {
        let file = tempfile::NamedTempFile::new_in(shm).unwrap();
        fs::write(file.path(), "planted").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let found = read(&SecretRef::File(file.path().to_owned()), &Supply::default()).await.unwrap();
        assert!(!found.readable_by_others);
    }
}

#[tokio::test]
async fn what_systemd_hands_over_is_read_like_a_file_and_not_warned_about() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = folder.path().join("close-sales");
    let reference = SecretRef::Systemd { name: "close-sales".to_owned(), path: path.clone() };
    let missing = "systemd credential `close-sales` cannot be read: entity not found";
    assert_eq!(text(&reference).await.unwrap_err(), missing);
    fs::write(&path, "planted\n").unwrap();
    // As systemd leaves it: readable by a group, where an access list says by whom.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    assert_eq!(text(&reference).await.unwrap(), "planted");
    let found = read(&reference, &Supply::default()).await.unwrap();
    assert_eq!(found.exposure("credentials.sales.bearer", &reference), None);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "planted\nplanted").unwrap();
    let control = "systemd credential `close-sales` holds a line break or another control character";
    assert_eq!(text(&reference).await.unwrap_err(), control);
}

#[tokio::test]
async fn a_variable_is_read_and_a_missing_one_named() {
    let given = SecretRef::Env("CARGO_PKG_NAME".into());
    assert_eq!(text(&given).await.unwrap(), "closegate");
    let missing = SecretRef::Env("CLOSEGATE_TEST_NOT_SET".into());
    assert_eq!(text(&missing).await.unwrap_err(), "environment variable `CLOSEGATE_TEST_NOT_SET` is not set");
}

#[tokio::test]
async fn a_command_gives_its_output() {
    assert_eq!(text(&shell("echo planted; echo noise >&2")).await.unwrap(), "planted");
    assert_eq!(text(&shell("printf 'planted\r\n'")).await.unwrap(), "planted");
    let no_shell = SecretRef::Command { argv: vec!["printf".into(), "%s".into(), "$HOME;".into()], refresh: None };
    assert_eq!(text(&no_shell).await.unwrap(), "$HOME;");
}

#[tokio::test]
async fn a_command_that_fails_says_how_and_not_what_it_printed() {
    for (script, what) in [
        ("echo planted; exit 3", "failed: exit status: 3"),
        ("echo planted; kill -9 $$", "failed: signal: 9 (SIGKILL)"),
        ("true", "is empty"),
        ("echo planted; echo planted", "holds a line break or another control character"),
        ("cat /dev/zero", "gives more than 64 KiB"),
    ] {
        assert_eq!(text(&shell(script)).await.unwrap_err(), format!("command `sh` {what}"));
    }
    let missing = SecretRef::Command { argv: vec!["/nonexistent/op".into(), "planted".into()], refresh: None };
    let what = text(&missing).await.unwrap_err();
    assert_eq!(what, "command `/nonexistent/op` cannot be started: entity not found");
}

#[tokio::test]
async fn a_command_sees_no_variable_that_holds_a_secret() {
    let name = CredentialName::parse("sales").unwrap();
    let kind = CredentialKind::Bearer(SecretRef::Env("CARGO_PKG_NAME".into()));
    let credentials = BTreeMap::from([(name, Credential { description: None, organization: None, kind })]);
    let supply = Supply::new(Withheld::of(&Config { credentials, ..Config::default() }), None);
    let script = shell("printf %s \"${CARGO_PKG_NAME-none},${CARGO_PKG_VERSION-none}\"");
    let found = read(&script, &supply).await.unwrap();
    assert_eq!(found.secret.expose(), concat!("none,", env!("CARGO_PKG_VERSION")).as_bytes());
}

#[test]
fn line_45_what_is_the_gateways_own_is_withheld() {
    let withheld = Withheld(BTreeSet::from(["SALES_KEY".to_owned()]));
    let given = [
        "PATH",
        "CLOSEGATE_KEY",
        "CLOSEGATE__LISTEN__ADDRESS",
        "CLOSE_API_KEY",
        "CLOSE_API_KEY_FILE",
        "CREDENTIALS_DIRECTORY",
        "SALES_KEY",
        "OP",
    ];
    let given = given.iter().map(|name| (OsString::from(name), OsString::from("planted")));
    let left: Vec<_> = withheld.spare(given).map(|(name, _)| name).collect();
    assert_eq!(left, ["PATH", "OP"]);
}

#[tokio::test]
async fn a_gateway_key_leaves_as_its_digest() {
    let of = async |script: &str| digest("keys.a.secret", &shell(script), &Supply::default()).await;
    let (bytes, warning) = of("printf sixteen-letters-").await.unwrap();
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"sixteen-letters-");
    assert_eq!((bytes.digest.as_ref().map(|digest| &digest[..]), warning), (Some(expected.as_ref()), None));
    for bad in ["printf fifteen-letters", "printf 'with blanks in the key'", "printf 'ünïcödé-planted-key'"] {
        let fault = of(bad).await.unwrap_err();
        assert_eq!(fault.to_string(), "`keys.a.secret`: command `sh` holds no gateway key");
    }
}

#[test]
fn pipes_are_read_in_whatever_order_they_are_written_also_at_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let pipes = ["first", "second"].map(|name| folder.path().join(name));
    for pipe in &pipes {
        rustix::fs::mkfifoat(rustix::fs::CWD, pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    }
    let [first, second] = pipes.clone();
    let writing = std::thread::spawn(move || [second, first].map(|pipe| fs::write(pipe, "planted\n").unwrap()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [first, second] = pipes.map(SecretRef::File);
    let both = async { tokio::join!(text(&first), text(&second)) };
    assert_eq!(task::block_on_alone(&runtime, both), (Ok("planted".to_owned()), Ok("planted".to_owned())));
    writing.join().unwrap();
}
