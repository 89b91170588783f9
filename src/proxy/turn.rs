//! A long answer lets others have their turn: its task goes to the end of the worker's queue after every piece of it.

use std::task::{Context, Poll};

/// How much of an answer has gone on in this turn of its task.
#[derive(Default)]
pub(super) struct Turn {
    given: usize,
}

impl Turn {
    /// Ready while the turn lasts; once it is over the task is woken for its next one.
    pub(super) fn poll_goes_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.given < LONGEST {
            return Poll::Ready(());
        }
        self.end();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// So many bytes went on.
    pub(super) fn give(&mut self, bytes: usize) {
        self.given += bytes;
    }

    /// The turn has ended by itself: the task waits.
    pub(super) fn end(&mut self) {
        self.given = 0;
    }
}

/// The bytes of one turn. hyper's codec of HTTP/1 asks a second time in the same poll of its task, so that it takes up to
/// 128 KiB at once: about a tenth of a millisecond.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio_test::task;

    use super::*;

    #[test]
    fn a_turn_ends_after_its_bytes_and_the_next_one_comes() {
        let mut turn = Turn::default();
        for _ in 0..3 {
            let mut task = task::spawn(());
            turn.give(LONGEST - 1);
            assert!(task.enter(|cx, _| turn.poll_goes_on(cx)).is_ready());
            turn.give(1);
            assert!(!task.is_woken());
            assert!(task.enter(|cx, _| turn.poll_goes_on(cx)).is_pending());
            assert!(task.is_woken());
            assert!(task.enter(|cx, _| turn.poll_goes_on(cx)).is_ready());
        }
        turn.give(LONGEST);
        turn.end();
        assert!(task::spawn(()).enter(|cx, _| turn.poll_goes_on(cx)).is_ready());
    }
}
