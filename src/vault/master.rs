//! Where the master key comes from: a reference of the configuration, a file beside the store, or this process alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::seal::Keyring;
use super::source::{self, Withheld};
use crate::config::SecretRef;

/// Where the master key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKey {
    /// A reference: one key or more, the one to seal under first.
    Reference(SecretRef),
    /// A file beside the store, made on first need.
    Beside(PathBuf),
    /// One that lives no longer than this process, for a store that does not either.
    Passing,
}

/// Why there is no master key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NoMasterKey {
    /// What is wrong, for people; never what was read.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl MasterKey {
    /// Reads the keys; none where they are still to be made.
    pub(super) async fn read(&self, withheld: &Withheld) -> Result<Option<Keyring>, NoMasterKey> {
        let file;
        let reference = match self {
            Self::Reference(reference) => reference,
            Self::Passing => return Ok(None),
            Self::Beside(path) if !path.exists() => return Ok(None),
            Self::Beside(path) => {
                file = SecretRef::File(path.clone());
                &file
            }
        };
        let (text, _) = source::bytes(reference, withheld).await.map_err(|unread| unread.of_master_key())?;
        let ring = Keyring::parse(&text);
        let named = source::place(reference);
        ring.map(Some).map_err(|fault| NoMasterKey { what: format!("{named} {fault}"), hint: MAKE })
    }

    /// Makes the key that is not there yet, and keeps it where it comes from.
    pub(super) async fn make(&self) -> Result<Keyring, NoMasterKey> {
        let (ring, text) = Keyring::random().map_err(|_| no_randomness())?;
        let Self::Beside(path) = self else { return Ok(ring) };
        let kept = path.clone();
        write(path, text, move |new| keep(new, &kept)).await?;
        tracing::warn!(
            "the master key of the store was made: `{}`; hint: keep a copy of it apart from the store, or set \
             `store.master_key`: without it no secret of the store can be read, with it every one",
            path.display()
        );
        Ok(ring)
    }

    /// The file that a new key can be written to.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Reference(SecretRef::File(path)) | Self::Beside(path) => Some(path),
            Self::Reference(_) | Self::Passing => None,
        }
    }
}

/// Puts keys in the place of those in a file, at once; owner and permissions stay.
pub(super) async fn replace(path: &Path, ring: &Keyring) -> Result<(), NoMasterKey> {
    // A symbolic link stays one.
    let path = fs::canonicalize(path).map_err(|error| unwritten(path, &error))?;
    let of = path.clone();
    write(&path, ring.text(), move |new| {
        let before = fs::metadata(&of)?;
        let file = File::open(new)?;
        file.set_permissions(before.permissions())?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        fs::rename(new, &of)
    })
    .await
}

/// Writes a file beside the path, durably, and has it put in its place.
async fn write(
    path: &Path,
    text: Zeroizing<String>,
    put: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
) -> Result<(), NoMasterKey> {
    let (path, named) = (path.to_owned(), path.to_owned());
    let written = tokio::task::spawn_blocking(move || {
        let mut new = path.clone().into_os_string();
        new.push(".new");
        let new = PathBuf::from(new);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let done = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| put(&new));
        if done.is_err() {
            // What is wrong is told; that this stays is the lesser trouble.
            let _ = fs::remove_file(&new);
        }
        done?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(unwritten(&named, &error)),
        Err(_) => Err(unwritten(&named, &io::ErrorKind::Other.into())),
    }
}

/// In its place unless somebody else has put one there meanwhile.
fn keep(new: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(new, path)?;
    fs::remove_file(new)
}

fn unwritten(path: &Path, error: &io::Error) -> NoMasterKey {
    let what = format!("the file of the master key, `{}`, cannot be written ({})", path.display(), error.kind());
    NoMasterKey { what, hint: "let this user write there, or set `store.master_key`" }
}

pub(super) fn no_randomness() -> NoMasterKey {
    NoMasterKey { what: "the system gives no random numbers".to_owned(), hint: "is `getrandom` permitted?" }
}

/// How one is made.
pub(super) const MAKE: &str = "`openssl rand -base64 32` makes one";
