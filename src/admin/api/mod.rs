//! The admin API: what can be asked, under which path; the document of it is made from the same lines.

use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::response::Response;
use axum::{Router, middleware};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::attempts::Attempts;
use super::gate;
use super::house::House;
use super::invitation::Invitation;
use super::journal::Journal;
use super::management::Management;
use super::model::Place;
use super::refusal::Refusal;
use super::respond::closed;
use super::session::Sessions;
use super::tokens::{Token, Tokens};
use super::ui;

mod callback;
mod credentials;
mod departure;
mod document;
mod keys;
mod listing;
mod overview;
mod page;
mod request;
mod routes;
mod sign_in;

pub(super) use self::page::Page;

/// What the admin API works with.
pub struct Desk {
    /// Does what is asked.
    pub management: Arc<dyn Management>,
    /// Keeps the sessions of browsers.
    pub sessions: Arc<dyn Sessions>,
    /// Writes down who signs in.
    pub journal: Arc<dyn Journal>,
    /// Who may ask.
    pub tokens: Tokens,
    /// The names of the listener.
    pub house: House,
    pub(super) attempts: Attempts,
    /// Lets one person in without a token.
    pub(super) invitation: Option<Invitation>,
    /// What the gateway says of itself.
    pub(super) place: Place,
}

/// The admin API of a listener.
pub struct Api {
    desk: Arc<Desk>,
    router: OnceLock<Router>,
}

impl Desk {
    /// What an API is made of.
    pub fn new(
        management: Arc<dyn Management>,
        sessions: Arc<dyn Sessions>,
        journal: Arc<dyn Journal>,
        tokens: Tokens,
        house: House,
    ) -> Self {
        Self {
            management,
            sessions,
            journal,
            tokens,
            house,
            attempts: Attempts::new(),
            invitation: None,
            place: Place::default(),
        }
    }

    /// Lets one person in who follows a link.
    #[must_use]
    pub fn inviting(self, invitation: Invitation) -> Self {
        Self { invitation: Some(invitation), ..self }
    }

    /// The token for which somebody is let in who followed the link. The first credential ends it, wherever that was added.
    async fn invited(&self, text: &[u8]) -> Result<Option<&Token>, Refusal> {
        let Some(invitation) = self.invitation.as_ref().filter(|invitation| invitation.fits(text)) else {
            return Ok(None);
        };
        if !self.management.credentials().await?.is_empty() {
            invitation.end();
        }
        let token = self.tokens.of_an_admin();
        Ok(token.filter(|_| invitation.accept(text)))
    }

    /// There is a credential: the first run is over.
    fn begun(&self) {
        self.invitation.iter().for_each(Invitation::end);
    }

    /// Tells where tools reach the gateway.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

impl Api {
    /// An API on this desk.
    pub fn new(desk: Desk) -> Self {
        Self { desk: Arc::new(desk), router: OnceLock::new() }
    }

    /// Answers a request. Paths and document are made for the first one: neither a start nor a gateway that nobody
    /// manages pays for them.
    pub(super) async fn answer(self: Arc<Self>, request: Request) -> Response {
        let router = self.router.get_or_init(|| router(&self.desk)).clone();
        router.oneshot(request).await.unwrap_or_else(|never| match never {})
    }
}

fn router(desk: &Arc<Desk>) -> Router {
    let (router, document) = paths().split_for_parts();
    let document = document::finished(document);
    let router = router.merge(document::router(&document)).merge(ui::routes()).with_state(Arc::clone(desk));
    closed(router).layer(middleware::from_fn_with_state(Arc::clone(desk), gate::admit))
}

/// The document of the API, in OpenAPI 3.1.
pub fn openapi() -> utoipa::openapi::OpenApi {
    document::finished(paths().split_for_parts().1)
}

fn paths() -> OpenApiRouter<Arc<Desk>> {
    OpenApiRouter::with_openapi(document::begun())
        .routes(routes!(credentials::list, credentials::add))
        .routes(routes!(credentials::get, credentials::update, credentials::remove))
        .routes(routes!(credentials::verify))
        .routes(routes!(credentials::rotate))
        .routes(routes!(credentials::disable))
        .routes(routes!(credentials::enable))
        .routes(routes!(credentials::authorize))
        .routes(routes!(credentials::outcome))
        .routes(routes!(self::routes::list, self::routes::add))
        .routes(routes!(self::routes::get, self::routes::replace, self::routes::remove))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::get, keys::replace, keys::remove))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::suggestion))
        .routes(routes!(overview::usage))
        .routes(routes!(overview::events))
        .routes(routes!(overview::refusals))
        .routes(routes!(overview::explain))
        .routes(routes!(overview::endpoints))
        .routes(routes!(overview::config))
        .routes(routes!(overview::gateway))
        .routes(routes!(overview::reload))
        .routes(routes!(sign_in::open, sign_in::show, sign_in::close))
        .routes(routes!(departure::leave))
        .routes(routes!(callback::returned))
}
