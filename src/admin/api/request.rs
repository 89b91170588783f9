//! What requests say, read strictly: one JSON object of the right type and nothing besides.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, IF_MATCH};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::admin::model::{Object, Version};
use crate::admin::refusal::{Code, FieldFault, Kind, Refusal};
use crate::id::{CredentialName, KeyName, RouteName, holds_key};

/// A body in JSON: an object.
pub(super) struct Json<T>(pub(super) T);

/// What the query says.
pub(super) struct Query<T>(pub(super) T);

/// The name at the end of a path, as the type that it must be.
pub(super) struct Named<N>(pub(super) N);

/// The version that the asker saw, if it says one.
pub(super) struct IfMatch(pub(super) Option<Version>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        must_be_json(&parts.headers)?;
        parse(&read(&parts.headers, body).await?).map(|Object(value)| Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Option<Self>, Refusal> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        must_be_json(&parts.headers)?;
        Ok(parse::<Option<Object<T>>>(&bytes)?.map(|Object(value)| Self(value)))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // No name holds one, and PostgreSQL takes no text that does.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Refusal::new(Code::Malformed, "the query cannot be read: it holds a NUL"));
        }
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|rejection: QueryRejection| {
            let what = told(&std::error::Error::source(&rejection).map(ToString::to_string).unwrap_or_default());
            Refusal::new(Code::Malformed, format!("the query cannot be read: {what}"))
        })
    }
}

/// Something that paths name.
pub(super) trait Name: Sized {
    const KIND: Kind;

    fn parse(text: &str) -> Option<Self>;
}

impl Name for CredentialName {
    const KIND: Kind = Kind::Credential;

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl Name for RouteName {
    const KIND: Kind = Kind::Route;

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl Name for KeyName {
    const KIND: Kind = Kind::Key;

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl<S: Send + Sync, N: Name> FromRequestParts<S> for Named<N> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = Path::<String>::from_request_parts(parts, state).await.ok();
        let name = name.and_then(|Path(name)| N::parse(&name)).map(Self);
        // What is no name is nobody's, and is not repeated.
        name.ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no {} of that name", N::KIND)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Refusal;

    /// `"7"` or `*` (RFC 9110 13.1.1); a list is more than anybody saw.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let mut lines = parts.headers.get_all(IF_MATCH).iter();
        let (line, more) = (lines.next(), lines.next());
        let Some(line) = line else { return Ok(Self(None)) };
        let text = line.to_str().ok().filter(|_| more.is_none());
        match text {
            Some("*") => Ok(Self(None)),
            Some(text) => {
                let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                let digits = |number: &&str| number.len() <= 19 && number.bytes().all(|byte| byte.is_ascii_digit());
                // A tag that was never given out is nobody's version.
                let version = number.filter(digits).and_then(|number| number.parse().ok());
                Ok(Self(Some(Version(version.unwrap_or(u64::MAX)))))
            }
            None => Err(Refusal::new(Code::Malformed, "`If-Match` is one entity tag, such as `\"7\"`, or `*`")),
        }
    }
}

fn must_be_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (line, more) = (lines.next().and_then(|line| line.to_str().ok()), lines.next());
    let mut parts = line.unwrap_or_default().split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let plain = parts.all(|part| part.is_empty() || part.eq_ignore_ascii_case("charset=utf-8"));
    if json && plain && more.is_none() {
        return Ok(());
    }
    let detail = "the body of this request is of the type `application/json`";
    Err(Refusal::new(Code::UnsupportedMediaType, detail).hint("`Content-Type: application/json`"))
}

/// The whole body; it may hold a secret.
async fn read(headers: &HeaderMap, body: axum::body::Body) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let too_large = || Refusal::new(Code::TooLarge, format!("a body is at most {} KiB", LONGEST / 1024));
    let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| length > LONGEST) {
        return Err(too_large());
    }
    let mut body = Limited::new(body, LONGEST);
    // Room for all of it: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    let gathered = async {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    match tokio::time::timeout(BODY_TIMEOUT, gathered).await {
        Ok(Ok(())) => Ok(bytes),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::new(Code::Malformed, "the body ended early")),
        Err(_) => Err(Refusal::new(Code::Malformed, "the body took longer than 10 s")),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|fault| {
        let path = fault.path().to_string();
        let fault = fault.into_inner();
        if fault.is_data() {
            return unfit(&path, &fault.to_string());
        }
        no_json(&fault)
    })?;
    json.end().map_err(|fault| no_json(&fault))?;
    Ok(value)
}

fn no_json(fault: &serde_json::Error) -> Refusal {
    let (line, column) = (fault.line(), fault.column());
    Refusal::new(Code::Malformed, format!("the body is no JSON: line {line}, column {column}"))
}

