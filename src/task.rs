//! Tasks that run beside a request: the one place that spawns.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use tokio::sync::oneshot;

/// Runs a future on the current thread's local runtime until it ends; nobody waits for it.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns on a worker")]
pub fn spawn_local<F: Future<Output = ()> + 'static>(future: F) {
    drop(tokio::task::spawn_local(future));
}

/// A task that ends when this is dropped.
pub struct Attached(tokio::task::AbortHandle);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a future on the current thread's local runtime until it ends or what it is attached to does.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns on a worker")]
pub fn spawn_attached<F: Future<Output = ()> + 'static>(future: F) -> Attached {
    Attached(tokio::task::spawn_local(future).abort_handle())
}

/// Runs a future on the service thread's runtime; a panic in it is logged with the task's name, without its payload.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns on the service thread")]
pub fn spawn<F: Future<Output = ()> + Send + 'static>(name: &'static str, future: F) {
    let watched = tokio::spawn(AssertUnwindSafe(future).0);
    drop(tokio::spawn(async move {
        if watched.await.is_err_and(|error| error.is_panic()) {
            tracing::error!(task = name, "a background task panicked; its work has stopped");
        }
    }));
}

/// Does something to its end on the service thread's runtime, also when whoever waits for it leaves; none when it panicked.
pub async fn concluded<F>(name: &'static str, doing: F) -> Option<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    spawn(name, async move {
        // Nobody may want it any more.
        let _ = sender.send(doing.await);
    });
    receiver.await.ok()
}
