//! Grants in the memory of the process, gone with it: for a vault that serves nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::grants::{Condition, Doing, Flow, Grants, GrantsFault, Sharing, Stored};
use super::tokens::Tokens;
use crate::id::CredentialName;
use crate::store::{Event, Fence};

/// Grants that nobody else sees.
#[derive(Default)]
pub struct MemoryGrants {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    grants: BTreeMap<CredentialName, Grant>,
    flows: HashMap<[u8; 32], (Flow, Timestamp)>,
    links: HashMap<[u8; 32], (Zeroizing<String>, Timestamp)>,
}

struct Grant {
    tokens: Tokens,
    condition: Condition,
    fence: u64,
    held_until: Option<Instant>,
}

impl MemoryGrants {
    /// Forgets a grant, as a credential is removed.
    #[cfg(test)]
    pub(super) fn remove(&self, name: &CredentialName) {
        self.state().grants.remove(name);
        self.changes.send_modify(|change| *change += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a grant under a lease that nobody else has taken.
    fn under(&self, name: &CredentialName, fence: Fence, change: impl FnOnce(&mut Grant)) -> Result<(), GrantsFault> {
        let mut state = self.state();
        let grant = state.grants.get_mut(name).ok_or(GrantsFault::Absent)?;
        if grant.fence != fence.0 || grant.held_until.is_none() {
            return Err(GrantsFault::Stale);
        }
        change(grant);
        drop(state);
        self.changes.send_modify(|change| *change += 1);
        Ok(())
    }
}

impl Grants for MemoryGrants {
    fn stored<'a>(&'a self, name: &'a CredentialName) -> Doing<'a, Option<Stored>> {
        let state = self.state();
        let stored =
            state.grants.get(name).map(|grant| Stored { tokens: grant.tokens.again(), condition: grant.condition });
        drop(state);
        Box::pin(async { Ok(stored) })
    }

    fn lease<'a>(&'a self, name: &'a CredentialName, _: &'a str, time: Duration) -> Doing<'a, Option<Fence>> {
        Box::pin(async move {
            let (mut state, now) = (self.state(), Instant::now());
            let grant = state.grants.get_mut(name).ok_or(GrantsFault::Absent)?;
            if grant.held_until.is_some_and(|until| until > now) {
                return Ok(None);
            }
            grant.fence += 1;
            grant.held_until = Some(now + time);
            Ok(Some(Fence(grant.fence)))
        })
    }

    fn renew<'a>(&'a self, name: &'a CredentialName, fence: Fence, time: Duration) -> Doing<'a, ()> {
        Box::pin(async move { self.under(name, fence, |grant| grant.held_until = Some(Instant::now() + time)) })
    }

    fn release<'a>(&'a self, name: &'a CredentialName, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move { self.under(name, fence, |grant| grant.held_until = None) })
    }

    fn mark<'a>(&'a self, name: &'a CredentialName, condition: Condition, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move { self.under(name, fence, |grant| grant.condition = condition) })
    }

    fn keep<'a>(&'a self, name: &'a CredentialName, tokens: &'a Tokens, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move {
            self.under(name, fence, |grant| {
                grant.tokens = tokens.again();
                grant.condition = Condition::Ready;
            })
        })
    }

    fn put<'a>(&'a self, name: &'a CredentialName, tokens: &'a Tokens, _: &'a Event) -> Doing<'a, ()> {
        Box::pin(async move {
            let mut state = self.state();
            let fence = state.grants.get(name).map_or(1, |grant| grant.fence + 1);
            let grant = Grant { tokens: tokens.again(), condition: Condition::Ready, fence, held_until: None };
            state.grants.insert(name.clone(), grant);
            drop(state);
            self.changes.send_modify(|change| *change += 1);
            Ok(())
        })
    }

    fn prove<'a>(&'a self, _: &'a CredentialName) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn remember<'a>(&'a self, state: [u8; 32], flow: &'a Flow, until: Timestamp) -> Doing<'a, ()> {
        Box::pin(async move {
            self.state().flows.insert(state, (flow.again(), until));
            Ok(())
        })
    }

    fn look(&self, state: [u8; 32]) -> Doing<'_, Option<(Flow, Timestamp)>> {
        let known = self.state().flows.get(&state).map(|(flow, until)| (flow.again(), *until));
        Box::pin(async { Ok(known.filter(|(_, until)| *until > Timestamp::now())) })
    }

    fn lend<'a>(&'a self, ticket: [u8; 32], state: &'a str, until: Timestamp) -> Doing<'a, ()> {
        Box::pin(async move {
            self.state().links.insert(ticket, (Zeroizing::new(state.to_owned()), until));
            Ok(())
        })
    }

    fn redeem(&self, ticket: [u8; 32]) -> Doing<'_, Option<Zeroizing<String>>> {
        let taken = self.state().links.remove(&ticket);
        Box::pin(async { Ok(taken.filter(|(_, until)| *until > Timestamp::now()).map(|(state, _)| state)) })
    }

    fn take(&self, state: [u8; 32]) -> Doing<'_, Option<Flow>> {
        Box::pin(async move {
            let taken = self.state().flows.remove(&state);
            Ok(taken.filter(|(_, until)| *until > Timestamp::now()).map(|(flow, _)| flow))
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn sharing(&self) -> Sharing {
        Sharing::Alone
    }
}
