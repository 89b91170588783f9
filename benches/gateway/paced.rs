//! Delays at a fixed rate: requests are due at times of their own, whether or not those before them were answered.
//!
//! A delay counts from the time at which a request was due, so that one slow answer is not hidden by the requests that
//! it kept from being sent.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

use crate::Result;
use crate::driver::{Connection, Target};
use crate::scenario::Scenario;

/// How long requests are sent.
pub(crate) const LASTING: Duration = Duration::from_secs(2);

/// Quantiles of the delays, in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Delays {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Delays {
    /// Each quantile less the same of another.
    pub(crate) fn beyond(self, other: Self) -> Self {
        Self { p50: self.p50 - other.p50, p99: self.p99 - other.p99, p999: self.p999 - other.p999 }
    }
}

/// Sends so many requests a second, and says how long their answers took and how many failed.
pub(crate) fn pace(target: &Target, scenario: &Scenario, rate: u32) -> Result<(Delays, usize)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (due, queue) = unbounded_channel();
    let queue = Rc::new(Mutex::new(queue));
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    // A thread of its own: timers of the runtime are whole milliseconds.
    let clock = std::thread::spawn(move || {
        let (begun, gap) = (Instant::now(), Duration::from_secs(1) / rate);
        for n in 1.. {
            let at = begun + gap * n;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if at - begun > LASTING || due.send(at).is_err() {
                return;
            }
        }
    });
    let tasks = LocalSet::new();
    for _ in 0..scenario.connections {
        let (queue, outcome, target, scenario) = (Rc::clone(&queue), Rc::clone(&outcome), target.clone(), *scenario);
        tasks.spawn_local(async move {
            while let Err(error) = answers(&target, &scenario, &queue, &outcome).await {
                outcome.borrow_mut().errors += 1;
                if error.kind() == std::io::ErrorKind::ConnectionRefused {
                    return;
                }
            }
        });
    }
    runtime.block_on(tasks);
    clock.join().map_err(|_| "the clock of the load has stopped")?;
    let mut outcome = outcome.borrow_mut();
    Ok((outcome.delays()?, outcome.errors))
}

#[derive(Default)]
struct Outcome {
    micros: Vec<f64>,
    errors: usize,
}

impl Outcome {
    fn delays(&mut self) -> Result<Delays> {
        self.micros.sort_by(f64::total_cmp);
        let last = self.micros.len().checked_sub(1).ok_or("no request was answered at the fixed rate")?;
        let quantile = |share: f64| self.micros[(last as f64 * share).round() as usize];
        Ok(Delays { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999) })
    }
}

/// One connection: takes what is due next whenever it is free, until nothing is due any more.
async fn answers(
    target: &Target,
    scenario: &Scenario,
    queue: &Mutex<UnboundedReceiver<Instant>>,
    outcome: &RefCell<Outcome>,
) -> std::io::Result<()> {
    let mut connection = Connection::open(target, scenario).await?;
    loop {
        let Some(due) = queue.lock().await.recv().await else { return Ok(()) };
        connection.exchange().await?;
        outcome.borrow_mut().micros.push(due.elapsed().as_secs_f64() * 1e6);
    }
}
