//! Where administrative events are written down.

use super::management::Answer;
use super::model::NewEvent;

/// Writes events down, in the store and as a line on stdout; never a secret.
///
/// `Management` notes what it does itself. This is for what happens before anything can be done: signing in and out.
pub trait Journal: Send + Sync {
    /// Notes an event.
    fn note(&self, event: NewEvent) -> Answer<'_, ()>;
}
