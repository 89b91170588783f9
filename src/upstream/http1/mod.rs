//! HTTP/1.1 towards the upstream, spoken inside the task of the request that needs it: one exchange at a time.

mod body;
mod exchange;
mod link;
mod request;
mod response;

pub(super) use body::Reading;
pub(super) use exchange::Waiting;
pub(super) use link::Link;

#[cfg(test)]
mod tests;
