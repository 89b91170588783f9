//! A gateway process is killed at every step of a refresh, in front of a Close that ends a whole grant when an old refresh
//! token is used twice: afterwards the grant goes on being renewed, or the state says what happened.
//!
//! The window that nobody can close lies between the moment in which Close has spent the old token and that in which the new
//! one is in the store; nothing but a kill in there may cost a grant. How many grants were lost at which step is printed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use closegate::sim::{Fault, OAuthApp, Simulator, Trouble};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::authorizing::{call, close, declared, new_app, office};
use crate::postgres::Postgres;
use crate::raw::Raw;
use crate::replicas::shared_store;
use crate::spawned::{Process, closegate};
use crate::world::{RUNTIME, Setup};

/// Where a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// At an instant of no choice, so long after the last refresh.
    Anytime(Duration),
    /// Close has the request, and has done nothing yet.
    Received,
    /// Close has spent the old token, and has not answered.
    Rotated,
    /// Close has sent half of the answer.
    HalfAnswered,
    /// So long after Close has begun to answer.
    Answered(Duration),
    /// The gateway has said that it goes by the new token.
    Stored,
}

/// What became of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It works: it was renewed again.
    Alive,
    /// It is over, and the state says that a refresh was under way when the process ended.
    Lost,
}

impl Step {
    /// What must become of a grant; none where either may be.
    fn fate(self) -> Option<Fate> {
        match self {
            Self::Received | Self::Stored => Some(Fate::Alive),
            Self::Rotated | Self::HalfAnswered => Some(Fate::Lost),
            Self::Anytime(_) | Self::Answered(_) => None,
        }
    }
}

/// One gateway, killed and started again, and the Close before it.
struct Ward {
    simulator: Simulator,
    app: OAuthApp,
    folder: TempDir,
    running: Running,
}

struct Running {
    process: Process,
    proxy: SocketAddr,
    admin: SocketAddr,
}

fn start(folder: &TempDir) -> Running {
    let process = Process::start(closegate(folder.path()));
    let address = |text: &str| process.stderr.after(text).parse().unwrap();
    let (proxy, admin) = (address("the proxy listens address="), address("the admin listener listens address="));
    Running { process, proxy, admin }
}

impl Ward {
    /// Access tokens live for a second: they are renewed all the time. The store is the one that `placed` sets.
    fn new(placed: impl FnOnce(Setup) -> Setup) -> Self {
        let app = new_app().lifetime(Duration::from_secs(1));
        let simulator = close(&app);
        let folder = declared(placed(office(&simulator)), &simulator, &app).write();
        let running = start(&folder);
        let ward = Self { simulator, app, folder, running };
        ward.authorize();
        ward
    }

    /// Gives it a new grant, as a person does who takes one over.
    fn authorize(&self) {
        let grant = self.simulator.grant(&self.app).unwrap();
        let body = json!({ "refresh_token": grant.refresh_token });
        let taken = call(self.running.admin, "POST", "/partner/authorize", Some(&body));
        assert_eq!(taken.status, 200, "{}", taken.text());
    }

    fn refreshes(&self) -> usize {
        self.simulator.grants().last().unwrap().refreshes
    }

    /// How often the running process has said that it goes by a new token.
    fn renewals(&self) -> usize {
        self.running.process.stderr.text().matches(RENEWED).count()
    }

    /// Lets the refresh that comes next go as far as the step.
    fn reach(&self, step: Step) {
        match step {
            Step::Anytime(_) => self.running.process.stderr.wait_for(RENEWED, self.renewals() + 1),
            Step::Received => self.hold(Trouble::NoAnswer),
            Step::HalfAnswered => self.hold(Trouble::HoldBody(40)),
            Step::Rotated | Step::Answered(_) => self.hold(Trouble::HoldAnswer),
            Step::Stored => {
                self.hold(Trouble::HoldAnswer);
                self.let_store(|| {});
            }
        }
    }

    /// Holds the next refresh.
    fn hold(&self, trouble: Trouble) {
        self.simulator.script(Fault::new(trouble).under("/oauth2/token/"));
        let held = self.simulator.until(|simulator| simulator.held() == 1);
        let reached = RUNTIME.block_on(async { tokio::time::timeout(STUCK, held).await });
        reached.unwrap_or_else(|_| panic!("no refresh comes: {}", self.running.process.stderr.text()));
    }

    /// Lets an answer that is held go, and waits until its tokens are in use; the refresh after that comes to nothing.
    fn let_store(&self, meanwhile: impl FnOnce()) {
        let renewals = self.renewals();
        self.simulator.script(Fault::new(Trouble::NoAnswer).under("/oauth2/token/"));
        self.simulator.release(1);
        meanwhile();
        self.running.process.stderr.wait_for(RENEWED, renewals + 1);
    }

    /// Kills it there.
    fn kill(&mut self, step: Step) {
        if let Step::Answered(_) = step {
            self.simulator.release(1);
            // What is let through after its client has gone would let the next one through.
            RUNTIME.block_on(self.simulator.until(|simulator| simulator.held() == 0));
        }
        if let Step::Answered(later) | Step::Anytime(later) = step {
            // The instant is what is tested.
            std::thread::sleep(later);
        }
        self.running.process.signal(Signal::KILL);
        self.running.process.wait();
        self.simulator.clear_faults();
        // What is held ends with its client.
        RUNTIME.block_on(self.simulator.until(|simulator| simulator.live() == 0));
    }

