//! Events: who changed what, when and from where, in the store and on stdout; never a secret.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ground::Ground;
use super::{Manager, refuse};
use crate::admin::model::{Actor, EventPage, EventQuery, EventView, NewEvent};
use crate::admin::{Answer, Code, Journal, Refusal};
use crate::store::{Event, Page, Recorded};
use crate::telemetry::{Happening, Telemetry};

/// An event of now.
pub(super) fn event(by: &Actor, action: &str, subject: &str, detail: Value) -> Event {
    Event {
        at: Timestamp::now(),
        actor: by.label(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        origin: by.from.map(|address| address.to_string()),
        detail,
    }
}

/// An event of now: a record went whose name the configuration has taken, and nothing else is different.
pub(super) fn discarded(by: &Actor, action: &str, subject: &str) -> Event {
    event(by, action, subject, json!({ "hidden": true }))
}

/// Says on stdout what happened, as one line.
pub(in crate::app) fn tell(telemetry: &Telemetry, event: &Event) {
    let Event { at, actor, action, subject, origin, detail } = event;
    let from = origin.as_deref();
    telemetry.happened(&Happening { time: *at, event: action, actor, subject, from, detail });
}

impl Journal for Manager {
    fn note(&self, noted: NewEvent) -> Answer<'_, ()> {
        let NewEvent { by, action, subject, detail } = noted;
        Box::pin(async move {
            let detail = if detail.is_empty() { Value::Null } else { Value::Object(detail) };
            self.note(event(&by, action, &subject.unwrap_or_default(), detail)).await;
            Ok(())
        })
    }
}

impl Manager {
    /// Says what happened where a gateway runs; stdout of the command line is for what it was asked.
    pub(super) fn tell(&self, event: &Event) {
        if let Ground::Running { telemetry, .. } = &self.ground {
            tell(telemetry, event);
        }
    }

    /// Notes what changed nothing in the store; a store that is lost keeps nobody from it.
    pub(super) async fn note(&self, event: Event) {
        self.tell(&event);
        if let Err(fault) = self.store().note(&event).await {
            tracing::warn!(action = %event.action, "an event is not in the store: {fault}; hint: {}", fault.hint());
        }
    }

    pub(super) async fn list_events(&self, query: EventQuery) -> Result<EventPage, Refusal> {
        let limit = query.limit.unwrap_or(USUAL).clamp(1, MOST);
        let mut before = match query.cursor.as_deref().map(str::parse) {
            None => None,
            Some(Ok(cursor)) => Some(cursor),
            Some(Err(_)) => return Err(Refusal::new(Code::Malformed, "`cursor` is no `next` of a page before")),
        };
        let mut data = Vec::new();
        loop {
            let page = Page { before, limit: u32::try_from(MOST).unwrap_or(u32::MAX) };
            let (events, next) = self.store().events(page).await.map_err(|fault| refuse::by_store(&fault))?;
            for recorded in events.into_iter().filter(|recorded| wanted(&query, &recorded.event)) {
                if data.len() == limit {
                    let next = data.last().map(|last: &EventView| last.id.to_string());
                    return Ok(EventPage { data, next });
                }
                data.push(view(recorded));
            }
            before = next;
            if before.is_none() {
                return Ok(EventPage { data, next: None });
            }
        }
    }
}

fn wanted(query: &EventQuery, event: &Event) -> bool {
    let action = |action: &String| {
        if action.ends_with('.') { event.action.starts_with(action.as_str()) } else { event.action == *action }
    };
    query.actor.as_ref().is_none_or(|actor| event.actor == *actor)
        && query.action.as_ref().is_none_or(action)
        && query.subject.as_ref().is_none_or(|subject| event.subject == *subject)
}

fn view(Recorded { id, event }: Recorded) -> EventView {
    let Event { at, actor, action, subject, origin, detail } = event;
    let detail = match detail {
        Value::Object(detail) => detail,
        _ => serde_json::Map::new(),
    };
    EventView { id, at, actor, action, subject: Some(subject).filter(|one| !one.is_empty()), from: origin, detail }
}

const USUAL: usize = 100;
const MOST: usize = 500;
