//! Refusals in the words of the admin API, from what the store, the vault and the configuration say.

use std::fmt::Display;

use crate::admin::{Code, FieldFault, Kind, Refusal};
use crate::config::Finding;
use crate::store::{self, StoreError};
use crate::vault::{ArchiveFault, FlowFault, GrantsFault};

/// What the store did not do.
pub(super) fn by_store(fault: &StoreError) -> Refusal {
    match fault {
        StoreError::Taken { kind, name } => Refusal::taken(shown(*kind), name, None),
        StoreError::Changed { kind, name, .. } => Refusal::stale(shown(*kind), name),
        StoreError::Absent { kind, name } => Refusal::not_found(shown(*kind), name),
        StoreError::NoGrant { name } => {
            Refusal::new(Code::WrongState, format!("the credential `{name}` has not been authorized"))
                .hint("authorize it at Close first")
        }
        StoreError::Unfit { .. } => Refusal::new(Code::Malformed, fault.to_string()).hint(fault.hint()),
        other => Refusal::store_unavailable(other).hint(other.hint()),
    }
}

/// What the store did not change; one that does not answer may have done it all the same.
pub(super) fn of_change(fault: &StoreError) -> Refusal {
    match fault {
        StoreError::Unreachable { .. } => {
            Refusal::new(Code::StoreUnavailable, format!("the change was not confirmed: {fault}"))
                .hint("look whether it was made, and try again once the store is back")
        }
        other => by_store(other),
    }
}

/// What could not be sealed or opened.
pub(super) fn by_archive(fault: &ArchiveFault) -> Refusal {
    match fault {
        ArchiveFault::Store(fault) => by_store(fault),
        other => Refusal::store_unavailable(other).hint(other.hint()),
    }
}

/// What the configuration, checked as a whole, has against a table: `routes.sales.prefix` is the field `prefix`.
pub(super) fn by_findings(table: &str, findings: &[Finding]) -> Refusal {
    let field = |finding: &Finding| {
        let field = finding.key.strip_prefix(table).map(|rest| rest.trim_start_matches('.'));
        field.filter(|field| !field.is_empty()).map_or_else(|| finding.key.clone(), api_field)
    };
    let fault = |finding: &Finding| FieldFault {
        field: field(finding),
        what: finding.what.to_string(),
        hint: Some(finding.hint.to_string()).filter(|hint| !hint.is_empty()),
    };
    Refusal::invalid(findings.iter().map(fault).collect())
}

/// Close refused a secret.
pub(super) fn by_close() -> Refusal {
    Refusal::new(Code::CredentialRefused, "Close refuses this secret: it answered 401 to `GET /api/v1/me/`")
        .hint("is it all of the secret, of the right organization, and not revoked?")
}

/// The token endpoint does not take an app.
pub(super) fn by_token_endpoint() -> Refusal {
    let detail = "Close does not take this client id and client secret (`invalid_client`)";
    Refusal::new(Code::CredentialRefused, detail).hint("are they those that Close shows beside the OAuth app?")
}

/// An authorization that came to nothing.
pub(super) fn by_flow(fault: &FlowFault) -> Refusal {
    let code = match fault {
        FlowFault::OtherKind | FlowFault::Secret(_) => Code::WrongState,
        FlowFault::Malformed
        | FlowFault::Unknown
        | FlowFault::UnknownLink
        | FlowFault::Mismatch
        | FlowFault::OtherCredential
        | FlowFault::Changed
        | FlowFault::Declined { .. }
        | FlowFault::Refused(_) => Code::AuthorizationRefused,
        FlowFault::NoToken => return Refusal::field("refresh_token", fault.to_string(), fault.hint()),
        FlowFault::Unanswered(_) => Code::UpstreamUnreachable,
        FlowFault::Store(GrantsFault::Absent | GrantsFault::Stale) => Code::WrongState,
        FlowFault::Store(GrantsFault::Unreachable(_) | GrantsFault::Unusable(_)) => Code::StoreUnavailable,
        FlowFault::NoRandomness => Code::Internal,
    };
    Refusal::new(code, fault.to_string()).hint(fault.hint())
}

/// Close could not be asked.
pub(super) fn by_silence(undecided: &impl Display) -> Refusal {
    Refusal::new(Code::UpstreamUnreachable, format!("Close could not be asked: {undecided}"))
        .hint("nothing is changed; try again once Close answers")
}

/// The configuration's name of a field as that of the API.
fn api_field(field: &str) -> String {
    match field {
        "expires" => "expires_at".to_owned(),
        other => other.to_owned(),
    }
}

fn shown(kind: store::Kind) -> Kind {
    match kind {
        store::Kind::Credential => Kind::Credential,
        store::Kind::Route => Kind::Route,
        store::Kind::Key => Kind::Key,
    }
}