    /// Starts it again, and sees what has become of the grant.
    fn recover(&mut self) -> Fate {
        let before = self.refreshes();
        self.running = start(&self.folder);
        self.running.process.stderr.wait_for_either(RENEWED, OVER);
        let seen = call(self.running.admin, "GET", "/partner", None).json();
        let over = self.simulator.grants().last().unwrap().over;
        if seen["state"] == "dead" {
            assert!(over, "a grant that works is given up: {seen}");
            assert!(seen["reason"].as_str().unwrap().contains("when the process ended"), "{seen}");
            self.authorize();
            return Fate::Lost;
        }
        assert!(self.refreshes() > before && !over, "{seen}");
        assert_eq!(self.status(), 200);
        Fate::Alive
    }

    fn status(&self) -> u16 {
        let mut client = Raw::connect(self.running.proxy);
        client.send("GET /partner/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.answer().status
    }
}

/// How many grants had which fate, by the step at which their process was killed.
#[derive(Default)]
struct Table(Mutex<BTreeMap<(&'static str, Fate), usize>>);

impl Table {
    fn enter(&self, step: Step, fate: Fate) {
        if let Some(expected) = step.fate() {
            assert_eq!(fate, expected, "{step:?}");
        }
        let name = match step {
            Step::Anytime(_) => "at any time",
            Step::Received => "request received",
            Step::Rotated => "token rotated",
            Step::HalfAnswered => "answer half written",
            Step::Answered(_) => "just after the answer",
            Step::Stored => "token stored",
        };
        *self.0.lock().unwrap().entry((name, fate)).or_default() += 1;
    }

    /// Prints it; how many there were.
    fn print(&self, title: &str) -> usize {
        let table = self.0.lock().unwrap();
        println!("{title}");
        table.iter().for_each(|((step, fate), count)| println!("  {step:<24}{count:>4} {fate:?}"));
        table.values().sum()
    }
}

fn milliseconds(count: usize) -> Duration {
    Duration::from_millis(count as u64)
}

#[test]
fn a_process_killed_at_any_step_of_a_refresh_loses_no_grant_that_can_be_kept() {
    let table = Table::default();
    std::thread::scope(|scope| {
        for number in 0..WARDS {
            let table = &table;
            scope.spawn(move || {
                let mut ward = Ward::new(|setup| setup);
                for turn in 0..TURNS {
                    let step = match turn % 6 {
                        0 => Step::Received,
                        1 => Step::Answered(milliseconds(turn / 6 * WARDS + number)),
                        2 => Step::Rotated,
                        3 => Step::Stored,
                        4 => Step::Anytime(milliseconds((turn / 6 * WARDS + number) * 25)),
                        _ => Step::HalfAnswered,
                    };
                    ward.reach(step);
                    ward.kill(step);
                    table.enter(step, ward.recover());
                }
                assert_eq!(ward.simulator.violations(), Vec::<String>::new());
            });
        }
    });
    assert_eq!(table.print("killed, SQLite:"), WARDS * TURNS);
}

#[test]
fn the_same_with_a_database_that_is_stopped_and_started_in_between() {
    let table = Table::default();
    let mut postgres = Postgres::start();
    let mut wards: Vec<Ward> = (0..5)
        .map(|number| {
            let url = postgres.database(&format!("ward{number}"));
            Ward::new(|setup| shared_store(setup, &url, "1h"))
        })
        .collect();
    let later = milliseconds(20);
    let steps =
        [Step::Received, Step::Rotated, Step::Answered(later), Step::Stored, Step::HalfAnswered, Step::Anytime(later)];
    for step in steps {
        each(&mut wards, |ward| {
            ward.reach(step);
            ward.kill(step);
        });
        postgres.halt();
        postgres.resume();
        each(&mut wards, |ward| table.enter(step, ward.recover()));
    }
    // The database is gone while Close answers: the new tokens wait for it, and outlive the process once they are stored.
    for _ in 0..2 {
        each(&mut wards, |ward| ward.hold(Trouble::HoldAnswer));
        postgres.halt();
        let waiting = &Barrier::new(wards.len() + 1);
        std::thread::scope(|scope| {
            for ward in &wards {
                let tell = move || {
                    ward.running.process.stderr.wait_for("its new tokens cannot be stored", 1);
                    waiting.wait();
                };
                scope.spawn(move || ward.let_store(tell));
            }
            waiting.wait();
            postgres.resume();
        });
        each(&mut wards, |ward| {
            ward.kill(Step::Stored);
            table.enter(Step::Stored, ward.recover());
        });
    }
    assert_eq!(table.print("killed, PostgreSQL stopped and started 8 times:"), 40);
}

fn each(wards: &mut [Ward], act: impl Fn(&mut Ward) + Sync) {
    let act = &act;
    std::thread::scope(|scope| {
        for ward in wards {
            scope.spawn(move || act(ward));
        }
    });
}

const WARDS: usize = 8;
const TURNS: usize = 26;
const RENEWED: &str = "its access token is renewed";
/// What it says of a grant that is dead.
const OVER: &str = "the grant is over";
/// A guard against what never comes.
const STUCK: Duration = Duration::from_secs(60);
