//! Tasks that run beside a request, and what blocks: the one place that spawns.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
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

thread_local! {
    /// Whether a single future is all that this thread has to do.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// What blocks for so long is slow: what comes after it had better not wait for it.
const SLOW: Duration = Duration::from_millis(20);

/// Runs a future to its end on a runtime that has nothing else to do until then: what blocks does so on this thread, as
/// long as none of it is slow. Timers of the future do not fire meanwhile.
pub fn block_on_alone<F: Future>(runtime: &Runtime, future: F) -> F::Output {
    struct Alone(bool);
    impl Drop for Alone {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _before = Alone(ALONE.replace(true));
    runtime.block_on(future)
}

/// Whether this thread has nothing to do but one future.
pub fn is_alone() -> bool {
    ALONE.get()
}

/// Does what may block, such as to read a file that may lie on a network: beside the tasks of this thread or, where it has
/// nothing else to do, on it, since to hand it to another and to be woken takes longer than most of it. It begins once it is
/// awaited, and must not wait for a task of this thread. None when it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if !is_alone() {
        return aside(work).await;
    }
    let begun = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    if begun.elapsed() > SLOW {
        ALONE.set(false);
    }
    done
}

/// Does what may wait for somebody else on a thread that may be held up. None when it panicked.
#[expect(clippy::disallowed_methods, reason = "the one place that blocks beside a runtime")]
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::runtime::Builder;

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn what_blocks_does_so_here_only_where_nothing_waits_for_this_thread() {
        let here = thread::current().id();
        let whereabouts = async || {
            let nested = async { blocking(|| thread::current().id()).await.unwrap() };
            (nested.await, aside(|| thread::current().id()).await.unwrap())
        };
        let (blocked, beside) = block_on_alone(&runtime(), whereabouts());
        assert_eq!(blocked, here);
        assert_ne!(beside, here);
        let (blocked, beside) = runtime().block_on(whereabouts());
        assert_ne!(blocked, here);
        assert_ne!(beside, here);
    }

    #[test]
    fn what_comes_after_something_slow_is_done_beside_it() {
        let here = thread::current().id();
        // Slow is what takes longer than that, however it does.
        let slow = || {
            let begun = Instant::now();
            while begun.elapsed() <= SLOW {
                thread::yield_now();
            }
            thread::current().id()
        };
        let both = async { (blocking(slow).await.unwrap(), blocking(|| thread::current().id()).await.unwrap()) };
        let (first, second) = block_on_alone(&runtime(), both);
        assert_eq!(first, here);
        assert_ne!(second, here);
        assert_eq!(block_on_alone(&runtime(), blocking(|| thread::current().id())), Some(here), "the next start");
    }

    #[test]
    fn what_panics_is_told_apart_and_ends_nothing_else() {
        for alone in [true, false] {
            let runtime = runtime();
            let both = async { (blocking(|| panic!("as told")).await, blocking(|| 1).await) };
            let (broken, whole): (Option<()>, _) =
                if alone { block_on_alone(&runtime, both) } else { runtime.block_on(both) };
            assert_eq!((broken, whole), (None, Some(1)));
        }
        let broken = catch_unwind(|| block_on_alone(&runtime(), async { panic!("as told") }));
        assert!(broken.is_err());
        assert!(!is_alone(), "whoever comes next on this thread may have more to do");
    }
}
