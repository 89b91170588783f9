//! What was added at run time, as it was read from the store at one moment, and as the configuration takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::DeserializeOwned;

use super::manage::{CredentialBody, KeyBody, RouteBody};
use crate::config::Managed;
use crate::id::{CredentialName, KeyName, RouteName};
use crate::store::{self, Record, Store, StoreError};

/// Everything that a store holds of credentials, routes and keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// Whether the store could be read at all.
    pub(super) is_read: bool,
    /// Which change made it so.
    pub(super) revision: u64,
    pub(super) credentials: BTreeMap<CredentialName, Kept<CredentialBody>>,
    pub(super) routes: BTreeMap<RouteName, Kept<RouteBody>>,
    pub(super) keys: BTreeMap<KeyName, Kept<KeyBody>>,
    /// Credentials that are out of use, those of the file among them.
    pub(super) disabled: BTreeSet<String>,
    /// Whether a gateway key was ever defined, be it gone.
    pub(super) keys_ever_defined: bool,
    /// The records that cannot be read, each with why; they stay as they are.
    unreadable: Vec<String>,
}

/// A record that could be read.
#[derive(Debug, Clone)]
pub(super) struct Kept<B> {
    pub(super) body: B,
    pub(super) version: u64,
    pub(super) updated_at: jiff::Timestamp,
    pub(super) sealed: Option<store::Sealed>,
}

impl Snapshot {
    /// What is taken for granted while the store could not be read yet: that it may have keys, so that no route is open
    /// which one of them has closed, and that what it said to be disabled when it was read last still is.
    pub(super) fn unread(disabled: BTreeSet<String>) -> Self {
        Self { keys_ever_defined: true, disabled, ..Self::default() }
    }

    /// Reads it; what is changed meanwhile is read again, so that all of it is of one moment.
    pub(super) async fn read(store: &Store) -> Result<Self, StoreError> {
        loop {
            let before = store.revision().await?;
            let mut snapshot = Self { is_read: true, revision: before, ..Self::default() };
            let unreadable = &mut snapshot.unreadable;
            snapshot.credentials =
                kept(store.records(store::Kind::Credential).await?, CredentialName::parse, unreadable);
            snapshot.routes = kept(store.records(store::Kind::Route).await?, RouteName::parse, unreadable);
            snapshot.keys = kept(store.records(store::Kind::Key).await?, KeyName::parse, unreadable);
            snapshot.disabled = store.disabled().await?;
            snapshot.keys_ever_defined = store.keys_ever_defined().await?;
            if store.revision().await? == before {
                return Ok(snapshot);
            }
        }
    }

    /// As tables of the configuration.
    pub(super) fn managed(&self) -> Managed {
        let mut managed = Managed::default();
        self.credentials.iter().for_each(|(name, kept)| managed.push(kept.body.addition(name)));
        self.routes.iter().for_each(|(name, kept)| managed.push(kept.body.addition(name.as_str())));
        self.keys.iter().filter_map(|(name, kept)| kept.body.addition(name.as_str())).for_each(|key| managed.push(key));
        managed
    }

    /// The same without its keys: a database that was lost for too long may know of some that are revoked.
    pub(super) fn without_keys(&self) -> Self {
        Self { keys: BTreeMap::new(), keys_ever_defined: true, ..self.clone() }
    }

    /// The same where more may have come to be that cannot be read: that there may be keys is taken for granted.
    pub(super) fn doubted(&self) -> Self {
        Self { is_read: false, keys_ever_defined: true, ..self.clone() }
    }

    /// What there is to say about it.
    pub(super) fn warn(&self) {
        for record in &self.unreadable {
            tracing::warn!("{record}; hint: was it written by a later closegate? it stays out of use");
        }
    }
}

/// The records that can be read, by name.
fn kept<N, B, F>(
    records: Vec<Record>,
    parse: impl Fn(&str) -> Result<N, F>,
    unreadable: &mut Vec<String>,
) -> BTreeMap<N, Kept<B>>
where
    N: Ord,
    B: DeserializeOwned,
    F: fmt::Display,
{
    let mut kept = BTreeMap::new();
    for Record { kind, name, version, body, sealed, updated_at } in records {
        match (parse(&name), serde_json::from_value(body)) {
            (Ok(name), Ok(body)) => {
                kept.insert(name, Kept { body, version, updated_at, sealed });
            }
            (Err(fault), _) => unreadable.push(format!("a {kind} of the store has no name that can be used: {fault}")),
            // The fault of a body may repeat what stands in it.
            (_, Err(_)) => unreadable.push(format!("the {kind} `{name}` of the store cannot be read")),
        }
    }
    kept
}
