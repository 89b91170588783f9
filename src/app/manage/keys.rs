//! Gateway keys: made, changed, rotated, revoked and removed. A key's text is shown once; the store has its digest.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::{FormerText, hash};
use super::credentials::{NAME, quoted};
use super::{KeyBody, Manager, agreed, events, expected, free, key_of, stored, unkept, view};
use crate::admin::model::{Actor, CreatedKey, KeyRotation, KeySettings, KeyText, KeyView, NewKey, Version};
use crate::admin::{Code, Kind, Refusal};
use crate::app::Rehearsal;
use crate::app::managed::Kept;
use crate::app::reload::Effective;
use crate::config;
use crate::id::{KeyName, RouteName};
use crate::keys::{self, NewKey as Made};
use crate::proxy::Openness;
use crate::store::{self, Draft, Expected, Step};

impl Manager {
    pub(super) async fn list_keys(&self) -> Result<Vec<KeyView>, Refusal> {
        let effective = self.effective().await?;
        let mut names: Vec<_> =
            effective.loaded.config.keys.keys().chain(effective.snapshot.keys.keys()).cloned().collect();
        names.sort();
        names.dedup();
        Ok(names.iter().filter_map(|name| view::key(&effective, name)).collect())
    }

    pub(super) async fn show_key(&self, name: &KeyName) -> Result<KeyView, Refusal> {
        view::key(&*self.effective().await?, name).ok_or_else(|| Refusal::not_found(Kind::Key, name))
    }

    pub(super) async fn insert_key(&self, new: NewKey, by: &Actor) -> Result<CreatedKey, Refusal> {
        let (name, settings) = new.into_parts();
        let name = KeyName::parse(&name).map_err(|fault| Refusal::field("name", fault.to_string(), NAME))?;
        let (effective, turn) = self.latest().await?;
        free(&effective, Kind::Key, name.as_str(), effective.snapshot.keys.contains_key(&name))?;
        let made = keys::generate().map_err(|_| Refusal::internal())?;
        let body = KeyBody {
            settings,
            id: id(&made),
            hash: hash(made.digest),
            former: None,
            created_at: Timestamp::now(),
            revoked_at: None,
        };
        agreed_key(&effective, &name, &body)?;
        let closed_routes = effective.open_routes();
        let event = events::event(by, "key.create", name.as_str(), told(&body));
        self.make(&effective, vec![Step::Insert(draft(&name, &body)?)], event).await?;
        drop(turn);
        Ok(CreatedKey { key: self.show_key(&name).await?, text: KeyText::new(made.text), closed_routes })
    }

    pub(super) async fn write_key(
        &self,
        name: &KeyName,
        to: KeySettings,
        seen: Option<Version>,
        by: &Actor,
    ) -> Result<KeyView, Refusal> {
        let (effective, turn) = self.latest().await?;
        let kept = effective.kept_key(name)?;
        let body = KeyBody { settings: to, ..kept.body.clone() };
        agreed_key(&effective, name, &body)?;
        let event = events::event(by, "key.update", name.as_str(), told(&body));
        self.make(&effective, vec![Step::Replace(draft(name, &body)?, expected(seen, kept.version))], event).await?;
        drop(turn);
        self.show_key(name).await
    }

    pub(super) async fn end_key(&self, name: &KeyName, by: &Actor) -> Result<KeyView, Refusal> {
        let (effective, turn) = self.latest().await?;
        let kept = effective.kept_key(name)?;
        if kept.body.revoked_at.is_none() {
            let body = KeyBody { revoked_at: Some(Timestamp::now()), former: None, ..kept.body.clone() };
            let step = Step::Replace(draft(name, &body)?, Expected::Any);
            self.make(&effective, vec![step], events::event(by, "key.revoke", name.as_str(), json!({}))).await?;
        }
        drop(turn);
        self.show_key(name).await
    }

    /// Gives a key another text; the one before goes on for a while, so that tools can be changed one by one.
    pub(super) async fn switch_text(
        &self,
        name: &KeyName,
        to: KeyRotation,
        seen: Option<Version>,
        by: &Actor,
    ) -> Result<CreatedKey, Refusal> {
        let (effective, turn) = self.latest().await?;
        let kept = effective.kept_key(name)?;
        if kept.body.revoked_at.is_some() {
            return Err(Refusal::new(Code::WrongState, format!("the key `{name}` is revoked")).hint("create a new key"));
        }
        let overlap = overlap(&to)?;
        let made = keys::generate().map_err(|_| Refusal::internal())?;
        let until = Timestamp::now().checked_add(overlap).ok().filter(|_| !overlap.is_zero());
        let former = until.map(|until| FormerText { hash: kept.body.hash.clone(), until });
        let body = KeyBody { id: id(&made), hash: hash(made.digest), former, ..kept.body.clone() };
        agreed_key(&effective, name, &body)?;
        let event = events::event(by, "key.rotate", name.as_str(), json!({ "former_until": until }));
        self.make(&effective, vec![Step::Replace(draft(name, &body)?, expected(seen, kept.version))], event).await?;
        drop(turn);
        Ok(CreatedKey { key: self.show_key(name).await?, text: KeyText::new(made.text), closed_routes: Vec::new() })
    }

