//! What the guard of a connection and the handler of its requests tell each other: verdicts, faults, marks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::head::WireFault;
use crate::clock::Deadline;

/// One message as the guard found it.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Its number on the connection, from 1.
    pub number: u64,
    /// When the head was whole.
    pub at: Instant,
}

/// What went wrong inside a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The framing is broken; the text says how.
    #[error("{0}")]
    Malformed(&'static str),
    /// Nothing came for `listen.body_timeout`.
    #[error("the request's body did not arrive in time")]
    Timeout,
}

/// The line between the guard and the handler of one connection.
pub struct Line {
    /// The guard's deadline for reading, and how long the connection may be idle.
    reading: Rc<Deadline>,
    idle: Duration,
    /// How many verdicts there were.
    judged: Cell<u64>,
    /// Whether the next message has begun to arrive: its head has a deadline already.
    inside_head: Cell<bool>,
    /// Whether the client holds up what is written to it.
    held_up: Cell<bool>,
    verdicts: RefCell<VecDeque<Result<Message, WireFault>>>,
    fault: Cell<Option<(u64, BodyFault)>>,
    reader: RefCell<Option<Waker>>,
    answered: Cell<u64>,
    reset: Cell<bool>,
    hurried: Cell<bool>,
    /// Whether the connection is being closed: it does not rest any more.
    parting: Cell<bool>,
}

impl Line {
    pub(super) fn new(reading: Rc<Deadline>, idle: Duration) -> Rc<Self> {
        Rc::new(Self {
            reading,
            idle,
            judged: Cell::new(0),
            inside_head: Cell::new(false),
            held_up: Cell::new(false),
            verdicts: RefCell::default(),
            fault: Cell::new(None),
            reader: RefCell::default(),
            answered: Cell::new(0),
            reset: Cell::new(false),
            hurried: Cell::new(false),
            parting: Cell::new(false),
        })
    }

    pub(super) fn push(&self, verdict: Result<Message, WireFault>) {
        self.judged.set(self.judged.get() + 1);
        self.verdicts.borrow_mut().push_back(verdict);
    }

    /// How many messages there were.
    pub(super) fn judged(&self) -> u64 {
        self.judged.get()
    }

    /// The verdict on the next message; the codec hands over one request for each.
    pub(super) fn pop(&self) -> Option<Result<Message, WireFault>> {
        self.verdicts.borrow_mut().pop_front()
    }

    pub(super) fn break_body(&self, number: u64, fault: BodyFault) {
        self.fault.set(Some((number, fault)));
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// What is wrong with the body of a message; while nothing is, the task is woken when that changes.
    pub fn fault_of(&self, number: u64, cx: &mut Context<'_>) -> Option<BodyFault> {
        let fault = self.fault.get().filter(|(of, _)| *of == number).map(|(_, fault)| fault);
        if fault.is_none() {
            let mut reader = self.reader.borrow_mut();
            match &mut *reader {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *reader = Some(cx.waker().clone()),
            }
        }
        fault
    }

    /// What is wrong with the body of a message, if anything is.
    pub fn known_fault_of(&self, number: u64) -> Option<BodyFault> {
        self.fault.get().filter(|(of, _)| *of == number).map(|(_, fault)| fault)
    }

    /// Notes that a message's exchange is over; after the last one the connection is idle from now on.
    ///
    /// The guard may not be asked to read again before something arrives: the deadline is set here.
    pub fn conclude(&self, number: u64) {
        self.answered.set(self.answered.get().max(number));
        if number == self.judged.get() && !self.inside_head.get() {
            self.reading.set(self.idle);
        }
    }

    /// Notes whether a head has begun to arrive that is not whole.
    pub(super) fn note_head(&self, begun: bool) {
        self.inside_head.set(begun);
    }

    /// Notes whether the client holds up what is written to it.
    pub(super) fn note_held_up(&self, held_up: bool) {
        self.held_up.set(held_up);
    }

    /// Notes that the last answer is written and the connection is being closed.
    pub(super) fn note_parting(&self) {
        self.parting.set(true);
    }

    /// Whether everything that was asked is answered and written, and nothing of another request has come, on a
    /// connection that stays.
    pub(super) fn is_idle(&self) -> bool {
        let asked = self.judged.get();
        asked > 0
            && self.answered.get() == asked
            && self.verdicts.borrow().is_empty()
            && !self.inside_head.get()
            && !self.held_up.get()
            && !self.parting.get()
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.get()
    }

    /// Ends the connection with a TCP reset: the only way to tell an HTTP/1.0 client that an answer is not whole.
    pub fn reset(&self) {
        self.reset.set(true);
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.get()
    }

    /// Notes that the worker ends: nobody is waited for who was answered.
    pub(super) fn hurry(&self) {
        self.hurried.set(true);
    }

    pub(super) fn is_hurried(&self) -> bool {
        self.hurried.get()
    }
}
