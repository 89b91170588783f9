//! Which credentials are disabled, kept beside the store in a file of names: a gateway that starts while its database does
//! not answer sends none of those that it knew to be disabled.
//!
//! The store decides; the file says what it said last, in `data_dir`, and is made when something is first disabled. What
//! another replica has disabled since this one was last running stands in the database alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::secrets::Fault;
use crate::config::Config;
use crate::task;

/// Where it is remembered.
#[derive(Debug, Clone)]
pub(super) struct Remembered(PathBuf);

impl Remembered {
    /// In the data folder of a configuration.
    pub(super) fn of(config: &Config) -> Self {
        Self(config.data_dir.join(NAME))
    }

    /// The names that were kept; none where nothing ever was. What is there and cannot be read is a fault: it may name a
    /// credential that must not be sent.
    pub(super) async fn read(&self) -> Result<Option<BTreeSet<String>>, Fault> {
        let path = self.0.clone();
        let read = task::blocking(move || read(&path)).await;
        read.unwrap_or_else(|| Err(ErrorKind::Other.into())).map_err(|error| {
            let what = format!("`{}` tells what is disabled, and cannot be read ({})", self.0.display(), error.kind());
            let hint = "let this user read it, or start once the store answers";
            Fault { key: "data_dir".to_owned(), what, hint }
        })
    }

    /// Keeps these names. Where that cannot be done it is said, and the store knows them all the same.
    pub(super) async fn keep(&self, disabled: &BTreeSet<String>) {
        let (path, names) = (self.0.clone(), disabled.clone());
        let kept = task::blocking(move || keep(&path, &names)).await;
        if let Err(error) = kept.unwrap_or_else(|| Err(ErrorKind::Other.into())) {
            tracing::warn!(
                "what is disabled is not remembered in `{}` ({}): a start without the store would not know of it; hint: let \
                 this user write there",
                self.0.display(),
                error.kind()
            );
        }
    }
}

fn read(path: &Path) -> io::Result<Option<BTreeSet<String>>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all, and only where it makes a difference.
fn keep(path: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    // One that cannot be read is written anew.
    let known = read(path).ok();
    if known.flatten().is_some_and(|known| known == *names) || (names.is_empty() && !path.try_exists()?) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut text = HEAD.to_owned();
    names.iter().try_for_each(|name| writeln!(text, "{name}")).map_err(io::Error::other)?;
    let new = folder.join(format!(".{NAME}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

const NAME: &str = "disabled";
const HEAD: &str = "# Credentials that are disabled, as the store said last: for a start while it does not answer.\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test]
    async fn what_was_kept_is_read_again_and_nothing_is_made_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let remembered = Remembered(data.join(NAME));
        remembered.keep(&names(&[])).await;
        assert!(!data.exists());
        assert_eq!(remembered.read().await.unwrap(), None);
        for kept in [names(&["sales", "partner"]), names(&["partner"]), names(&[])] {
            remembered.keep(&kept).await;
            assert_eq!(remembered.read().await.unwrap(), Some(kept));
        }
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing lies about");
    }

    #[tokio::test]
    async fn what_is_there_and_cannot_be_read_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let remembered = Remembered(folder.path().join(NAME));
        // No text, whoever reads it.
        fs::write(folder.path().join(NAME), [0xff, b'\n']).unwrap();
        let fault = remembered.read().await.unwrap_err();
        assert!(fault.key == "data_dir" && fault.what.contains("cannot be read"), "{fault}");
        remembered.keep(&names(&["sales"])).await;
        assert_eq!(remembered.read().await.unwrap(), Some(names(&["sales"])));
    }
}