    pub(super) async fn delete_key(&self, name: &KeyName, seen: Option<Version>, by: &Actor) -> Result<(), Refusal> {
        let (effective, _turn) = self.latest().await?;
        let hidden = effective.hidden(Kind::Key, name.as_str(), effective.snapshot.keys.get(name), seen);
        if let Some(hidden) = hidden {
            return self.make(&effective, vec![hidden], events::discarded(by, "key.remove", name.as_str())).await;
        }
        let kept = effective.kept_key(name)?;
        let step = Step::Remove(store::Kind::Key, name.to_string(), expected(seen, kept.version));
        self.make(&effective, vec![step], events::event(by, "key.remove", name.as_str(), json!({}))).await
    }
}

/// What becomes of the keys that name a route which is removed.
#[derive(Default)]
pub(super) struct Left {
    /// Their records without it: a later route of that name is none of theirs.
    pub(super) steps: Vec<Step>,
    keys: Vec<String>,
}

impl Left {
    /// What the event says of it.
    pub(super) fn told(&self) -> Value {
        if self.keys.is_empty() { json!({}) } else { json!({ "keys": self.keys }) }
    }
}

impl Effective {
    /// Takes a route out of the keys that name it, be they revoked; refuses where it is the only one of a key that is not.
    pub(super) fn leave_route(&self, route: &RouteName) -> Result<Left, Refusal> {
        let declared = self.loaded.config.keys.iter().filter(|(_, key)| key.routes.iter().all(|known| known == route));
        let mut lost: BTreeSet<&KeyName> = declared.map(|(name, _)| name).collect();
        let mut left = Left::default();
        for (name, kept) in &self.snapshot.keys {
            let mut body = kept.body.clone();
            body.settings.routes.retain(|known| known != route.as_str());
            match body.settings.routes.len() {
                same if same == kept.body.settings.routes.len() => {}
                0 if body.revoked_at.is_none() => drop(lost.insert(name)),
                _ => {
                    left.steps.push(Step::Replace(draft(name, &body)?, Expected::Version(kept.version)));
                    left.keys.push(name.to_string());
                }
            }
        }
        if lost.is_empty() {
            return Ok(left);
        }
        let keys: Vec<String> = lost.into_iter().map(ToString::to_string).collect();
        let detail = format!("the route `{route}` is the only one of {}", quoted("key", &keys));
        Err(Refusal::new(Code::InUse, detail).hint("revoke these keys, or give them another route"))
    }

    fn kept_key(&self, name: &KeyName) -> Result<&Kept<KeyBody>, Refusal> {
        let declared = self.declared(&key_of(Kind::Key, name.as_str())).is_some();
        let kept = self.snapshot.keys.get(name).filter(|_| !declared);
        kept.ok_or_else(|| unkept(self, Kind::Key, name.as_str()))
    }

    /// The routes that nobody needs a key for, because none was ever defined: the first key closes them.
    fn open_routes(&self) -> Vec<String> {
        let config = &self.loaded.config;
        if self.snapshot.keys_ever_defined || !config.keys.is_empty() {
            return Vec::new();
        }
        let Ok(rehearsal) = Rehearsal::of(config) else { return Vec::new() };
        let open = |name: &&RouteName| rehearsal.openness(name) == Some(Openness::Unguarded);
        config.routes.keys().filter(open).map(ToString::to_string).collect()
    }
}

fn agreed_key(effective: &Effective, name: &KeyName, body: &KeyBody) -> Result<(), Refusal> {
    match body.addition(name.as_str()) {
        Some(addition) => agreed(effective, &effective.snapshot.managed(), addition).map(drop),
        None => Ok(()),
    }
}

fn draft(name: &KeyName, body: &KeyBody) -> Result<Draft, Refusal> {
    Ok(Draft { kind: store::Kind::Key, name: name.to_string(), body: stored(body)?, sealed: None })
}

/// How long the text before a rotation goes on.
fn overlap(to: &KeyRotation) -> Result<Duration, Refusal> {
    let Some(said) = &to.overlap else { return Ok(OVERLAP) };
    let overlap = config::duration(said).filter(|overlap| *overlap <= LONGEST_OVERLAP);
    overlap.ok_or_else(|| {
        Refusal::field("overlap", "expected a duration up to 90 days", "such as `24h`, or `0s` for none")
    })
}

/// The part of a key's text that is safe to show: `cgk_<id>_…`.
fn id(made: &Made) -> String {
    made.text.split('_').nth(1).unwrap_or_default().to_owned()
}

fn told(body: &KeyBody) -> Value {
    json!({ "id": body.id, "routes": body.settings.routes, "scopes": body.settings.scopes })
}

const OVERLAP: Duration = Duration::from_secs(86_400);
const LONGEST_OVERLAP: Duration = Duration::from_secs(90 * 86_400);
