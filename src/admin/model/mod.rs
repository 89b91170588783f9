//! What the admin API takes and gives, as types: the same for the listener, for the page and for the command line.
//!
//! Answers hold no secret. Requests hold secrets as [`SecretText`], which only the vault opens; the one text that leaves
//! is that of a gateway key that was just made, [`KeyText`]. Names of fields are those of the configuration file where it
//! has them. Requests refuse a field that they do not know.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

mod authorization;
mod checked;
mod credential;
mod event;
mod explanation;
mod key;
mod place;
mod refused;
mod route;
mod session;
mod setting;
mod source;
mod suggestion;
mod usage;

pub use self::authorization::{Awaited, Departure, Outcome, Progress};
pub use self::credential::{
    Authorization, Consent, CredentialMethod, CredentialSecret, CredentialState, CredentialView, NewBasic,
    NewCredential, NewOAuth2, Organization, Removal, Returned, Rotation, Standing, Started, UpdatedCredential, User,
    Verdict, Verification,
};
pub use self::event::{EventPage, EventQuery, EventView, NewEvent};
pub use self::explanation::{ExplainQuery, Explained, Objection, RulingView, Sieve, WayView};
pub use self::key::{CreatedKey, KeyRotation, KeySettings, KeyState, KeyText, KeyView, Mode, NewKey, Scope};
pub use self::place::{Entrance, Place};
pub use self::refused::{RefusalQuery, RefusalView};
pub use self::route::{NewRoute, RouteSettings, RouteView};
pub use self::session::{Actor, Identity, Role, Way};
pub use self::setting::{EndpointView, Reload, SettingView};
pub use self::source::{Source, SourceKind, Version};
pub use self::suggestion::{Suggestion, UsedOperation};
pub use self::usage::{Headroom, Usage, UsageBy, UsageChart, UsageLine, UsageQuery, UsageRow};
pub use crate::vault::SecretText;

pub(super) use self::checked::Object;

impl PartialSchema for SecretText {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .description(Some("A secret: it is taken, and never given again."))
            .max_length(Some(Self::MAX));
        Schema::from(text).into()
    }
}

impl ToSchema for SecretText {
    fn name() -> Cow<'static, str> {
        "Secret".into()
    }
}
