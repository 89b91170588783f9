//! The store that a configuration names, with the key to it.

use std::path::Path;

use super::secrets::Fault;
use crate::config::{Config, StoreUrl};
use crate::store::{Otherwise, Place, Role, Store, StoreError};
use crate::vault::{Archive, ArchiveFault, MasterKey, Warning, Withheld};

/// The archive of a configuration. Nothing is opened and nothing made.
pub fn archive(config: &Config, role: Role) -> Archive {
    let key = match (&config.store.master_key, &config.store.url) {
        (Some(reference), _) => MasterKey::Reference(reference.clone()),
        (None, StoreUrl::Sqlite(path)) => MasterKey::Beside(path.with_file_name("master.key")),
        (None, StoreUrl::Memory | StoreUrl::Postgres(_)) => MasterKey::Passing,
    };
    Archive::new(Store::new(place(config, role), role), key, Withheld::of(config))
}

/// Opens what is there, and looks whether the master key is its own. A database that does not answer is no fault: what is
/// known without it works, and it is tried again; nor is one that a gateway would bring to its own version first.
pub(super) async fn check(archive: &Archive) -> Result<Option<Warning>, Fault> {
    let Err(fault) = archive.check().await else { return Ok(None) };
    let setting = match &fault {
        ArchiveFault::Key(_) | ArchiveFault::OtherKey { .. } => "store.master_key",
        ArchiveFault::Store(_) | ArchiveFault::Broken { .. } | ArchiveFault::Replaced { .. } => "store.url",
    };
    let (key, what, hint) = (setting.to_owned(), fault.to_string(), fault.hint());
    match fault {
        ArchiveFault::Store(StoreError::Unreachable { .. } | StoreError::Full { .. } | StoreError::Older { .. }) => {
            Ok(Some(Warning { key, what, hint }))
        }
        _ => Err(Fault { key, what, hint }),
    }
}

fn place(config: &Config, role: Role) -> Place {
    match &config.store.url {
        StoreUrl::Memory => Place::Memory,
        StoreUrl::Postgres(url) => Place::Postgres(url.whole().to_owned()),
        StoreUrl::Sqlite(path) => {
            // What the command line adds to memory would be gone at once.
            let may_pass = role == Role::Serving && path.parent() == Some(Path::new(&config.data_dir));
            let otherwise = if may_pass { Otherwise::Memory } else { Otherwise::Refuse };
            Place::Sqlite { path: path.clone(), otherwise }
        }
    }
}
