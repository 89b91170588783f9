//! A PostgreSQL of Debian's, in a folder of the test's own and reached by a Unix socket there; gone with the value.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::spawned::{Process, run};

/// A server, running or halted.
pub(crate) struct Postgres {
    folder: TempDir,
    server: Option<Process>,
}

impl Postgres {
    /// Makes one with nothing in it, and starts it.
    pub(crate) fn start() -> Self {
        let mut postgres = Self { folder: TempDir::new().unwrap(), server: None };
        if let Some((uid, gid)) = unprivileged() {
            chown(postgres.folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = postgres.command("initdb");
        let made = run(initdb.args(["-A", "trust", "-U", "gate", "--no-sync", "-D"]).arg(postgres.data()));
        assert_eq!(made.code, Some(0), "{made:?}");
        postgres.resume();
        postgres
    }

    /// Starts the server, and waits until it takes connections.
    pub(crate) fn resume(&mut self) {
        let mut command = self.command("postgres");
        command.args(["-F", "-c", "listen_addresses=", "-D"]).arg(self.data()).arg("-k").arg(self.folder.path());
        let server = Process::start(command);
        server.stderr.wait_for("ready to accept connections", 1);
        self.server = Some(server);
    }

    /// Ends the server at once: connections break.
    pub(crate) fn halt(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::QUIT);
            server.wait();
        }
    }

    /// The database that each server has.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes a database with nothing in it.
    pub(crate) fn database(&self, name: &str) -> String {
        let made = run(self.command("createdb").args(["-U", "gate", "-h"]).arg(self.folder.path()).arg(name));
        assert_eq!(made.code, Some(0), "{made:?}");
        self.url_of(name)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://gate@{}/{database}", self.folder.path().display().to_string().replace('/', "%2F"))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of its programs, run by a user that it accepts: it refuses to be run by root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        command.current_dir(self.folder.path()).env_clear().env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((uid, gid)) = unprivileged() {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Where Debian keeps the programs, off the path: those of the newest version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("install Debian's `postgresql`, as tests/run does");
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.map(|version| version.unwrap().path()).max_by_key(number);
    newest.expect("install Debian's `postgresql`, as tests/run does").join("bin")
}

/// The user `nobody`, where this process is root.
fn unprivileged() -> Option<(u32, u32)> {
    rustix::process::getuid().is_root().then_some((65534, 65534))
}
