//! Everything that the admin API and the command line can have done.
//!
//! Two do it: the one in the gateway or on its store (`app::manage`), and `admin::Client`, which asks a running gateway.
//! The listener and the command line know neither: they hold a `dyn Management`.

use std::future::Future;
use std::pin::Pin;

use super::model::{
    Actor, CreatedKey, CredentialView, Departure, EventPage, EventQuery, ExplainQuery, Explained, KeyRotation,
    KeySettings, KeyView, NewCredential, NewKey, NewRoute, Progress, RefusalQuery, RefusalView, Reload, Removal,
    Returned, Rotation, RouteSettings, RouteView, SecretText, SettingView, Started, Suggestion, UpdatedCredential,
    Usage, UsageQuery, Verification, Version,
};
use super::refusal::Refusal;
use crate::id::{CredentialName, KeyName, RouteName};

/// What is asked for, later, or why not. Dropping it may leave a change done or not done, never half done.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// Everything that the admin API and the command line can have done.
///
/// Lists are whole and sorted by name. Each call that changes something takes who asks for it (`by`), and leaves one
/// event with that; what fails changes nothing. `expected` is the version that the asker saw: with another one there
/// now, the call is refused as `precondition_failed`; nothing means whatever is there. Names taken by the configuration
/// are refused as `conflict` where something is added and as `read_only` where something is changed.
pub trait Management: Send + Sync {
    /// Every credential, those of the configuration among them.
    fn credentials(&self) -> Answer<'_, Vec<CredentialView>>;

    /// One credential.
    fn credential<'a>(&'a self, name: &'a CredentialName) -> Answer<'a, CredentialView>;

    /// Verifies a credential at Close, seals it into the store and makes the route of its name, unless there is one.
    /// `credential_refused` when Close answers 401; a Close that cannot be asked leaves it unverified. Of an OAuth
    /// credential the client secret is shown to the token endpoint; it is added as `needs_authorization`, and verified
    /// once it is authorized.
    fn add_credential<'a>(&'a self, new: NewCredential, by: &'a Actor) -> Answer<'a, CredentialView>;

    /// Changes what is no secret of a managed credential.
    fn update_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        to: UpdatedCredential,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView>;

    /// Removes a managed credential, the route that was made with it, and its grant here and at Close; that Close cannot be
    /// told is said, and keeps nothing. `in_use` while another route sends with it.
    fn remove_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, Removal>;

    /// Asks Close whether it accepts a credential, be it managed or of the configuration.
    fn verify_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, Verification>;

    /// Verifies a new secret, then switches to it: the old one is not sent any more when this returns.
    fn rotate_credential<'a>(
        &'a self,
        name: &'a CredentialName,
        to: Rotation,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView>;

    /// Takes a credential out of use at once, be it managed or of the configuration. Again is no fault.
    fn disable_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, CredentialView>;

    /// Takes it into use again. Again is no fault.
    fn enable_credential<'a>(&'a self, name: &'a CredentialName, by: &'a Actor) -> Answer<'a, CredentialView>;

    /// Begins the authorization of an OAuth credential: a person opens the URL, or the link. `wrong_state` for another method.
    fn start_authorization<'a>(
        &'a self,
        name: &'a CredentialName,
        departure: Departure,
        by: &'a Actor,
    ) -> Answer<'a, Started>;

    /// Takes what a link ends in, for the browser that opened it. `authorization_refused` when that was done before.
    fn follow_link<'a>(&'a self, ticket: &'a str) -> Answer<'a, Started>;

    /// What has become of an authorization that was begun by a link: at once when it is over, else after some seconds.
    /// `authorization_refused` when it is unknown.
    fn await_authorization<'a>(&'a self, name: &'a CredentialName, state: &'a str) -> Answer<'a, Progress>;

    /// The browser that left with this `state` came back with another one: somebody may have sent it there. If it is one that
    /// was begun by a link, it is over.
    fn mismatch<'a>(&'a self, state: &'a str, by: &'a Actor) -> Answer<'a, ()>;

    /// Ends an authorization with what the browser came back with; its `state` says which. `authorization_refused` when
    /// it is unknown, used, too old or another credential's than `name`, the person declined, or Close refuses the code.
    fn complete_authorization<'a>(
        &'a self,
        name: Option<&'a CredentialName>,
        returned: Returned,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView>;

    /// Takes over a grant by its refresh token, which is used at once: whoever had it cannot use it any more.
    fn take_over_grant<'a>(
        &'a self,
        name: &'a CredentialName,
        refresh_token: SecretText,
        by: &'a Actor,
    ) -> Answer<'a, CredentialView>;

    /// Every route.
    fn routes(&self) -> Answer<'_, Vec<RouteView>>;

    /// One route.
    fn route<'a>(&'a self, name: &'a RouteName) -> Answer<'a, RouteView>;

    /// Adds a route.
    fn add_route<'a>(&'a self, new: NewRoute, by: &'a Actor) -> Answer<'a, RouteView>;

    /// Gives a managed route other settings.
    fn replace_route<'a>(
        &'a self,
        name: &'a RouteName,
        to: RouteSettings,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, RouteView>;

    /// Removes a managed route. `in_use` while a key that can be used has no other.
    fn remove_route<'a>(&'a self, name: &'a RouteName, expected: Option<Version>, by: &'a Actor) -> Answer<'a, ()>;

    /// Every gateway key.
    fn keys(&self) -> Answer<'_, Vec<KeyView>>;

    /// One gateway key.
    fn key<'a>(&'a self, name: &'a KeyName) -> Answer<'a, KeyView>;

    /// Makes a gateway key; its text is given this once.
    fn create_key<'a>(&'a self, new: NewKey, by: &'a Actor) -> Answer<'a, CreatedKey>;

    /// Gives a managed key other settings under the same text.
    fn replace_key<'a>(
        &'a self,
        name: &'a KeyName,
        to: KeySettings,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, KeyView>;

    /// Ends a managed key; it stays listed. Again is no fault.
    fn revoke_key<'a>(&'a self, name: &'a KeyName, by: &'a Actor) -> Answer<'a, KeyView>;

    /// Gives a managed key another text; the old one goes on for the overlap, and is refused from then on.
    fn rotate_key<'a>(
        &'a self,
        name: &'a KeyName,
        to: KeyRotation,
        expected: Option<Version>,
        by: &'a Actor,
    ) -> Answer<'a, CreatedKey>;

    /// Removes a managed key: it is refused, and its name is free.
    fn remove_key<'a>(&'a self, name: &'a KeyName, expected: Option<Version>, by: &'a Actor) -> Answer<'a, ()>;

    /// The least scopes and rules that cover what a key really used, by what is kept of its usage.
    fn suggestion<'a>(&'a self, name: &'a KeyName) -> Answer<'a, Suggestion>;

    /// What was used.
    fn usage(&self, query: UsageQuery) -> Answer<'_, Usage>;

    /// What happened, the newest first.
    fn events(&self, query: EventQuery) -> Answer<'_, EventPage>;

    /// The last refusals of requests, one by one, the newest first; none where no gateway runs.
    fn refusals(&self, query: RefusalQuery) -> Answer<'_, Vec<RefusalView>>;

    /// What would become of a request, by the steps of the gateway itself; nothing is sent.
    fn explain(&self, query: ExplainQuery) -> Answer<'_, Explained>;

    /// The effective configuration with its sources.
    fn config(&self) -> Answer<'_, Vec<SettingView>>;

    /// Loads the configuration and its secrets again, whole or not at all; `invalid` names what is wrong with it.
    fn reload<'a>(&'a self, by: &'a Actor) -> Answer<'a, Reload>;
}
