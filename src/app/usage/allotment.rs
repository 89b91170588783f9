//! Daily quotas between the store, which knows how much of a day was given to whom, and the keys that want more of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::id::KeyName;
use crate::keys::{Allotments, DayCount, KeySet, Want, Wish};
use crate::store::{self, Store, StoreError};

/// What this process was given.
#[derive(Default)]
pub(super) struct Quotas {
    allotments: Arc<Allotments>,
    /// Whoever was given something.
    given: Mutex<BTreeMap<KeyName, Wish>>,
}

impl Quotas {
    pub(super) fn of(allotments: Option<Arc<Allotments>>) -> Self {
        Self { allotments: allotments.unwrap_or_default(), given: Mutex::default() }
    }

    /// Gives out parts as they are wanted. While the store is away requests go ahead of what was given, and the store is
    /// told once it is back.
    pub(super) async fn give_out(&self, store: &Store) -> Infallible {
        loop {
            let wishes = self.allotments.wishes().await;
            match self.ask(store, &wishes).await {
                Ok(()) => self.allotments.give(),
                Err(fault) => {
                    tracing::debug!("daily quotas go on from memory: {fault}");
                    self.allotments.lend(wishes);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Gives back what was not used. Afterwards nothing is given any more.
    pub(super) async fn give_back(&self, store: &Store) {
        let given = std::mem::take(&mut *self.given.lock().unwrap_or_else(PoisonError::into_inner));
        let now = SystemTime::now();
        let rests = given.values().map(|wish| (wish.name().to_string(), wish.rest(now)));
        let rests: Vec<_> =
            rests.filter(|(_, rest)| rest.count > 0).map(|(name, rest)| (name, rest.day, rest.count)).collect();
        if let Err(fault) = store.give_back(&rests).await {
            tracing::warn!("what is left of daily quotas is not given back: {fault}; hint: {}", fault.hint());
        }
    }

    async fn ask(&self, store: &Store, wishes: &[Wish]) -> Result<(), StoreError> {
        let now = SystemTime::now();
        let wants: Vec<Want> = wishes.iter().map(|wish| wish.want(now)).collect();
        let asks: Vec<store::Ask> = wishes.iter().zip(&wants).map(|(wish, want)| ask(wish, *want)).collect();
        for ((wish, want), given) in wishes.iter().zip(wants).zip(store.allot(&asks).await?) {
            wish.take(want, DayCount { day: given.day, count: given.total }, given.granted);
            let mut known = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(wish.name().clone(), wish.clone());
        }
        Ok(())
    }
}

/// Has keys know what of their day was given before this process.
pub(crate) async fn remind(store: &Store, keys: &KeySet) {
    for (name, day, count) in store.allowances().await.unwrap_or_default() {
        if let Some(key) = KeyName::parse(&name).ok().and_then(|name| keys.named(&name)) {
            key.quota.restore(DayCount { day, count });
        }
    }
}

fn ask(wish: &Wish, want: Want) -> store::Ask {
    let Want { day, most, more, overdrawn } = want;
    store::Ask { name: wish.name().to_string(), day, most, more, overdrawn }
}

/// Between two attempts while the store is away.
const PAUSE: Duration = Duration::from_secs(1);
