//! From the sources to the configuration: find the file, merge, type, check, all faults at once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::Environment;
use super::file::FileTree;
use super::finding::{Faults, Finding, Wrong};
use super::managed::{Addition, Managed, Overlay};
use super::place::{self, Origins, Place};
use super::raw::Table;
use super::salvage::Damaged;
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
    /// What it was made of, for what is added at run time; none for one that was not read from sources.
    pub base: Option<Base>,
}

impl Sources {
    /// The sources of this process, with the file of `--config`.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Self { file, environment: Environment::of_process(), folder }
    }
}

impl Loaded {
    /// A configuration that came from no source: nothing can be added to it.
    pub fn fixed(config: Config) -> Self {
        Self { config, warnings: Vec::new(), file: None, origins: Origins::new(), base: None }
    }

    /// The same without what was found out on the way.
    pub fn again(&self) -> Self {
        Self { file: self.file.clone(), base: self.base.clone(), ..Self::fixed(self.config.clone()) }
    }

    /// The same, whole.
    pub fn whole(&self) -> Self {
        Self { warnings: self.warnings.clone(), origins: self.origins.clone(), ..self.again() }
    }

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
    Base::read(sources)?.alone()
}

/// Like [`load`], for questions about names alone: variables and files that it refers to need not be there.
pub fn load_names(sources: &Sources) -> Result<Loaded, Faults> {
    Base::read_names(sources)?.alone()
}

/// Like [`load_names`], for a command that must work while the rest of the configuration is at fault: where the gateway
/// is, where its store lies, and how to get into both. Of a faulty configuration only that is left, beside its faults.
///
/// # Errors
///
/// Every fault, where one of them is in what is needed.
pub fn load_bearings(sources: &Sources) -> Result<(Loaded, Option<Faults>), Faults> {
    let base = Base::read_for(sources, Purpose::Names, Damage::LeftOut)?;
    let faults = match base.alone() {
        Ok(loaded) => return Ok((loaded, None)),
        Err(faults) => faults,
    };
    match base.bearings().alone() {
        Ok(loaded) => Ok((loaded, Some(faults))),
        Err(_) => Err(faults),
    }
}

/// What file and environment say, merged and not typed yet: what is added at run time goes on top, again and again,
/// without the sources being read anew. It may hold a secret that somebody wrote into the wrong place: no `Debug`.
#[derive(Clone)]
pub struct Base(Arc<Merged>);

