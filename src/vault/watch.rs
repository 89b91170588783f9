//! What keeps one credential usable, whatever its secret is: it is to be run on the service thread.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Means;
use super::entry::Entry;
use super::lookout::Lookout;
use super::oauth::Keeper;
use crate::id::CredentialName;

/// The watch over one credential, and the only writer of how it stands.
pub struct Watch(Kind);

enum Kind {
    /// Its secret lies elsewhere.
    Secret(Lookout),
    /// It is a grant, whose tokens the vault renews itself.
    Grant(Box<Keeper>),
}

impl Watch {
    /// Takes up the watch over an entry with what it knows; its credential may have had another one before.
    pub(super) fn begin(entry: &Arc<Entry>, means: &Arc<ArcSwap<Means>>, before: Option<&Entry>) -> Self {
        let (entry, means) = (Arc::clone(entry), Arc::clone(means));
        let kept = before.and_then(|before| before.renewal()?.kept());
        match Keeper::begin(Arc::clone(&entry), Arc::clone(&means), kept) {
            Some(keeper) => Self(Kind::Grant(Box::new(keeper))),
            None => Self(Kind::Secret(Lookout::begin(entry, means))),
        }
    }

    /// The credential.
    pub fn name(&self) -> &CredentialName {
        self.entry().name()
    }

    /// Watches until the credential is removed or changed.
    pub async fn run(self) {
        let entry = Arc::clone(self.entry());
        tokio::select! {
            biased;
            () = entry.retired() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(self) {
        match self.0 {
            Kind::Secret(lookout) => lookout.run().await,
            Kind::Grant(keeper) => keeper.run().await,
        }
    }

    fn entry(&self) -> &Arc<Entry> {
        match &self.0 {
            Kind::Secret(lookout) => lookout.entry(),
            Kind::Grant(keeper) => keeper.entry(),
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(self.entry()).finish()
    }
}
