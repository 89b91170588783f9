//! Pages of lists, entity tags, and the answers that carry them.

use std::cmp::Ordering;

use axum::response::{IntoResponse as _, Response};
use http::header::{ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::admin::model::{CredentialView, KeyView, RouteView, Version};
use crate::admin::refusal::{Code, Refusal};
use crate::admin::respond::{JSON, json};
use crate::id::CredentialName;

/// Which routes are asked for.
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
    /// Only those with this text in their name, prefix, credential or upstream; case does not matter.
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
    /// How many there are on all pages together.
    #[serde(default)]
    pub(in crate::admin) total: usize,
}

/// What is listed by its name.
pub(super) trait Listed: Serialize {
    const PATH: &'static str;

    fn name(&self) -> &str;
    /// What is searched.
    fn words(&self) -> Vec<&str>;
    fn version(&self) -> Version;
}

impl Listed for CredentialView {
    const PATH: &'static str = "credentials";

    fn name(&self) -> &str {
        &self.name
    }

    fn words(&self) -> Vec<&str> {
        let organization = self.organization.as_ref().and_then(|organization| organization.name.as_deref());
        let user = self.user.iter().flat_map(|user| [user.name.as_deref(), user.email.as_deref()]);
        let more = [self.description.as_deref(), organization, self.key_id.as_deref()];
        more.into_iter().chain(user).flatten().chain([self.name.as_str()]).collect()
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

    fn words(&self) -> Vec<&str> {
        vec![&self.name, &self.prefix, &self.credential, &self.upstream]
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

    fn words(&self) -> Vec<&str> {
        let more = [self.description.as_deref(), self.id.as_deref(), Some(self.name.as_str())];
        more.into_iter().flatten().chain(self.routes.iter().map(String::as_str)).collect()
    }

    fn version(&self) -> Version {
        self.version
    }
}

impl PageQuery {
    /// That part of a list.
    pub(super) fn page<T: Listed>(self, list: Vec<T>) -> Result<Response, Refusal> {
        let Self { limit, cursor, q } = self;
        Part { limit, cursor, q, order: None }.of(list, |_| true)
    }
}

/// A part of a list of such things, as it is asked for.
pub(super) struct Part<T> {
    pub(super) limit: Option<u64>,
    pub(super) cursor: Option<String>,
    pub(super) q: Option<String>,
    /// What is alike by it is ordered by name; so is everything without it.
    pub(super) order: Option<fn(&T, &T) -> Ordering>,
}

impl<T: Listed> Part<T> {
    /// That part, of what fits.
    pub(super) fn of(self, mut list: Vec<T>, fits: impl Fn(&T) -> bool) -> Result<Response, Refusal> {
        let limit = within(self.limit, 500, 100)?;
        if self.q.as_ref().is_some_and(|text| text.chars().count() > 100) {
            return Err(Refusal::new(Code::Malformed, "`q` is a text of at most 100 characters"));
        }
        let order = self.order.unwrap_or(|_, _| Ordering::Equal);
        list.sort_by(|one, other| order(one, other).then_with(|| one.name().cmp(other.name())));
        let begins = self.cursor.as_deref().map_or(Ok(0), |after| self.after(after, &list))?;
        let wanted = self.q.map(|text| text.to_lowercase());
        let holds = |one: &T, text: &str| one.words().into_iter().any(|word| word.to_lowercase().contains(text));
        let fits = |one: &T| fits(one) && wanted.as_deref().is_none_or(|text| holds(one, text));
        let rest = list.split_off(begins);
        let before = list.iter().filter(|one| fits(one)).count();
        let mut data: Vec<T> = rest.into_iter().filter(|one| fits(one)).collect();
        let total = before + data.len();
        let more = data.len() > limit;
        data.truncate(limit);
        let next = data.last().filter(|_| more).map(|last| last.name().to_owned());
        Ok(json(StatusCode::OK, JSON, &Page { data, next, total }))
    }

    /// Where a list goes on after a page that ended with this name.
    fn after(&self, cursor: &str, list: &[T]) -> Result<usize, Refusal> {
        // The names of all that is listed are of one shape.
        let name = opened("cursor", cursor)?;
        let ended = list.iter().position(|one| one.name() == name.as_str());
        Ok(match (ended, self.order) {
            (Some(place), _) => place + 1,
            (None, None) => list.partition_point(|one| one.name() < name.as_str()),
            // It was removed meanwhile, and with it the place that it had in this order: better twice than not at all.
            (None, Some(_)) => 0,
        })
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

/// A name that stands in a query.
pub(super) fn opened(field: &str, text: &str) -> Result<CredentialName, Refusal> {
    CredentialName::parse(text).map_err(|_| Refusal::new(Code::Malformed, format!("`{field}` is no name")))
}
