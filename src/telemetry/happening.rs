//! An administrative event as a line on stdout: one JSON object among the access records, told from them by its `event`.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Something that somebody did, or was refused; the store keeps the same.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Happening<'a> {
    /// When.
    pub time: Timestamp,
    /// What: `credential.add`, `session.refused` and so on.
    pub event: &'a str,
    /// Who: the name of a token, or of a user of the command line.
    pub actor: &'a str,
    /// To what: the name of a credential, a route or a key; empty where it is to none.
    pub subject: &'a str,
    /// From where: an address, if it was one.
    pub from: Option<&'a str>,
    /// More, by event; never a secret.
    pub detail: &'a Value,
}

impl Happening<'_> {
    /// The line, with its end.
    pub(super) fn line(&self) -> Vec<u8> {
        // Texts, numbers and a tree of them: writing those into memory does not fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
