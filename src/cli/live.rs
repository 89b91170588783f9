//! What Close said of each credential, in words.

use crate::id::CredentialName;
use crate::vault::Verdict;

/// Name, outcome in words, and whether it works.
pub(super) fn row((name, verdict): (CredentialName, Verdict)) -> (String, String, bool) {
    let (outcome, ok) = match verdict {
        Verdict::Accepted => ("accepted".to_owned(), true),
        Verdict::Rejected => ("rejected: the upstream answered 401".to_owned(), false),
        Verdict::Undecided(why) => (why.to_string(), false),
    };
    (name.to_string(), outcome, ok)
}
