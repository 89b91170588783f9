//! Routes: added, changed and removed, with the checks that the configuration file has.

use jiff::Timestamp;
use serde_json::json;

use super::credentials::{NAME, quoted};
use super::{Manager, RouteBody, agreed, events, expected, free, key_of, stored, unkept, view};
use crate::admin::model::{Actor, NewRoute, RouteSettings, RouteView, Version};
use crate::admin::{Code, Kind, Refusal};
use crate::app::managed::Kept;
use crate::app::reload::Effective;
use crate::config;
use crate::id::RouteName;
use crate::store::{self, Draft, Step};

impl Manager {
    pub(super) async fn list_routes(&self) -> Result<Vec<RouteView>, Refusal> {
        let effective = self.effective().await?;
        let mut names: Vec<_> =
            effective.loaded.config.routes.keys().chain(effective.snapshot.routes.keys()).cloned().collect();
        names.sort();
        names.dedup();
        Ok(names.iter().filter_map(|name| view::route(&effective, name)).collect())
    }

    pub(super) async fn show_route(&self, name: &RouteName) -> Result<RouteView, Refusal> {
        view::route(&*self.effective().await?, name).ok_or_else(|| Refusal::not_found(Kind::Route, name))
    }

    pub(super) async fn insert_route(&self, new: NewRoute, by: &Actor) -> Result<RouteView, Refusal> {
        let (name, settings) = new.into_parts();
        let name = RouteName::parse(&name).map_err(|fault| Refusal::field("name", fault.to_string(), NAME))?;
        let (effective, turn) = self.latest().await?;
        free(&effective, Kind::Route, name.as_str(), effective.snapshot.routes.contains_key(&name))?;
        let body = RouteBody { settings, created_at: Timestamp::now() };
        agreed(&effective, &effective.snapshot.managed(), body.addition(name.as_str()))?;
        let event = events::event(by, "route.add", name.as_str(), told(&body.settings));
        self.make(&effective, vec![Step::Insert(draft(&name, &body)?)], event).await?;
        drop(turn);
        self.show_route(&name).await
    }

    pub(super) async fn write_route(
        &self,
        name: &RouteName,
        to: RouteSettings,
        seen: Option<Version>,
        by: &Actor,
    ) -> Result<RouteView, Refusal> {
        let (effective, turn) = self.latest().await?;
        let kept = effective.kept_route(name)?;
        let body = RouteBody { settings: to, created_at: kept.body.created_at };
        agreed(&effective, &effective.snapshot.managed(), body.addition(name.as_str()))?;
        let event = events::event(by, "route.update", name.as_str(), told(&body.settings));
        self.make(&effective, vec![Step::Replace(draft(name, &body)?, expected(seen, kept.version))], event).await?;
        drop(turn);
        self.show_route(name).await
    }

    pub(super) async fn delete_route(
        &self,
        name: &RouteName,
        seen: Option<Version>,
        by: &Actor,
    ) -> Result<(), Refusal> {
        let (effective, _turn) = self.latest().await?;
        let kept = effective.kept_route(name)?;
        effective.spare_route(name)?;
        let step = Step::Remove(store::Kind::Route, name.to_string(), expected(seen, kept.version));
        self.make(&effective, vec![step], events::event(by, "route.remove", name.as_str(), json!({}))).await
    }
}

impl Effective {
    fn kept_route(&self, name: &RouteName) -> Result<&Kept<RouteBody>, Refusal> {
        let declared = self.declared(&key_of(Kind::Route, name.as_str())).is_some();
        let kept = self.snapshot.routes.get(name).filter(|_| !declared);
        kept.ok_or_else(|| unkept(self, Kind::Route, name.as_str()))
    }

    /// Refuses to remove the only route of a key that can be used.
    pub(super) fn spare_route(&self, name: &RouteName) -> Result<(), Refusal> {
        let only = |key: &config::Key| key.routes.iter().all(|route| route == name);
        let keys = self.loaded.config.keys.iter().filter(|(_, key)| only(key));
        let keys: Vec<String> = keys.map(|(key, _)| key.to_string()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let detail = format!("the route `{name}` is the only one of {}", quoted("key", &keys));
        Err(Refusal::new(Code::InUse, detail).hint("revoke these keys, or give them another route"))
    }
}

fn draft(name: &RouteName, body: &RouteBody) -> Result<Draft, Refusal> {
    Ok(Draft { kind: store::Kind::Route, name: name.to_string(), body: stored(body)?, sealed: None })
}

fn told(settings: &RouteSettings) -> serde_json::Value {
    json!({ "prefix": settings.prefix, "credential": settings.credential, "upstream": settings.upstream })
}
