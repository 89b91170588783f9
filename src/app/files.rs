//! Looks once a second whether files have changed: the configuration's, and those of secrets and roots.
//!
//! A file is looked at where its path leads now, so that a swapped symbolic link counts as well: Kubernetes replaces a
//! mounted secret by pointing `..data` at another folder. Nothing is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{Config, KeySecret, SecretRef};

/// How files were found to be; none for one that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen(BTreeMap<PathBuf, Option<Print>>);

/// What is different after a file was written or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    resolved: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last write, and of the last change of anything, permissions among it.
    times: [(i64, i64); 2],
}

impl Seen {
    /// Looks at the files.
    pub(super) fn of(files: BTreeSet<PathBuf>) -> Self {
        let look = |file: PathBuf| {
            let print = Print::of(&file).ok();
            (file, print)
        };
        Self(files.into_iter().map(look).collect())
    }

    /// Adds files that were seen later; what was seen here stays as it is.
    pub(super) fn with(mut self, later: Self) -> Self {
        for (file, print) in later.0 {
            self.0.entry(file).or_insert(print);
        }
        self
    }

    /// The files.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        self.0.keys().cloned().collect()
    }

    fn changed_since(&self, before: &Self) -> Vec<PathBuf> {
        self.0
            .iter()
            .filter(|(file, print)| before.0.get(*file) != Some(*print))
            .map(|(file, _)| file.clone())
            .collect()
    }
}

impl Print {
    fn of(file: &Path) -> io::Result<Self> {
        let resolved = fs::canonicalize(file)?;
        let metadata: Metadata = fs::metadata(&resolved)?;
        Ok(Self {
            resolved,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            times: [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())],
        })
    }
}

/// Every file that a configuration is made of: its own, those of secrets and roots.
pub(super) fn of(config: &Config, file: Option<&Path>) -> BTreeSet<PathBuf> {
    let credentials = config.credentials.values().flat_map(|credential| credential.kind.references());
    let keys = config.keys.values().filter_map(|key| match &key.secret {
        KeySecret::Reference(reference) => Some(reference),
        KeySecret::Digest(_) => None,
    });
    let secrets = credentials.chain(keys).filter_map(|reference| match reference {
        SecretRef::File(path) => Some(path.as_path()),
        SecretRef::Env(_) | SecretRef::Command { .. } => None,
    });
    file.into_iter().chain(config.upstream.ca.as_deref()).chain(secrets).map(Path::to_owned).collect()
}

/// Watches over files.
pub(super) struct Watcher {
    seen: Seen,
    /// What the last look found, when it was something else; it counts once two looks agree.
    stirring: Option<Stirring>,
    next_look: Instant,
    look: Option<JoinHandle<Seen>>,
}

struct Stirring {
    seen: Seen,
    looks: u32,
}

impl Watcher {
    /// Watches for changes of what was seen.
    pub(super) fn new(seen: Seen) -> Self {
        Self { seen, stirring: None, next_look: Instant::now() + PAUSE, look: None }
    }

    /// What is watched, as it was seen last.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Watches for changes of this from now on.
    pub(super) fn watch(&mut self, seen: Seen) {
        *self = Self::new(seen);
    }

    /// Watches no other files from now on.
    pub(super) fn watch_only(&mut self, files: &BTreeSet<PathBuf>) {
        self.seen.0.retain(|file, _| files.contains(file));
        self.look = None;
    }

    /// Waits until files have changed and stand still, or go on changing for a second. May be dropped and called again.
    pub(super) async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            let seen = self.look().await;
            if seen == self.seen {
                self.stirring = None;
                continue;
            }
            let looks = self.stirring.as_ref().map_or(0, |stirring| stirring.looks);
            let stands_still = self.stirring.as_ref().is_some_and(|stirring| stirring.seen == seen);
            if stands_still || looks == MOST_LOOKS {
                let changed = seen.changed_since(&self.seen);
                self.seen = seen;
                self.stirring = None;
                return changed;
            }
            self.stirring = Some(Stirring { seen, looks: looks + 1 });
            self.next_look = Instant::now() + SHORT_PAUSE;
        }
    }

    /// Takes the next look when it is due; a file system that does not answer holds up nothing else.
    async fn look(&mut self) -> Seen {
        loop {
            if self.seen.0.is_empty() {
                return std::future::pending().await;
            }
            if self.look.is_none() {
                tokio::time::sleep_until(self.next_look).await;
                let files = self.seen.files();
                self.look = Some(tokio::task::spawn_blocking(move || Seen::of(files)));
            }
            let Some(look) = &mut self.look else { continue };
            let seen = look.await;
            self.look = None;
            self.next_look = Instant::now() + PAUSE;
            if let Ok(seen) = seen {
                return seen;
            }
        }
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at what may still be written.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
/// So many of those, and what does not stand still is taken as it is.
const MOST_LOOKS: u32 = 10;
