//! OAuth 2.0 credentials: grants whose tokens the vault renews itself, and which must not be lost.
//!
//! A refresh token of Close is good once. So every refresh goes by the same steps ([`refresh`]): the lease of the grant
//! is taken, which one process has at a time; a mark that a refresh is under way is made durable; the request is sent;
//! the new tokens are made durable; and only then they are used (invariant 6). Whatever the token endpoint does wrong,
//! the token that is there goes on being sent for as long as it lives; only `invalid_grant` ends a grant, and only after
//! the store was read again.
//!
//! Nothing can close the moment between the last byte of the request and the first of an answer that never comes: who
//! dies there knows no more than that the mark is there. Then the old token is tried once more, which a server that
//! allows for lost answers forgives; if it is refused, the state says that a refresh was under way.

mod archived;
mod client;
mod endpoint;
mod examine;
mod fault;
mod flow;
mod gained;
mod grants;
mod keeper;
mod link;
mod memory;
mod refresh;
mod renewal;
mod renewing;
mod tokens;

#[cfg(test)]
mod tests;

pub use examine::AppVerdict;
pub use fault::FlowFault;
pub use flow::{Consent, Returned, digest_of as state_digest};
pub use gained::{Authorized, Revocation};
pub use grants::{Condition, Death, Doing, Doubt, Flow, Grants, GrantsFault, Sharing, Stored, Verifier};
pub use memory::MemoryGrants;
pub use renewal::Awaiting;
pub use tokens::Tokens;

pub(super) use keeper::Keeper;
pub(super) use refresh::Under;
pub(super) use renewal::Renewal;
