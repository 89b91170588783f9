//! Pages of lists, entity tags, and the answers that carry them.

use axum::response::{IntoResponse as _, Response};
use http::header::{ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::admin::model::{CredentialView, KeyView, RouteView, Version};
use crate::admin::refusal::{Code, Refusal};
use crate::admin::respond::{JSON, json};
use crate::id::CredentialName;

/// Which part of a list is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// At most so many, by name.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u64>,
    /// Where the page before this one ended: its `next`.
    #[param(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    cursor: Option<String>,
    /// Only those with this text in their name or description; case does not matter.
    #[param(max_length = 100)]
    q: Option<String>,
}

/// A part of a list, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(in crate::admin) struct Page<T> {
    /// This page's.
    pub(in crate::admin) data: Vec<T>,
    /// The `cursor` of the next page, if there is one.
    pub(in crate::admin) next: Option<String>,
}

/// What is listed by its name.
pub(super) trait Listed: Serialize {
    const PATH: &'static str;

    fn name(&self) -> &str;
    fn description(&self) -> Option<&str>;
    fn version(&self) -> Version;
}

impl Listed for CredentialView {
    const PATH: &'static str = "credentials";

    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn version(&self) -> Version {
        self.version
    }
}

impl Listed for RouteView {
    const PATH: &'static str = "routes";

    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> Option<&str> {
        None
    }

    fn version(&self) -> Version {
        self.version
    }
}

impl Listed for KeyView {
    const PATH: &'static str = "keys";

    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn version(&self) -> Version {
        self.version
    }
}

impl PageQuery {
    /// That part of a list.
    pub(super) fn page<T: Listed>(self, mut list: Vec<T>) -> Result<Response, Refusal> {
        let limit = within(self.limit, 500, 100)?;
        if self.q.as_ref().is_some_and(|text| text.chars().count() > 100) {
            return Err(Refusal::new(Code::Malformed, "`q` is a text of at most 100 characters"));
        }
        if let Some(after) = self.cursor.map(|cursor| opened(&cursor)).transpose()? {
            list.retain(|one| one.name() > after.as_str());
        }
        if let Some(text) = self.q.map(|text| text.to_lowercase()) {
            let holds = |field: Option<&str>| field.is_some_and(|field| field.to_lowercase().contains(&text));
            list.retain(|one| holds(Some(one.name())) || holds(one.description()));
        }
        list.sort_by(|one, other| one.name().cmp(other.name()));
        let more = list.len() > limit;
        list.truncate(limit);
        let next = list.last().filter(|_| more).map(|last| last.name().to_owned());
        Ok(json(StatusCode::OK, JSON, &Page { data: list, next }))
    }
}

/// A limit that was asked for, in its bounds.
pub(super) fn within(limit: Option<u64>, most: u64, usual: u64) -> Result<usize, Refusal> {
    let limit = limit.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        return Ok(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Err(Refusal::new(Code::Malformed, format!("`limit` is a whole number from 1 to {most}")))
}

/// One thing with its tag.
pub(super) fn one<T: Listed>(status: StatusCode, one: &T) -> Response {
    tagged(json(status, JSON, one), one.version())
}

/// A thing that was just made: where it is, and its tag.
pub(super) fn made<T: Listed>(of: &T, body: &impl Serialize) -> Response {
    let mut response = tagged(json(StatusCode::CREATED, JSON, body), of.version());
    let place = HeaderValue::from_str(&format!("/api/v1/{}/{}", T::PATH, of.name()));
    response.headers_mut().extend(place.ok().map(|place| (LOCATION, place)));
    response
}

/// An answer with a tag.
pub(super) fn tagged(mut response: Response, version: Version) -> Response {
    let tag = HeaderValue::from_str(&format!("\"{version}\""));
    response.headers_mut().extend(tag.ok().map(|tag| (ETAG, tag)));
    response
}

/// Nothing more to say.
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn opened(cursor: &str) -> Result<String, Refusal> {
    // The names of all that is listed are of one shape.
    let name = CredentialName::parse(cursor).ok().map(|name| name.to_string());
    name.ok_or_else(|| Refusal::new(Code::Malformed, "`cursor` is the `next` of another page"))
}
