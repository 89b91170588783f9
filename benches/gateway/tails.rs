//! What one client, or a reload, does to all others: their delays at a fixed rate, calm and disturbed in turn.
//!
//! Calm and disturbed follow each other within a round, on the same process, and are compared there. What disturbs goes to
//! an origin of its own: what is seen is what the gateway lets happen.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::contenders::{self, ASKED, PATIENCE, Place, Running, answers, basic, free_port, presented, secret};
use crate::driver::Target;
use crate::measure::Spread;
use crate::origin::{EXHAUSTED, Origin};
use crate::paced::{self, LASTING};
use crate::scenario::Scenario;

/// By how much the 99th percentile of others may grow.
const ALLOWED: f64 = 2.0;
/// Requests that wait for their turn.
const HELD: usize = 1000;
/// Requests that are not held by then never will be.
const UNHELD: Duration = Duration::from_secs(30);
/// Bytes of the long answer.
const LONG: usize = 64 << 20;
/// Bytes of the slow upload, which does not get to its end.
const UPLOAD: usize = 20 << 20;
/// What whoever disturbs presents, as the user name of Basic.
const OTHER_KEY: &str = "bench-gateway-key-9876543210";

/// What goes on beside the requests that are measured.
#[derive(Clone, Copy)]
enum Disturbance {
    /// A client sends a body, 1 KiB every 10 ms.
    Upload,
    /// A client reads an answer of 64 MiB while the others are measured.
    Download,
    /// Requests wait for Close's rate limit.
    Held,
    /// The configuration changes and is loaded again, five times a second.
    Reload,
}

impl Disturbance {
    const ALL: [Self; 4] = [Self::Upload, Self::Download, Self::Held, Self::Reload];

    fn name(self) -> &'static str {
        match self {
            Self::Upload => "a slow upload",
            Self::Download => "an answer of 64 MiB",
            Self::Held => "1,000 held requests",
            Self::Reload => "reloads",
        }
    }
}

/// One calm and one disturbed spell of a round.
struct Spell {
    calm: f64,
    disturbed: f64,
}

/// Measures all disturbances in turn, and fails where one does too much to the others.
pub(crate) fn tails(place: &Place<'_>, rounds: usize, rate: u32) -> Result<()> {
    let other = Origin::another(place.folder)?;
    let scenario = Scenario::named("1k-32")?;
    let mut spells: [Vec<Spell>; Disturbance::ALL.len()] = Default::default();
    for _ in 0..rounds {
        let scene = Scene::begin(place, &other)?;
        let target = Target { port: scene.running.port(), authorization: presented() };
        let pace = || match paced::pace(&target, &scenario, rate)? {
            (delays, 0) => Ok::<_, Box<dyn std::error::Error>>(delays.p99),
            (_, failed) => Err(format!("{failed} requests failed").into()),
        };
        // Connections are opened and everything is mapped before anything is compared.
        pace()?;
        for (disturbance, spells) in Disturbance::ALL.into_iter().zip(&mut spells) {
            let calm = pace()?;
            let going_on = scene.disturb(disturbance)?;
            let disturbed = pace()?;
            going_on.end()?;
            scene.settle()?;
            spells.push(Spell { calm, disturbed });
        }
    }
    report(&spells, rounds, rate)
}

fn report(spells: &[Vec<Spell>], rounds: usize, rate: u32) -> Result<()> {
    println!("p99 in microseconds of 1 KB over 32 connections, {rate} a second; medians of {rounds} rounds\n");
    println!("| beside | calm | disturbed | ratio | min | max |\n|---|---|---|---|---|---|");
    let mut worst: f64 = 0.0;
    for (disturbance, spells) in Disturbance::ALL.into_iter().zip(spells) {
        let spread = |of: fn(&Spell) -> f64| Spread::of(spells.iter().map(of)).ok_or("no round was played");
        let (calm, disturbed) = (spread(|spell| spell.calm)?, spread(|spell| spell.disturbed)?);
        let ratio = spread(|spell| spell.disturbed / spell.calm)?;
        let (name, calm, disturbed) = (disturbance.name(), calm.median, disturbed.median);
        let Spread { min, median, max } = ratio;
        println!("| {name} | {calm:.0} | {disturbed:.0} | {median:.2} | {min:.2} | {max:.2} |");
        worst = worst.max(median);
    }
    if worst <= ALLOWED { Ok(()) } else { Err(format!("a p99 grows by more than {ALLOWED}").into()) }
}

/// closegate with a second route to the origin of whoever disturbs, and a key for that.
struct Scene {
    running: Running,
    metrics: u16,
    file: PathBuf,
}

impl Scene {
    fn begin(place: &Place<'_>, other: &Origin) -> Result<Self> {
        let (port, metrics, folder) = (free_port()?, free_port()?, place.folder.display());
        secret(&place.folder.join("other-key"), OTHER_KEY)?;
        let more = format!(
            r#"[metrics]
address = "127.0.0.1:{metrics}"
[pace]
max_wait = "300s"
[credentials.other]
api_key = {{ file = "{folder}/credential" }}
[routes.other]
prefix = "/other"
credential = "other"
upstream = "https://localhost:{}"
[keys.other]
secret = {{ file = "{folder}/other-key" }}
routes = ["other"]
concurrency = 10000
"#,
            other.port()
        );
        let command = contenders::command_with(place, port, &more)?;
        let running = Running::of(command, port, place)?.answering(place, PATIENCE, |port| answers(port, ASKED))?;
        Ok(Self { running, metrics, file: place.folder.join("closegate.toml") })
    }