/// JSON of another shape than was expected.
fn unfit(path: &str, fault: &str) -> Refusal {
    let what = told(fault);
    let fields = match path {
        "." => Vec::new(),
        path if shown(path) => vec![FieldFault { field: path.to_owned(), what: what.clone(), hint: None }],
        _ => Vec::new(),
    };
    let detail = match fields.first() {
        Some(fault) => format!("`{}`: {what}", fault.field),
        None => what,
    };
    Refusal { code: Code::Malformed, detail, hint: Some("`/openapi.json` describes it".to_owned()), fields }
}

/// What a fault says of types and names, without the value that was found: it may be a secret in the wrong place.
fn told(fault: &str) -> String {
    let fault = fault.split(" at line ").next().unwrap_or_default();
    let known = ["missing field `", "duplicate field `", "expected "].iter().any(|lead| fault.starts_with(lead));
    if known {
        return fault.to_owned();
    }
    if let Some((name, rest)) = fault.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        let name = if shown(name) { format!("unknown field `{name}`") } else { "an unknown field".to_owned() };
        return format!("{name}{rest}");
    }
    match fault.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if fault.starts_with("a secret of more than") => fault.to_owned(),
        None => "it has a value of the wrong type".to_owned(),
    }
}

/// Whether the name of a field that somebody sent may be repeated: it reads like one of ours, and not like a secret.
fn shown(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.' | b'[' | b']' | b'0'..=b'9');
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    name.len() <= 40 && digits <= 4 && name.bytes().all(plain) && !holds_key(name.as_bytes())
}

/// Most bytes of a body.
const LONGEST: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::super::model::{KeyRotation, NewCredential, NewKey};
    use super::*;

    fn fault<T: DeserializeOwned>(text: &str) -> Refusal {
        parse::<Object<T>>(text.as_bytes()).err().unwrap()
    }

    #[test]
    fn a_body_is_one_json_value_and_nothing_besides() {
        let good = r#"{"name":"sales","method":{"api_key":"api_x.y"}}"#;
        assert!(parse::<Object<NewCredential>>(good.as_bytes()).is_ok());
        for bad in ["", "{", "[]", &format!("{good}{good}"), "nul", &"[".repeat(500), "\u{feff}{}"] {
            assert_eq!(fault::<NewCredential>(bad).code, Code::Malformed, "{bad}");
        }
        for (bad, what) in [
            (r#"{"name":"a","name":"b","method":{"bearer":"x"}}"#, "duplicate field `name`"),
            (r#"{"name":"a","method":{"bearer":"x"},"extra":1}"#, "unknown field `extra`"),
            (r#"{"name":"a"}"#, "missing field `method`"),
            (r#"{"name":"a","method":{"bearer":"x","api_key":"y"}}"#, ""),
            (r#"{"name":"a","method":{"basic":{"username":"","password":"x"}}}"#, "at least one character"),
        ] {
            let refusal = fault::<NewCredential>(bad);
            assert!(refusal.detail.contains(what), "{bad}: {refusal}");
        }
    }

    #[tokio::test]
    async fn where_a_body_may_be_left_out_null_leaves_it_out() {
        let said = async |text: &'static str| {
            let request =
                Request::post("/").header(CONTENT_TYPE, "application/json").body(axum::body::Body::from(text)).unwrap();
            let body = <Json<KeyRotation> as OptionalFromRequest<()>>::from_request(request, &()).await;
            body.map(|body| body.map(|Json(to)| to.overlap))
        };
        for none in ["", "null"] {
            assert_eq!(said(none).await.unwrap(), None, "{none}");
        }
        assert_eq!(said("{}").await.unwrap(), Some(None));
        assert_eq!(said("7").await.unwrap_err().code, Code::Malformed);
    }

    #[test]
    fn a_fault_names_its_field_and_repeats_no_value() {
        for planted in [
            r#"{"name":"a","method":"planted"}"#,
            r#"{"name":["planted"],"method":{"bearer":"x"}}"#,
            r#"{"name":"a","method":{"planted.secret":"x"}}"#,
            r#"{"name":"a","method":{"bearer":{"planted":"x"}}}"#,
            r#"{"name":"a","api_planted":"x","method":{"bearer":"x"}}"#,
            r#"{"name":"a","planted-1234567890":"x","method":{"bearer":"x"}}"#,
            r#""planted""#,
        ] {
            let refusal = fault::<NewCredential>(planted);
            let said = format!("{refusal} {:?}", refusal.fields);
            assert!(!said.contains("planted"), "{planted}: {said}");
        }
        let refusal = fault::<NewKey>(r#"{"name":"a","routes":["a"],"scopes":["read","planted"]}"#);
        assert_eq!(refusal.fields[0].field, "scopes[1]");
        let refusal = fault::<NewKey>(r#"{"name":"a","routes":[],"scopes":["read"]}"#);
        assert_eq!(
            (refusal.fields[0].field.as_str(), refusal.fields[0].what.as_str()),
            ("routes", "expected at least one element")
        );
    }
}
