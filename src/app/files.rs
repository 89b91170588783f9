//! Looks once a second whether files have changed: the configuration's, those of secrets, roots and certificates.
//!
//! A file is looked at where its path leads now, so that a swapped symbolic link counts as well: Kubernetes replaces a
//! mounted secret by pointing `..data` at another folder. Nothing is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Config, KeySecret, SecretRef};
use crate::task;

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

/// Every file that a configuration is made of: its own, those of secrets, roots and certificates.
pub(super) fn of(config: &Config, file: Option<&Path>) -> BTreeSet<PathBuf> {
    let credentials = config.credentials.values().flat_map(|credential| credential.kind.references());
    let keys = config.keys.values().filter_map(|key| match &key.secret {
        KeySecret::Reference(reference) => Some(reference),
        KeySecret::Digest(_) | KeySecret::Peer => None,
    });
    let secrets = credentials.chain(keys).filter_map(|reference| match reference {
        SecretRef::File(path) | SecretRef::Systemd { path, .. } => Some(path.as_path()),
        SecretRef::Env(_) | SecretRef::Command { .. } | SecretRef::Stored { .. } => None,
    });
    let named = file.into_iter().chain(config.upstream.ca.as_deref()).chain(secrets).map(Path::to_owned);
    named.chain(certificates(config)).collect()
}

/// The files of its certificates alone.
pub(super) fn certificates(config: &Config) -> impl Iterator<Item = PathBuf> {
    let tables = config.all_listeners().filter_map(|named| named.listener.tls.as_ref()).chain(&config.admin.tls);
    tables.flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]).flatten().cloned()
}

/// Watches over files.
pub(super) struct Watcher {
    seen: Seen,
    /// What the last look found, when it was something else; it counts once two looks agree.
    stirring: Option<Stirring>,
    next_look: Instant,
    look: Option<Pin<Box<dyn Future<Output = Option<Seen>> + Send + Sync>>>,
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
            if let Some(changed) = self.settle(seen) {
                return changed;
            }
        }
    }

    /// What has changed, once two looks agree on it or there were many.
    fn settle(&mut self, seen: Seen) -> Option<Vec<PathBuf>> {
        let before = self.stirring.take();
        if seen == self.seen {
            return None;
        }
        let looks = before.as_ref().map_or(1, |before| before.looks + 1);
        if before.is_some_and(|before| before.seen == seen) || looks == MOST_LOOKS {
            let changed = seen.changed_since(&self.seen);
            self.seen = seen;
            return Some(changed);
        }
        self.stirring = Some(Stirring { seen, looks });
        self.next_look = Instant::now() + SHORT_PAUSE;
        None
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
                self.look = Some(Box::pin(task::aside(move || Seen::of(files))));
            }
            let Some(look) = &mut self.look else { continue };
            let seen = look.await;
            self.look = None;
            self.next_look = Instant::now() + PAUSE;
            if let Some(seen) = seen {
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
const MOST_LOOKS: u32 = 8;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn seen(folder: &Path, names: &[&str]) -> Seen {
        Seen::of(names.iter().map(|name| folder.join(name)).collect())
    }

    #[test]
    fn whatever_is_done_to_a_file_shows() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let look = || seen(folder.path(), &["file", "absent", "data/token"]);
        fs::create_dir_all(at("one")).unwrap();
        fs::create_dir_all(at("two")).unwrap();
        fs::write(at("file"), "first").unwrap();
        fs::write(at("one/token"), "same").unwrap();
        fs::hard_link(at("one/token"), at("two/token")).unwrap();
        symlink("one", at("data")).unwrap();
        let mut before = look();
        assert_eq!(look(), before);
        let mut expect = |changed: &[&str]| {
            let now = look();
            assert_eq!(now.changed_since(&before), changed.iter().map(|name| at(name)).collect::<Vec<_>>());
            before = now;
        };
        fs::write(at("file"), "longer than before").unwrap();
        expect(&["file"]);
        fs::write(at("new"), "longer than before").unwrap();
        fs::rename(at("new"), at("file")).unwrap();
        expect(&["file"]);
        fs::write(at("absent"), "").unwrap();
        expect(&["absent"]);
        // The same file, but by another way.
        symlink("two", at("new")).unwrap();
        fs::rename(at("new"), at("data")).unwrap();
        expect(&["data/token"]);
        fs::remove_file(at("file")).unwrap();
        expect(&["file"]);
        expect(&[]);
    }

    #[tokio::test]
    async fn what_is_still_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let write = |size: usize| {
            fs::write(folder.path().join("file"), vec![b'x'; size]).unwrap();
            seen(folder.path(), &["file"])
        };
        let mut watcher = Watcher::new(write(1));
        assert_eq!(watcher.settle(watcher.seen.clone()), None);
        let (half, whole) = (write(2), write(3));
        assert_eq!([watcher.settle(half), watcher.settle(whole.clone())], [None, None]);
        assert!(watcher.next_look < Instant::now() + SHORT_PAUSE, "the next look comes soon");
        let changed = Some(vec![folder.path().join("file")]);
        assert_eq!(watcher.settle(whole.clone()), changed);
        assert_eq!(watcher.settle(whole.clone()), None, "it is told once");
        // What was undone is no change.
        assert_eq!(
            [watcher.settle(write(4)), watcher.settle(whole.clone()), watcher.settle(write(5))],
            [None, None, None]
        );
        let told: Vec<_> = (6..).map(|size| watcher.settle(write(size))).take(MOST_LOOKS as usize - 1).collect();
        assert_eq!(
            (told.iter().flatten().count(), told.last()),
            (1, Some(&changed)),
            "what never ends is taken as it is"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_found_within_two_seconds_also_when_the_wait_was_broken_off() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "first").unwrap();
        let mut watcher = Watcher::new(seen(folder.path(), &["file"]));
        assert!(tokio::time::timeout(Duration::from_secs(60), watcher.changed()).await.is_err());
        let begun = Instant::now();
        fs::write(&file, "longer than before").unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(10), watcher.changed()).await.is_err());
        assert_eq!(watcher.changed().await, [file]);
        assert!(begun.elapsed() < Duration::from_millis(1200), "{:?}", begun.elapsed());
    }
}
