//! Loads a configuration, and says with its faults what else is wrong: the secrets of the part that could be typed.

use super::Fault;
use crate::config::{self, Config, Faults, Finding, Loaded, Place, Sources};

/// Reads the configuration; when it has faults, those that `more` finds in what could be typed are told with them.
pub fn load(sources: &Sources, more: impl FnOnce(&Config) -> Vec<Fault>) -> Result<Loaded, Faults> {
    config::load(sources).map_err(|mut faults| {
        let more = faults.part().map(more).unwrap_or_default();
        // What is wrong with a setting is said once, and of a default in its place there is nothing to say.
        let more = more.into_iter().filter(|fault| !faults.concern(&fault.key));
        let more: Vec<_> = more.map(|fault| (faults.place(&fault.key), fault)).collect();
        faults.append(more.into_iter().map(|(place, fault)| fault.at(place)));
        faults
    })
}

impl Fault {
    /// The fault as one of the configuration: with the place of its setting.
    pub fn at(self, place: Place) -> Finding {
        Finding { key: self.key, place, what: self.what.into(), hint: self.hint.into() }
    }
}
