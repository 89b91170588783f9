//! Routes: added, changed and removed, with the checks that the configuration file has.

use jiff::Timestamp;
use serde_json::json;

use super::credentials::NAME;
use super::{Manager, RouteBody, agreed, events, expected, free, key_of, stored, unkept, view};
use crate::admin::model::{Actor, NewRoute, RouteSettings, RouteView, Version};
use crate::admin::{Kind, Refusal};
use crate::app::managed::Kept;
use crate::app::reload::Effective;
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
        let hidden = effective.hidden(Kind::Route, name.as_str(), effective.snapshot.routes.get(name), seen);
        if let Some(hidden) = hidden {
            return self.make(&effective, vec![hidden], events::discarded(by, "route.remove", name.as_str())).await;
        }
        let kept = effective.kept_route(name)?;
        let left = effective.leave_route(name)?;
        let event = events::event(by, "route.remove", name.as_str(), left.told());
        let step = Step::Remove(store::Kind::Route, name.to_string(), expected(seen, kept.version));
        self.make(&effective, std::iter::once(step).chain(left.steps).collect(), event).await
    }
}

impl Effective {
    fn kept_route(&self, name: &RouteName) -> Result<&Kept<RouteBody>, Refusal> {
        let declared = self.declared(&key_of(Kind::Route, name.as_str())).is_some();
        let kept = self.snapshot.routes.get(name).filter(|_| !declared);
        kept.ok_or_else(|| unkept(self, Kind::Route, name.as_str()))
    }
}

fn draft(name: &RouteName, body: &RouteBody) -> Result<Draft, Refusal> {
    Ok(Draft { kind: store::Kind::Route, name: name.to_string(), body: stored(body)?, sealed: None })
}

fn told(settings: &RouteSettings) -> serde_json::Value {
    json!({ "prefix": settings.prefix, "credential": settings.credential, "upstream": settings.upstream })
}
