//! `/openapi.json`: the document of the API, made from the same lines as its paths.

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use utoipa::ToSchema as _;
use utoipa::openapi::path::{Operation, Parameter, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, LicenseBuilder, SecurityRequirement};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, Object, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder, Schema,
};

use super::Desk;
use crate::admin::problem::Problem;
use crate::admin::refusal::{Code, FieldFault};
use crate::admin::respond::{JSON, body};

/// The document before its paths.
pub(super) fn begun() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("closegate admin API")
        .description(Some(ABOUT))
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(license));
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of `[admin.tokens]`"));
    let cookie = ApiKeyValue::with_description(
        "closegate-session",
        "The cookie of `POST /api/v1/session`; under https its name begins with `__Host-`",
    );
    let components = ComponentsBuilder::new()
        .security_scheme("token", SecurityScheme::Http(token.build()))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .schema_from::<Problem>()
        .schema_from::<Code>()
        .schema_from::<FieldFault>();
    let none: [&str; 0] = [];
    OpenApiBuilder::new()
        .info(info.build())
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new("token", none), SecurityRequirement::new("session", none)]))
        .build()
}

/// The document once its paths are known: every operation says with which errors it may answer.
pub(super) fn finished(mut document: OpenApi) -> OpenApi {
    for schema in document.components.iter_mut().flat_map(|components| components.schemas.values_mut()) {
        close_variants(schema);
    }
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            add_refusals(path, operation);
        }
    }
    document
}

/// Of something that is exactly one of several, none has further properties.
fn close_variants(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::OneOf(one_of)) = schema else { return };
    for item in &mut one_of.items {
        let RefOr::T(Schema::Object(variant)) = item else { continue };
        close(variant);
        for property in variant.properties.values_mut() {
            if let RefOr::T(Schema::Object(inner)) = property {
                close(inner);
            }
        }
    }
}

fn close(schema: &mut Object) {
    if matches!(schema.schema_type, SchemaType::Type(Type::Object)) {
        schema.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
}

/// The path that gives the document.
pub(super) fn router(document: &OpenApi) -> Router<Arc<Desk>> {
    let text = document.to_json().unwrap_or_default();
    let answer = move || {
        let text = text.clone();
        async move { answered(text) }
    };
    Router::new().route("/openapi.json", get(answer))
}

fn answered(text: String) -> Response {
    body(StatusCode::OK, JSON, text)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// The errors of an operation follow from its parts.
fn add_refusals(path: &str, operation: &mut Operation) {
    let named = |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(known) if known.name == "if-match");
    let has_header = operation.parameters.iter().flatten().any(named);
    let changes = !operation.operation_id.iter().any(|id| READING.iter().any(|lead| id.starts_with(lead)));
    let takes_body = operation.request_body.is_some();
    let mut refusals = vec![
        (400, "The request is not what this document describes"),
        (401, "No token and no session, or none that is valid"),
        (403, "The role does not allow it, the CSRF value is missing, or another site asks"),
        (421, "The listener is not called by this `Host`"),
        (429, "The token is wrong, and too many others are"),
        (500, "A fault of closegate"),
        (503, "The store or Close cannot be reached"),
    ];
    if path.contains("{name}") {
        refusals.push((404, "There is no such thing"));
    }
    if has_header {
        refusals.push((412, "It was changed since it was read"));
    }
    if takes_body {
        refusals.extend([(413, "The body is too long"), (415, "The body is of another type")]);
    }
    if changes || takes_body {
        refusals.push((409, "The state of things does not allow it"));
    }
    // What is asked there is judged like what is added.
    if changes || takes_body || operation.operation_id.as_deref() == Some("explain") {
        refusals.push((422, "A value cannot be used, or Close refuses it"));
    }
    for (status, description) in refusals {
        let response = || {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name())));
            ResponseBuilder::new().description(description).content("application/problem+json", content.build()).build()
        };
        operation.responses.responses.entry(status.to_string()).or_insert_with(|| RefOr::T(response()));
    }
}

/// How the ids of operations begin that change nothing.
const READING: [&str; 9] = ["list_", "get_", "show_", "usage", "events", "endpoints", "config", "explain", "oauth_"];

const ABOUT: &str = "Manages the credentials, routes and gateway keys of a running closegate.\n\nEverything but \
    `/healthz`, `/readyz` and `/metrics` takes a token: `Authorization: Bearer TOKEN`, or the session cookie of \
    `POST /api/v1/session`. What is changed by cookie repeats the session's `csrf` in the header `closegate-csrf`. No \
    secret ever comes out; the text of a gateway key does once, where it is made. Errors are of RFC 9457, with a stable \
    `code`. Things carry an `ETag`; with `If-Match` a change is refused when somebody else was faster.";
