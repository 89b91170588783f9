//! Why the store did not do what it was asked: whose fault it was, and whether anything may have changed.

use std::path::PathBuf;

use super::Kind;

/// Why the store did not do something. Nothing has changed, but for [`StoreError::Unreachable`], which says so itself.
///
/// No text of it holds a secret, a value, the text of a query or the password of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or refuses to work for now; it is tried again by whatever comes next.
    ///
    /// A change that was on its way when this came may have been made or not: who must know reads it back.
    #[error("the store is unreachable: {what}")]
    Unreachable {
        /// What was seen, for people.
        what: String,
    },
    /// There is no room left for the database to write to. Nothing was changed; it is tried again by whatever comes next.
    #[error("the store has no room left: {what}")]
    Full {
        /// What was seen, for people.
        what: String,
    },
    /// What is to be added is there already.
    #[error("there is a {kind} `{name}` already")]
    Taken {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// The record has changed since it was read: its version is another one.
    #[error("the {kind} `{name}` has changed meanwhile: it is at version {found} now")]
    Changed {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// The version that it is at.
        found: u64,
    },
    /// There is no such record.
    #[error("there is no {kind} `{name}` in the store")]
    Absent {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// There is no grant of that name.
    #[error("there is no grant of `{name}` in the store")]
    NoGrant {
        /// The name of its credential.
        name: String,
    },
    /// The lease under which a grant was to be changed is somebody else's now, or over.
    #[error("the lease of the grant `{name}` is over")]
    Stale {
        /// The name of its credential.
        name: String,
    },
    /// Something was sealed under another key than the store is sealed under now.
    #[error("the store is sealed under another master key by now")]
    OtherKey,
    /// Another gateway serves from the same SQLite file.
    #[error("another gateway serves from `{}`", path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// A later closegate has written to the database.
    #[error("the store has version {found}, and this closegate knows {known}")]
    Newer {
        /// The version of the database.
        found: u64,
        /// The newest one that is known here.
        known: u64,
    },
    /// An earlier closegate has written the database, and here it is only looked at.
    #[error("the store has version {found}, and this closegate goes by version {known}")]
    Older {
        /// The version of the database.
        found: u64,
        /// The one that is gone by here.
        known: u64,
    },
    /// The database cannot be used as it is configured.
    #[error("the store cannot be used: {what}")]
    Unusable {
        /// What is wrong, for people.
        what: String,
    },
    /// A value is none that the database takes. Nothing was changed.
    #[error("the store does not take a value: {what}")]
    Unfit {
        /// What was wrong with it, for people.
        what: String,
    },
    /// The database holds what this program did not write.
    #[error("the store is damaged: {what}")]
    Corrupt {
        /// What was found, for people.
        what: String,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "is the database up, and may this user reach it? it is tried again by itself",
            Self::Full { .. } => {
                "make room on the disk or the quota that the database lies on; it is tried again by itself"
            }
            Self::Taken { .. } => "choose another name, or change the one that is there",
            Self::Changed { .. } => "read it again and repeat the change",
            Self::Absent { .. } | Self::NoGrant { .. } => "list what there is",
            Self::Stale { .. } => "read the grant again: somebody else has renewed it",
            Self::OtherKey => "give the gateway the key that `closegate store rekey` has made",
            Self::Locked { .. } => {
                "stop it, or give this one a `data_dir` of its own; for several replicas `store.url = \"postgres://…\"`"
            }
            Self::Newer { .. } => "use the later closegate",
            Self::Older { .. } => "a gateway of this version brings it there when it starts; looking changes nothing",
            Self::Unusable { .. } => {
                "let this user enter and write where it lies, or see `data_dir` and `[store]` in the documented configuration"
            }
            Self::Unfit { .. } => "give another value",
            Self::Corrupt { .. } => "restore the database from a backup",
        }
    }

    /// Whether the database does not work, be it that it cannot be reached or that what it says cannot be used; the others
    /// are its answers.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Full { .. }
            | Self::Locked { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Unusable { .. }
            | Self::Corrupt { .. } => true,
            Self::Unfit { .. }
            | Self::Taken { .. }
            | Self::Changed { .. }
            | Self::Absent { .. }
            | Self::NoGrant { .. }
            | Self::Stale { .. }
            | Self::OtherKey => false,
        }
    }

    pub(super) fn unreachable(what: impl Into<String>) -> Self {
        Self::Unreachable { what: what.into() }
    }

    pub(super) fn unusable(what: impl Into<String>) -> Self {
        Self::Unusable { what: what.into() }
    }

    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

impl From<sqlx::Error> for StoreError {
    /// The library's own texts may hold the URL or a value: of most kinds no more than their kind is told.
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => of_database(&*error),
            sqlx::Error::Io(error) => Self::unreachable(error.kind().to_string()),
            sqlx::Error::Tls(_) => Self::unreachable("the TLS handshake failed"),
            sqlx::Error::Protocol(_) => Self::unreachable("the answer is none of the database's protocol"),
            sqlx::Error::PoolTimedOut => Self::unreachable("no connection within the time for it"),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
                Self::unreachable("the connection is gone")
            }
            sqlx::Error::Configuration(_) => Self::unusable("its URL is not one that the database takes"),
            _ => Self::corrupt("a row is not what was written"),
        }
    }
}

fn of_database(error: &dyn sqlx::error::DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    // Values are bound, never part of a text, so that no message repeats one.
    let what = format!("{} ({code})", error.message());
    match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        Some(_) => of_postgres(&code, what),
        None => of_sqlite(&code, what),
    }
}

/// By the classes of PostgreSQL's SQLSTATE (its appendix A): what passes by itself, and what somebody must see to.
fn of_postgres(code: &str, what: String) -> StoreError {
    match code.get(..2).unwrap_or_default() {
        "53" if code == "53100" => StoreError::Full { what },
        // Connections, authorization, no such database, read only, deadlocks, resources, limits, an operator.
        "08" | "28" | "3D" | "25" | "40" | "53" | "54" | "55" | "57" | "58" => StoreError::Unreachable { what },
        "42" | "3F" => StoreError::Unusable { what },
        // Data exceptions: what somebody asked with.
        "22" => StoreError::Unfit { what },
        _ => StoreError::Corrupt { what },
    }
}

/// By SQLite's result codes, of which the lower byte is the primary one.
fn of_sqlite(code: &str, what: String) -> StoreError {
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(13) => StoreError::Full { what },
        // PERM, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, CANTOPEN, PROTOCOL, AUTH.
        Ok(3 | 5..=10 | 14 | 15 | 23) => StoreError::Unreachable { what },
        _ => StoreError::Corrupt { what },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_the_database_does_not_take_is_no_outage() {
        let fault = of_postgres("22021", "invalid byte sequence for encoding \"UTF8\": 0x00 (22021)".to_owned());
        assert!(matches!(fault, StoreError::Unfit { .. }) && !fault.is_outage(), "{fault:?}");
    }

    #[test]
    fn a_full_disk_is_told_from_a_database_that_is_gone() {
        let what = || "full".to_owned();
        for fault in [of_sqlite("13", what()), of_postgres("53100", what())] {
            assert!(matches!(fault, StoreError::Full { .. }) && fault.is_outage(), "{fault:?}");
            assert!(fault.hint().contains("make room"), "{}", fault.hint());
        }
        for fault in [of_sqlite("14", what()), of_sqlite("15", what()), of_postgres("53300", what())] {
            assert!(matches!(fault, StoreError::Unreachable { .. }), "{fault:?}");
        }
    }
}
