//! The page: files that are compiled in, served as they are, under a policy that lets nothing else run.
//!
//! It is static and holds nothing: what it shows comes from the API, with a session. Each file has a strong `ETag`, its
//! digest, and is asked for again at each visit, so that a new gateway is never seen through an old page. The policy
//! (CSP 3) permits scripts, styles, pictures and requests of this origin only, none of them inline, and no frame around it.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use aws_lc_rs::digest::{SHA256, digest};

/// The paths of the page: `/`, and `/ui/…` for what it consists of.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| serve("index.html", &headers)))
        .route("/ui/{*name}", get(async |Path(name): Path<String>, headers: HeaderMap| serve(&name, &headers)))
}

fn serve(name: &str, asked: &HeaderMap) -> Response {
    let Some(file) = FILES.get(name) else { return StatusCode::NOT_FOUND.into_response() };
    let known = asked.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value, &file.etag));
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response(),
    };
    response.headers_mut().insert(header::ETAG, file.etag.clone());
    response.headers_mut().extend(RULES.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
    response
}

/// Whether `If-None-Match` names a version (RFC 9110 13.1.2: compared weakly).
fn names(value: &HeaderValue, etag: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    text.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/").as_bytes() == etag.as_bytes())
}

struct File {
    bytes: &'static [u8],
    content_type: &'static str,
    etag: HeaderValue,
}

static FILES: LazyLock<HashMap<&'static str, File>> =
    LazyLock::new(|| EMBEDDED.iter().map(|(name, bytes)| (*name, File::of(name, bytes))).collect());

impl File {
    fn of(name: &str, bytes: &'static [u8]) -> Self {
        let content_type = match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        };
        let text = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes)));
        let etag = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes, content_type, etag }
    }
}

