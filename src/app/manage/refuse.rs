//! Refusals in the words of the admin API, from what the store, the vault and the configuration say.

use crate::admin::{Code, FieldFault, Kind, Refusal};
use crate::config::Finding;
use crate::store::{self, StoreError};
use crate::vault::{ArchiveFault, Undecided};

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

/// Close could not be asked.
pub(super) fn by_silence(undecided: &Undecided) -> Refusal {
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
