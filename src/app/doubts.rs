//! What is allowed and may be meant otherwise: each is said when it comes up, and not again while it stands.

use std::collections::HashSet;

use super::bell::Scope;
use crate::config::Finding;
use crate::vault::Warning;

/// What was said of secrets when they were read last: setting and what.
#[derive(Default)]
pub(super) struct Doubts(HashSet<(String, String)>);

impl Doubts {
    /// Says what was not said before. Where everything was read, what is not among it stands no longer.
    pub(super) fn tell(&mut self, scope: Scope, warnings: &[Warning]) {
        let said = |Warning { key, what, .. }: &Warning| (key.clone(), what.clone());
        for warning in warnings.iter().filter(|warning| !self.0.contains(&said(warning))) {
            tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
        }
        if scope == Scope::Everything {
            self.0.clear();
        }
        self.0.extend(warnings.iter().map(said));
    }
}

/// Says what was found in a configuration and not in the one before it, wherever it stands by now.
pub(super) fn tell_new(before: &[Finding], now: &[Finding]) {
    let known: HashSet<_> = before.iter().map(|known| (known.key.as_str(), &*known.what)).collect();
    for warning in now.iter().filter(|warning| !known.contains(&(warning.key.as_str(), &*warning.what))) {
        tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
    }
}
