//! Where a configuration came from, and its sources read again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::app::files::{self, Seen};
use crate::app::load;
use crate::app::secrets::{Fault, Secrets};
use crate::config::{Faults, Finding, Loaded, Place, Sources};

/// Where a configuration came from: at a reload it is loaded from there again.
#[derive(Clone)]
pub struct Provenance {
    /// Where it was looked for.
    pub sources: Sources,
    /// The file that was found.
    pub file: Option<PathBuf>,
}

impl Provenance {
    /// Loads the configuration from there again, and notes its files as they were before they were read; `watched` are
    /// those that were watched so far.
    pub(super) fn read(&self, watched: BTreeSet<PathBuf>) -> (Result<Loaded, Faults>, Seen) {
        let Self { sources, file } = self;
        let before = Seen::of(watched);
        let mut seen = Seen::default();
        let loaded = load::load(sources, |part| {
            seen = Seen::of(files::of(part, file.as_deref()));
            Secrets::faults_of_part(part)
        });
        let loaded = loaded.and_then(|loaded| match (file, &loaded.file) {
            (Some(file), None) => Err(gone(file).into()),
            _ => Ok(loaded),
        });
        if let Ok(loaded) = &loaded {
            seen = Seen::of(files::of(&loaded.config, loaded.file.as_deref()));
        }
        (loaded, before.with(seen))
    }
}

/// Without its file a configuration would be nothing but defaults: that takes a start.
fn gone(file: &Path) -> Finding {
    let name = file.to_string_lossy().into();
    let what = "the configuration file is not there any more".to_owned();
    let hint = "put it back, or start anew to do without one";
    Fault { key: "file".to_owned(), what, hint }.at(Place::File { name, line: None })
}

/// What is said of a loading that panicked.
pub(super) fn unfinished() -> Finding {
    let what = "the configuration could not be loaded to its end".to_owned();
    let hint = "this is a bug of closegate: the log says where";
    Fault { key: "config".to_owned(), what, hint }.at(Place::Default)
}
