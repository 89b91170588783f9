//! Scopes: what a request does to Close, coarsely; what a gateway key may do is a set of them (contract.md 4 "Decision").
//!
//! They are the gateway's own, Close has none. None includes another: who may write may not read for that.

use std::fmt;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Reads, also by a POST that searches or reports.
    Read,
    /// Creates or changes records.
    Write,
    /// Deletes records, or merges two into one.
    Delete,
    /// Sends mail or messages to people, now or later.
    Send,
    /// Takes out the whole organisation's data at once.
    Export,
    /// Changes who may do what, where data is sent, or what is paid; and whatever the catalogue does not know.
    Admin,
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scope {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Read, Self::Write, Self::Delete, Self::Send, Self::Export, Self::Admin];

    /// The scope of a name, such as `read`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// Its name, in settings, records and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Send => "send",
            Self::Export => "export",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);
    /// No scope.
    pub const NONE: Self = Self(0);

    /// Whether a scope is among them.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// The same with one more.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// Those that are in it, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }

    /// Their names, in the order of [`Scope::ALL`].
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Scope::as_str).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_includes_another() {
        for scope in Scope::ALL {
            let only = Scopes::NONE.with(scope);
            assert_eq!(Scope::ALL.into_iter().filter(|other| only.contains(*other)).collect::<Vec<_>>(), [scope]);
            assert!(Scopes::ALL.contains(scope) && !Scopes::NONE.contains(scope));
        }
        assert_eq!(Scope::ALL.into_iter().collect::<Scopes>(), Scopes::ALL);
    }

    #[test]
    fn a_scope_is_called_one_thing() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        for name in ["", "Read", "reads", "*", "read write"] {
            assert_eq!(Scope::parse(name), None, "{name}");
        }
        assert_eq!([Scope::Admin, Scope::Read].into_iter().collect::<Scopes>().names(), ["read", "admin"]);
    }
}