struct Merged {
    tree: Table,
    file: Option<PathBuf>,
    folders: Folders,
    environment: Environment,
    /// What was found wrong with the sources as such.
    faults: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Base {
    /// Reads the sources to be used.
    pub fn read(sources: &Sources) -> Result<Self, Faults> {
        Self::read_for(sources, Purpose::Use, Damage::Refused)
    }

    /// Reads the sources for the names in them.
    pub fn read_names(sources: &Sources) -> Result<Self, Faults> {
        Self::read_for(sources, Purpose::Names, Damage::Refused)
    }

    fn read_for(sources: &Sources, purpose: Purpose, damage: Damage) -> Result<Self, Faults> {
        let found = find(sources)?;
        let (parsed, left_out) = found.as_ref().map(|found| found.parse(damage)).transpose()?.unzip();
        let file = found.map(|file| file.path);
        let environment = sources.environment.clone();
        let (variables, mut faults) = environment.settings();
        faults.extend(left_out.into_iter().flatten());
        let mut tree = raw::merge(parsed, variables)?;
        let folders = Folders::new(file.as_deref(), &sources.folder, purpose);
        let mut walk = Walk::new(folders.clone(), environment.clone(), faults, Vec::new());
        starter::add(&mut tree, &environment, &mut walk);
        let (faults, warnings) = walk.findings();
        Ok(Self(Arc::new(Merged { tree, file, folders, environment, faults, warnings })))
    }

    /// The configuration that it is by itself.
    pub fn alone(&self) -> Result<Loaded, Faults> {
        self.typed(&self.0.tree, self.0.folders.clone())
    }

    /// The configuration with what was added at run time, where it has no fault by itself. What of that cannot be used is left
    /// out with a warning: only what the sources say is ever at fault.
    pub fn with(&self, managed: &Managed) -> Result<Loaded, Faults> {
        let mut overlay = Overlay::over(&self.0.tree, managed);
        loop {
            match self.typed(&overlay.tree(&self.0.tree), self.known()) {
                Ok(mut loaded) => {
                    loaded.warnings.extend(overlay.warnings());
                    return Ok(loaded);
                }
                Err(faults) => overlay.without_faulty(faults)?,
            }
        }
    }

    /// What leads to the gateway that runs and to the store, without anything else, and without what is wrong with that.
    fn bearings(&self) -> Self {
        let Merged { tree, file, folders, environment, .. } = &*self.0;
        let kept = tree.iter().filter(|(key, _)| BEARINGS.contains(&key.as_str()));
        Self(Arc::new(Merged {
            tree: kept.map(|(key, node)| (key.clone(), node.clone())).collect(),
            file: file.clone(),
            folders: folders.clone(),
            environment: environment.clone(),
            faults: Vec::new(),
            warnings: Vec::new(),
        }))
    }

    /// Where files lie, which were there when the sources were read: what is added needs none of them.
    fn known(&self) -> Folders {
        self.0.folders.clone().for_names()
    }

    fn typed(&self, tree: &Table, folders: Folders) -> Result<Loaded, Faults> {
        let Merged { file, environment, faults, warnings, .. } = &*self.0;
        let mut walk = Walk::new(folders, environment.clone(), faults.clone(), warnings.clone());
        let (config, cleartext) = resolve::config(tree, &mut walk);
        agree::check(&config, &cleartext, &mut walk);
        let (config, warnings, origins) = walk.end(config)?;
        Ok(Loaded { config, warnings, file: file.clone(), origins, base: Some(self.clone()) })
    }

    /// What keeps an addition from being used beside what was added before: nothing if it can be, and if nothing that was
    /// in use would stay out of use because of it.
    pub fn objections(&self, managed: &Managed, addition: Addition) -> Vec<Finding> {
        let in_use = self.in_use(managed);
        let with = managed.with(addition.clone());
        let mut overlay = Overlay::over(&self.0.tree, &with);
        loop {
            match self.typed(&overlay.tree(&self.0.tree), self.known()) {
                Ok(_) => return Vec::new(),
                Err(faults) => {
                    let own: Vec<_> = faults.iter().filter_map(|fault| addition.objection(fault, &in_use)).collect();
                    if !own.is_empty() {
                        return own;
                    }
                    if let Err(others) = overlay.without_faulty(faults) {
                        return others.iter().cloned().collect();
                    }
                }
            }
        }
    }
}

impl Base {
    /// What of the additions is in use by itself.
    fn in_use<'m>(&self, managed: &'m Managed) -> Vec<&'m Addition> {
        let mut overlay = Overlay::over(&self.0.tree, managed);
        while let Err(faults) = self.typed(&overlay.tree(&self.0.tree), self.known()) {
            if overlay.without_faulty(faults).is_err() {
                break;
            }
        }
        overlay.standing()
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("file", &self.0.file).finish_non_exhaustive()
    }
}

struct Found {
    path: PathBuf,
    name: Arc<str>,
    text: String,
}

/// What becomes of tables of the file that are no TOML.
#[derive(Clone, Copy)]
enum Damage {
    /// Nothing is read beside them.
    Refused,
    /// They are faults of the rest, unless they lead to gateway and store.
    LeftOut,
}

impl Found {
    /// What stands in it, and the faults of what was left out.
    fn parse(&self, damage: Damage) -> Result<(FileTree, Vec<Finding>), Faults> {
        let parse = |text: &str| FileTree::parse(&self.path, &self.name, text);
        match (parse(&self.text), damage) {
            (Ok(tree), _) => Ok((tree, Vec::new())),
            (Err(fault), Damage::Refused) => Err((*fault).into()),
            (Err(_), Damage::LeftOut) => {
                Damaged::new(&self.text).without_faulty(&BEARINGS, parse).map_err(Faults::from)
            }
        }
    }
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

/// The settings that lead to the gateway and the store.
const BEARINGS: [&str; 3] = ["admin", "data_dir", "store"];

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