/// What every answer of the page says, errors of this file apart.
const RULES: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-cache"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// Every file of the page. They are few and small: about 350 kB, a third of it the charts.
const EMBEDDED: &[(&str, &[u8])] = &[
    ("activity.js", include_bytes!("ui/activity.js")),
    ("add_credential.js", include_bytes!("ui/add_credential.js")),
    ("address.js", include_bytes!("ui/address.js")),
    ("api.js", include_bytes!("ui/api.js")),
    ("app.js", include_bytes!("ui/app.js")),
    ("authorize.js", include_bytes!("ui/authorize.js")),
    ("chart.js", include_bytes!("ui/chart.js")),
    ("connect.js", include_bytes!("ui/connect.js")),
    ("credential.js", include_bytes!("ui/credential.js")),
    ("credentials.js", include_bytes!("ui/credentials.js")),
    ("dialogs.js", include_bytes!("ui/dialogs.js")),
    ("explain.js", include_bytes!("ui/explain.js")),
    ("gateway.js", include_bytes!("ui/gateway.js")),
    ("handover.js", include_bytes!("ui/handover.js")),
    ("happenings.js", include_bytes!("ui/happenings.js")),
    ("history.js", include_bytes!("ui/history.js")),
    ("hold.js", include_bytes!("ui/hold.js")),
    ("icon.svg", include_bytes!("ui/icon.svg")),
    ("index.html", include_bytes!("ui/index.html")),
    ("key.js", include_bytes!("ui/key.js")),
    ("keys.js", include_bytes!("ui/keys.js")),
    ("leaving.js", include_bytes!("ui/leaving.js")),
    ("limits.js", include_bytes!("ui/limits.js")),
    ("metrics.js", include_bytes!("ui/metrics.js")),
    ("names.js", include_bytes!("ui/names.js")),
    ("parts.js", include_bytes!("ui/parts.js")),
    ("routes.js", include_bytes!("ui/routes.js")),
    ("screens.css", include_bytes!("ui/screens.css")),
    ("session.js", include_bytes!("ui/session.js")),
    ("settings.js", include_bytes!("ui/settings.js")),
    ("sign_in.js", include_bytes!("ui/sign_in.js")),
    ("snippets.js", include_bytes!("ui/snippets.js")),
    ("style.css", include_bytes!("ui/style.css")),
    ("suggestion.js", include_bytes!("ui/suggestion.js")),
    ("theme.js", include_bytes!("ui/theme.js")),
    ("toasts.js", include_bytes!("ui/toasts.js")),
    ("trouble.js", include_bytes!("ui/trouble.js")),
    ("usage.js", include_bytes!("ui/usage.js")),
    ("vendor/LICENSE-htm.txt", include_bytes!("ui/vendor/LICENSE-htm.txt")),
    ("vendor/LICENSE-preact.txt", include_bytes!("ui/vendor/LICENSE-preact.txt")),
    ("vendor/LICENSE-uplot.txt", include_bytes!("ui/vendor/LICENSE-uplot.txt")),
    ("vendor/htm-preact.js", include_bytes!("ui/vendor/htm-preact.js")),
    ("vendor/uplot.css", include_bytes!("ui/vendor/uplot.css")),
    ("vendor/uplot.js", include_bytes!("ui/vendor/uplot.js")),
    ("view.js", include_bytes!("ui/view.js")),
    ("words.js", include_bytes!("ui/words.js")),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path as File, PathBuf};

    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str, if_none_match: Option<&str>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::get(path);
        if let Some(value) = if_none_match {
            request = request.header(header::IF_NONE_MATCH, value);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = routes::<()>().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn the_page_is_served_under_its_rules() {
        let (status, headers, body) = ask("/", None).await;
        assert_eq!(
            (status, headers[header::CONTENT_TYPE].to_str().unwrap()),
            (StatusCode::OK, "text/html; charset=utf-8")
        );
        assert!(String::from_utf8(body).unwrap().contains("ui/app.js"));
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
        for (name, value) in RULES {
            assert_eq!(headers[&name], value);
        }
        let (status, headers, _) = ask("/ui/app.js", None).await;
        assert_eq!(
            (status, headers[header::CONTENT_TYPE].to_str().unwrap()),
            (StatusCode::OK, "text/javascript; charset=utf-8")
        );
        for absent in ["/ui/", "/ui/absent.js", "/ui/../ui.rs", "/ui/vendor/../app.js", "/ui/%2e%2e/ui.rs"] {
            assert_eq!(ask(absent, None).await.0, StatusCode::NOT_FOUND, "{absent}");
        }
    }

    #[tokio::test]
    async fn a_browser_that_has_a_file_is_told_so() {
        let (_, headers, _) = ask("/ui/style.css", None).await;
        let etag = headers[header::ETAG].to_str().unwrap();
        for known in [etag.to_owned(), format!("\"other\", W/{etag}"), "*".to_owned()] {
            let (status, headers, body) = ask("/ui/style.css", Some(&known)).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
            assert_eq!(headers[header::ETAG], etag);
        }
        assert_eq!(ask("/ui/style.css", Some("\"other\"")).await.0, StatusCode::OK);
    }

    #[test]
    fn every_file_of_the_page_is_compiled_in() {
        let root = File::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/ui");
        let mut found: Vec<String> =
            files(&root).iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect();
        found.retain(|name| !name.ends_with(".md"));
        found.sort();
        assert_eq!(found, EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }

    fn files(folder: &File) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn libraries_are_as_they_were_published() {
        let list = include_str!("ui/vendor/README.md");
        let libraries = EMBEDDED.iter().filter_map(|(name, bytes)| Some((name.strip_prefix("vendor/")?, bytes)));
        for (name, bytes) in libraries.filter(|(name, _)| !name.starts_with("LICENSE")) {
            let row = list.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
            let digest: String = digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(row.contains(&digest), "{name} is {digest}");
        }
    }

    #[test]
    fn the_page_asks_nobody_else_and_has_nothing_inline() {
        for (name, bytes) in EMBEDDED.iter().filter(|(name, _)| !name.starts_with("vendor/")) {
            let text = std::str::from_utf8(bytes).unwrap();
            for inline in ["style=\"", "onclick=\"", "javascript:", "innerHTML", "dangerouslySetInnerHTML", "eval("] {
                assert!(!text.contains(inline), "{name} has `{inline}`");
            }
            let loads = [
                "src=\"http",
                "src=\"//",
                "url(http",
                "url(//",
                "@import",
                "from 'http",
                "import('http",
                "fetch('http",
            ];
            for load in loads {
                assert!(!text.contains(load), "{name} has `{load}`");
            }
        }
        let page = include_str!("ui/index.html");
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script src=\"ui/").count() + page.matches("<script type=\"module\" src=\"ui/").count()
        );
        assert!(!page.contains("<style"));
    }
}
