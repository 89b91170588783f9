//! Where the master key comes from: a reference of the configuration, a file beside the store, or this process alone.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::seal::Keyring;
use super::source::{self, Withheld};
use crate::config::SecretRef;
use crate::task;

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

    /// Makes the key that is not there yet, and keeps it where it comes from; the one that somebody else has put there
    /// meanwhile is taken instead.
    pub(super) async fn make(&self, withheld: &Withheld) -> Result<Keyring, NoMasterKey> {
        let (ring, text) = Keyring::random().map_err(|_| no_randomness())?;
        let Self::Beside(path) = self else { return Ok(ring) };
        let kept = path.clone();
        match write(path, text, move |new| fs::hard_link(new, kept)).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return self.read(withheld).await?.ok_or_else(|| unwritten(path, &error));
            }
            Err(error) => return Err(unwritten(path, &error)),
        }
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

/// Held while the keys of a file are changed: nobody else changes them.
pub(super) struct Hold {
    _folder: File,
}

impl Hold {
    /// Takes it for the folder of a file; the system lets go of it whatever way the process ends.
    pub(super) fn of(path: &Path) -> Result<Self, NoMasterKey> {
        let path = fs::canonicalize(path).map_err(|error| unwritten(path, &error))?;
        let folder = File::open(folder(&path)).map_err(|error| unwritten(&path, &error))?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _folder: folder }),
            Err(Errno::WOULDBLOCK) => Err(NoMasterKey {
                what: format!("somebody else is changing the master key in `{}`", path.display()),
                hint: "wait until that `closegate store rekey` is over",
            }),
            Err(error) => Err(unwritten(&path, &error.into())),
        }
    }
}

/// Puts keys in the place of those in a file, at once; owner and permissions stay.
pub(super) async fn replace(path: &Path, ring: &Keyring, _: &Hold) -> Result<(), NoMasterKey> {
    // A symbolic link stays one.
    let path = fs::canonicalize(path).map_err(|error| unwritten(path, &error))?;
    let of = path.clone();
    let written = write(&path, ring.text(), move |new| {
        let before = fs::metadata(&of)?;
        let file = File::open(new)?;
        file.set_permissions(before.permissions())?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        fs::rename(new, &of)
    });
    written.await.map_err(|error| unwritten(&path, &error))
}

/// Writes a file beside the path under a name that nobody else has, durably, and has it put in its place.
async fn write(
    path: &Path,
    text: Zeroizing<String>,
    put: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let path = path.to_owned();
    let written = task::blocking(move || {
        let new = folder(&path).join(unused(&path)?);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let done = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| put(&new));
        // What was renamed is not there any more; what was linked, or went wrong, is.
        let _ = fs::remove_file(&new);
        done?;
        File::open(folder(&path))?.sync_all()
    });
    written.await.unwrap_or_else(|| Err(ErrorKind::Other.into()))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A hidden name for a file that will be another one.
fn unused(path: &Path) -> io::Result<OsString> {
    let mut random = [0; 8];
    rand::fill(&mut random).map_err(|_| ErrorKind::Other)?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}", u64::from_be_bytes(random)));
    Ok(name)
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