    /// Begins it; it is under way when this returns.
    fn disturb(&self, disturbance: Disturbance) -> Result<GoingOn> {
        let port = self.running.port();
        match disturbance {
            Disturbance::Upload => Ok(GoingOn::on_a_thread(move |over| upload(port, &over))),
            Disturbance::Download => Ok(GoingOn::on_a_thread(move |over| download(port, &over))),
            Disturbance::Held => self.hold(),
            Disturbance::Reload => {
                let (pid, file, metrics) = (self.running.pid(), self.file.clone(), self.metrics);
                Ok(GoingOn::on_a_thread(move |over| reload(pid, &file, metrics, &over)))
            }
        }
    }

    /// Waits until nothing is left of a disturbance: what comes next is calm.
    fn settle(&self) -> Result<()> {
        while in_flight(self.metrics)? > 0 {
            thread::sleep(PATIENCE);
        }
        Ok(())
    }

    /// Uses up the limit of the other credential, and has requests wait for it until their connections are dropped.
    fn hold(&self) -> Result<GoingOn> {
        let mut first = ask(self.running.port(), "GET", &format!("/other{EXHAUSTED}?size=64"), 0)?;
        status_ok(&mut first)?;
        let mut held = Vec::new();
        for _ in 0..HELD {
            held.push(ask(self.running.port(), "GET", &format!("/other{EXHAUSTED}?size=64"), 0)?);
        }
        let begun = Instant::now();
        while in_flight(self.metrics)? < HELD {
            if begun.elapsed() > UNHELD {
                return Err("requests beyond the limit are not held".into());
            }
            thread::sleep(PATIENCE);
        }
        Ok(GoingOn::Held { _connections: held, metrics: self.metrics })
    }
}

/// A disturbance that goes on until it is told to end.
enum GoingOn {
    OnAThread { over: Arc<AtomicBool>, thread: JoinHandle<Result<(), String>> },
    Held { _connections: Vec<TcpStream>, metrics: u16 },
}

impl GoingOn {
    fn on_a_thread(disturb: impl FnOnce(Arc<AtomicBool>) -> Result<()> + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        Self::OnAThread { over, thread: thread::spawn(move || disturb(told).map_err(|error| error.to_string())) }
    }

    /// Ends it; it must have gone on until now.
    fn end(self) -> Result<()> {
        match self {
            Self::OnAThread { over, thread } => {
                over.store(true, Ordering::Relaxed);
                Ok(thread.join().map_err(|_| "what disturbs has stopped")??)
            }
            Self::Held { metrics, .. } => match in_flight(metrics)? {
                HELD.. => Ok(()),
                held => Err(format!("only {held} requests were held to the end").into()),
            },
        }
    }
}

fn upload(port: u16, over: &AtomicBool) -> Result<()> {
    let mut stream = ask(port, "POST", "/other/api/v1/lead/?size=64", UPLOAD)?;
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) && sent < UPLOAD - 1024 {
        stream.write_all(&[b' '; 1024])?;
        sent += 1024;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Reads as fast as brings the whole answer in the time for which the others are measured, and then another one.
fn download(port: u16, over: &AtomicBool) -> Result<()> {
    let mut piece = vec![0; 64 * 1024];
    while !over.load(Ordering::Relaxed) {
        let mut stream = ask(port, "GET", &format!("/other/api/v1/lead/?size={LONG}"), 0)?;
        status_ok(&mut stream)?;
        let (begun, mut read) = (Instant::now(), 0);
        while read < LONG && !over.load(Ordering::Relaxed) {
            match stream.read(&mut piece)? {
                0 => return Err(format!("the long answer ended after {read} bytes").into()),
                more => read += more,
            }
            let due = LASTING.mul_f64(read as f64 / LONG as f64);
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    Ok(())
}

fn reload(pid: u32, file: &Path, metrics: u16, over: &AtomicBool) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let pid = Pid::from_raw(pid.cast_signed()).ok_or("no process")?;
    let before = metric(metrics, RELOADS)?;
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let new = file.with_extension("new");
        fs::write(&new, format!("{text}description = \"{number}\"\nrate = \"{}/s\"\n", 1_000_000 + number))?;
        fs::rename(&new, file)?;
        kill_process(pid, Signal::HUP)?;
        thread::sleep(Duration::from_millis(200));
    }
    match metric(metrics, RELOADS)? - before {
        reloads if reloads >= 1.0 => Ok(()),
        _ => Err("the configuration was not loaded again".into()),
    }
}

const RELOADS: &str = "closegate_config_reloads_total{outcome=\"success\"}";

/// Sends the head of a request of whoever disturbs.
fn ask(port: u16, method: &str, target: &str, length: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let length = if length > 0 { format!("Content-Length: {length}\r\n") } else { String::new() };
    let authorization = basic(OTHER_KEY);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {authorization}\r\n{length}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

fn status_ok(stream: &mut TcpStream) -> Result<()> {
    let mut line = [0; 13];
    stream.read_exact(&mut line)?;
    if line.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(line.escape_ascii().to_string().into()) }
}

fn in_flight(metrics: u16) -> Result<usize> {
    Ok(metric(metrics, "closegate_in_flight_requests{route=\"other\"}")? as usize)
}

/// The value of a series; 0 where there is none.
fn metric(port: u16, series: &str) -> Result<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n")?;
    let page = std::io::read_to_string(stream)?;
    let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(value.map_or(Ok(0.0), str::parse)?)
}
