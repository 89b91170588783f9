//! From the sources to the configuration: find the file, merge, type, check, all faults at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::Environment;
use super::file::FileTree;
use super::finding::{Faults, Finding, Wrong};
use super::place::{self, Origins, Place};
use super::walk::{Folders, Purpose, Walk};
use super::{Config, agree, raw, resolve, starter};
use crate::id::RouteName;

/// Where configuration comes from.
#[derive(Clone)]
pub struct Sources {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// The working directory.
    pub folder: PathBuf,
}

/// A configuration without a fault, and what there is to say about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed and may be meant otherwise.
    pub warnings: Vec<Finding>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Where each known key came from.
    pub origins: Origins,
}

impl Sources {
    /// The sources of this process, with the file of `--config`.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Self { file, environment: Environment::of_process(), folder }
    }
}

impl Loaded {
    /// Where a key came from; of one that was not given, where the table around it did.
    ///
    /// The default route of a credential stands where the credential does.
    pub fn place(&self, key: &str) -> Place {
        place::of(&self.origins, key)
    }

    /// Whether nobody declared the route: its credential has it by default.
    pub fn is_default_route(&self, name: &RouteName) -> bool {
        // Of a table that was read each setting is known, given or not.
        !self.origins.contains_key(&format!("routes.{name}.prefix"))
    }
}

/// Reads defaults, file and environment into one configuration, or says everything that is wrong with it.
///
/// Variables and files that it refers to must be there. No secret is read, and none is printed in a fault.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    load_for(sources, Purpose::Use)
}

/// Like [`load`], for questions about names alone: variables and files that it refers to need not be there.
pub fn load_names(sources: &Sources) -> Result<Loaded, Faults> {
    load_for(sources, Purpose::Names)
}

fn load_for(sources: &Sources, purpose: Purpose) -> Result<Loaded, Faults> {
    let found = find(sources)?;
    let file = match &found {
        Some(file) => Some(FileTree::parse(&file.path, &file.name, &file.text).map_err(|fault| Faults::from(*fault))?),
        None => None,
    };
    let path = found.map(|file| file.path);
    let (variables, faults) = sources.environment.settings();
    let mut tree = raw::merge(file, variables)?;
    let folders = Folders::new(path.as_deref(), &sources.folder, purpose);
    let mut walk = Walk::new(folders, sources.environment.clone(), faults);
    starter::add(&mut tree, &sources.environment, &mut walk);
    let (config, cleartext) = resolve::config(&tree, &mut walk);
    agree::check(&config, &cleartext, &mut walk);
    let (config, warnings, origins) = walk.end(config)?;
    Ok(Loaded { config, warnings, file: path, origins })
}

struct Found {
    path: PathBuf,
    name: Arc<str>,
    text: String,
}

/// The first file there is (contract.md 3); one that was named must be there.
fn find(sources: &Sources) -> Result<Option<Found>, Faults> {
    if let Some(file) = &sources.file {
        return read(&sources.folder, file).map(Some).map_err(|error| unreadable("--config", file, &error));
    }
    if let Some(file) = sources.environment.path(VARIABLE) {
        let file = Path::new(file);
        return read(&sources.folder, file).map(Some).map_err(|error| unreadable(VARIABLE, file, &error));
    }
    for file in usual(&sources.environment) {
        match read(&sources.folder, &file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable("file", &file, &error)),
            Ok(found) => return Ok(Some(found)),
        }
    }
    Ok(None)
}

/// Where a file that nobody named may lie.
fn usual(environment: &Environment) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("closegate.toml")];
    let said = environment.path("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = said.or_else(|| environment.path("HOME").map(|home| Path::new(home).join(".config")));
    files.extend(folder.map(|folder| folder.join("closegate/closegate.toml")));
    files.push(PathBuf::from("/etc/closegate/closegate.toml"));
    files
}

fn read(folder: &Path, file: &Path) -> std::io::Result<Found> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path)?;
    let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into();
    Ok(Found { path, name, text })
}

fn unreadable(key: &'static str, file: &Path, error: &std::io::Error) -> Faults {
    let place = Place::File { name: file.to_string_lossy().into(), line: None };
    let what = format!("the configuration file cannot be read ({})", error.kind());
    Wrong::new(what, "name a file that exists and that this user may read").at(key, place).into()
}

const VARIABLE: &str = "CLOSEGATE_CONFIG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_places_are_those_of_the_contract() {
        let xdg = [("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")].into_iter().collect();
        let [here, there, etc] = usual(&xdg).try_into().unwrap();
        assert_eq!(here, Path::new("closegate.toml"));
        assert_eq!(there, Path::new("/x/closegate/closegate.toml"));
        assert_eq!(etc, Path::new("/etc/closegate/closegate.toml"));
        let home = [("XDG_CONFIG_HOME", "relative"), ("HOME", "/h")].into_iter().collect();
        assert_eq!(usual(&home)[1], Path::new("/h/.config/closegate/closegate.toml"));
    }
}
