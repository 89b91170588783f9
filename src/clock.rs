//! One coarse clock a worker: deadlines are looked at every tick, so that a request arms none of the runtime's timers.
//!
//! A deadline fires at most two ticks late and never early. Nothing here is shared between threads.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

/// How often deadlines are looked at.
pub const TICK: Duration = Duration::from_millis(100);

/// The deadlines of one worker.
pub struct Sweep {
    now: Cell<Instant>,
    slots: RefCell<Slab<Slot>>,
}

struct Slot {
    deadline: Option<Instant>,
    waker: Option<Waker>,
}

impl Sweep {
    /// A sweep without deadlines.
    pub fn new() -> Rc<Self> {
        Rc::new(Self { now: Cell::new(Instant::now()), slots: RefCell::new(Slab::new()) })
    }

    /// The time of the last tick: at most one tick old.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Notes the time and wakes whoever waits for a deadline that has passed.
    pub fn tick(&self) {
        let now = Instant::now();
        self.now.set(now);
        for (_, slot) in &mut *self.slots.borrow_mut() {
            if slot.deadline.is_some_and(|deadline| deadline <= now) {
                wake(slot);
            }
        }
    }

    /// Wakes everybody who waits for a deadline, passed or not: something that they all must see has changed.
    pub fn wake_all(&self) {
        for (_, slot) in &mut *self.slots.borrow_mut() {
            wake(slot);
        }
    }
}

#[cfg(test)]
impl Sweep {
    /// Has so much time pass at once.
    pub(crate) fn pass(&self, time: Duration) {
        self.now.set(self.now() + time);
        self.wake_all();
    }
}

fn wake(slot: &mut Slot) {
    if let Some(waker) = slot.waker.take() {
        waker.wake();
    }
}

/// One deadline that can be set again and again.
pub struct Deadline {
    sweep: Rc<Sweep>,
    slot: usize,
}

impl Deadline {
    /// A deadline that is not set.
    pub fn new(sweep: &Rc<Sweep>) -> Self {
        let slot = sweep.slots.borrow_mut().insert(Slot { deadline: None, waker: None });
        Self { sweep: sweep.clone(), slot }
    }

    /// Another deadline of the same worker, not set.
    pub fn sibling(&self) -> Self {
        Self::new(&self.sweep)
    }

    /// Sets it to `after` from now, whatever it was.
    pub fn set(&self, after: Duration) {
        let at = self.sweep.now().checked_add(after + TICK);
        self.sweep.slots.borrow_mut()[self.slot].deadline = at;
    }

    /// Sets it to nothing; who waits for it is still woken by [`Sweep::wake_all`].
    pub fn clear(&self) {
        self.sweep.slots.borrow_mut()[self.slot].deadline = None;
    }

    /// Ready once the deadline has passed; until then the task is woken when it does.
    pub fn poll_passed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let slot = &mut self.sweep.slots.borrow_mut()[self.slot];
        if slot.deadline.is_some_and(|deadline| deadline <= self.sweep.now.get()) {
            return Poll::Ready(());
        }
        match &mut slot.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => slot.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.sweep.slots.borrow_mut().remove(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_once_its_time_has_come_and_can_be_set_again() {
        let sweep = Sweep::new();
        let deadline = Deadline::new(&sweep);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(deadline.poll_passed(cx).is_pending(), "not set");
        deadline.set(Duration::from_secs(3600));
        sweep.tick();
        assert!(deadline.poll_passed(cx).is_pending());
        sweep.pass(Duration::from_secs(3601));
        assert!(deadline.poll_passed(cx).is_ready());
        deadline.clear();
        assert!(deadline.poll_passed(cx).is_pending());
        drop(deadline);
        assert!(sweep.slots.borrow().is_empty());
    }
}
