//! `closegate endpoints`: the catalogue of Close's operations, for people and for programs.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use super::{Output, print, table};
use crate::catalogue::{Catalogue, Operation};

pub(super) const EXAMPLES: &str = "Examples:
  closegate endpoints
  closegate endpoints --output json

Requests of one GROUP are taken to share one of Close's rate limits. SCOPE is what a gateway key
needs; `write|send`: the body decides, `send` where its `status` is `outbox` or `scheduled`. A path
that is not listed takes `read` for GET and HEAD, and `admin` for anything else.";

/// Prints the catalogue; no configuration is read.
pub(super) fn run(output: Output) -> ExitCode {
    let listing = Listing(Catalogue::close().operations().map(Row::of).collect());
    match output {
        Output::Text => print::data(listing, ExitCode::SUCCESS),
        Output::Json => print::data(serde_json::json!(listing), ExitCode::SUCCESS),
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listing(Vec<Row>);

#[derive(Serialize)]
struct Row {
    method: &'static str,
    endpoint: &'static str,
    group: &'static str,
    scope: &'static str,
}

impl Row {
    fn of(operation: &'static Operation) -> Self {
        let Operation { method, endpoint, group, demand } = operation;
        Self { method: method.as_str(), endpoint, group, scope: demand.as_str() }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["METHOD", "ENDPOINT", "GROUP", "SCOPE"].map(str::to_owned).into();
        let cells = |row: &Row| [row.method, row.endpoint, row.group, row.scope].map(str::to_owned).into();
        table::columns(f, "", &[header].into_iter().chain(self.0.iter().map(cells)).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_listed_whole() {
        let listing = Listing(Catalogue::close().operations().map(Row::of).collect());
        let text = listing.to_string();
        let line =
            |begin: &str| text.lines().find(|line| line.starts_with(begin)).unwrap().split_whitespace().collect();
        let merge: Vec<&str> = line("POST    /api/v1/lead/merge/");
        assert_eq!(merge, ["POST", "/api/v1/lead/merge/", "lead/merge.write", "delete"]);
        assert_eq!(text.lines().count(), 1 + Catalogue::close().operations().count());
        let json = serde_json::json!(listing);
        let email = serde_json::json!({
            "method": "POST", "endpoint": "/api/v1/activity/email/", "group": "activity/email.write", "scope": "write|send",
        });
        assert!(json.as_array().unwrap().contains(&email));
    }
}
