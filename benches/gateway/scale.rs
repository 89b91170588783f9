//! What closegate takes at a start, with very many idle connections, over a long time, and with very many keys, routes and
//! credentials.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::Result;
use crate::contenders::{
    self, ASKED, CREDENTIAL, PATIENCE, Place, Running, answers, basic, free_port, presented, secret,
};
use crate::driver::{self, Target};
use crate::measure::{Spread, resident};
use crate::scenario::Scenario;

/// A figure, and what it may be at most.
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    at_most: Option<f64>,
}

/// The figures of a run; those of a build for debugging keep to nothing.
#[derive(Default)]
struct Figures(Vec<Figure>);

impl Figures {
    fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str, at_most: Option<f64>) {
        self.0.push(Figure { what: what.into(), value, unit, at_most });
    }

    /// Prints them as a table of Markdown, and fails where one is too large.
    fn tell(&self) -> Result<()> {
        println!("| | measured | at most |\n|---|---|---|");
        for Figure { what, value, unit, at_most } in &self.0 {
            let most = at_most.map_or("-".to_owned(), |most| format!("{most}{unit}"));
            println!("| {what} | {value:.2}{unit} | {most} |");
        }
        let over = |figure: &&Figure| figure.at_most.is_some_and(|most| figure.value > most);
        let missed: Vec<_> = self.0.iter().filter(over).map(|figure| figure.what.as_str()).collect();
        if missed.is_empty() || cfg!(debug_assertions) {
            return Ok(());
        }
        Err(format!("too much: {}", missed.join(", ")).into())
    }
}

const MEGABYTE: f64 = 1e6;

/// From the start of the process to the first answer that comes from the origin: the median of some starts; and what is
/// resident then, and with connections of which most are idle.
pub(crate) fn connections(place: &Place<'_>, idle: usize, active: usize) -> Result<()> {
    let mut figures = Figures::default();
    let starts = (0..STARTS).map(|_| Ok(start(place)?.1.as_secs_f64() * 1e3)).collect::<Result<Vec<_>>>()?;
    let starts = Spread::of(starts.into_iter()).ok_or("no start")?;
    figures.add(format!("start to first answer, median of {STARTS}"), starts.median, " ms", Some(10.0));
    raise_limit()?;
    let (running, _) = start(place)?;
    let pid = running.pid();
    std::thread::sleep(SETTLED);
    let at_rest = resident(pid)? as f64;
    figures.add("resident at rest", at_rest / MEGABYTE, " MB", Some(15.0));
    let mut quiet = Quiet::open(running.port(), idle)?;
    std::thread::sleep(SETTLED);
    let with_idle = resident(pid)? as f64;
    figures.add(format!("resident with {idle} idle connections"), with_idle / MEGABYTE, " MB", Some(100.0));
    let each = (with_idle - at_rest) / idle as f64 / 1e3;
    figures.add("an idle connection", each, " KB", Some(10.0));
    let target = Target { port: running.port(), authorization: presented() };
    let load = Scenario::named("1k-256")?.over(active);
    let errors = driver::drive(&target, &load, active * 40)?;
    let what = format!("resident with {active} active ones beside them");
    figures.add(what, resident(pid)? as f64 / MEGABYTE, " MB", None);
    figures.add("failed requests of the active", errors as f64, "", Some(0.0));
    figures.add("idle connections that were lost", quiet.lost() as f64, "", Some(0.0));
    figures.tell()
}

/// Starts whose median is taken.
const STARTS: usize = 9;
/// How long everything is left alone before memory is looked at: idle connections give back what they do not need after a
/// second.
const SETTLED: Duration = Duration::from_secs(5);

/// closegate with all its features, and how long its first answer took.
fn start(place: &Place<'_>) -> Result<(Running, Duration)> {
    let port = free_port()?;
    let command = contenders::command_with(place, port, "")?;
    let begun = Instant::now();
    // Asked more often it would take turns with what it waits for, on the same core.
    let pause = Duration::from_micros(500);
    let running = Running::of(command, port, place)?.answering(place, pause, |port| answers(port, ASKED))?;
    Ok((running, begun.elapsed()))
}

/// As many open files as the system lets this user have; a closegate that is started inherits it.
fn raise_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Connections that have each been answered once.
struct Quiet {
    streams: Vec<TcpStream>,
    request: Vec<u8>,
}

impl Quiet {
    fn open(port: u16, count: usize) -> Result<Self> {
        let target = Target { port, authorization: presented() };
        let request = driver::request(&target, &Scenario::named("1k-1")?.answered_with(SMALL));
        let mut quiet = Self { streams: Vec::with_capacity(count), request };
        for _ in 0..count {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            exchange(&mut stream, &quiet.request)?;
            quiet.streams.push(stream);
        }
        Ok(quiet)
    }

    /// How many are not answered any more.
    fn lost(&mut self) -> usize {
        let request = &self.request;
        self.streams.iter_mut().filter_map(|stream| exchange(stream, request).err()).count()
    }
}

/// Bytes of a body that comes in one piece with its head.
const SMALL: usize = 64;

fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let (mut answer, mut filled) = ([0; 4096], 0);
    loop {
        match stream.read(&mut answer[filled..])? {
            0 => return Err("the connection was closed".into()),
            read => filled += read,
        }
        let head = memchr::memmem::find(&answer[..filled], b"\r\n\r\n");
        if head.is_some_and(|head| filled == head + 4 + SMALL) {
            return if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err("not the answer".into()) };
        }
    }
}

/// What is resident over some minutes of mixed load: by how much it grows from their second fifth to their last.
pub(crate) fn lasting(place: &Place<'_>, minutes: f64) -> Result<()> {
    let (running, _) = start(place)?;
    let target = Target { port: running.port(), authorization: presented() };
    let mixed = Scenario::all();
    let (begun, lasting) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let (mut samples, mut errors, mut requests) = (Vec::new(), 0, 0);
    while begun.elapsed() < lasting {
        for scenario in &mixed {
            let some = scenario.requests(2000);
            errors += driver::drive(&target, scenario, some)?;
            requests += some;
        }
        samples.push((begun.elapsed().as_secs_f64() / lasting.as_secs_f64(), resident(running.pid())? as f64));
    }
    let within = |from: f64, to: f64| {
        let some = samples.iter().filter(move |(at, _)| *at >= from && *at < to).map(|(_, bytes)| *bytes);
        Spread::of(some).map(|spread| spread.median).ok_or("a fifth of the time without a round: let it last longer")
    };
    let (before, after) = (within(0.2, 0.4)?, within(0.8, f64::INFINITY)?);
    let mut figures = Figures::default();
    figures.add("requests", requests as f64, "", None);
    figures.add("failed requests", errors as f64, "", Some(0.0));
    figures.add("resident in the second fifth", before / MEGABYTE, " MB", None);
    figures.add("resident in the last fifth", after / MEGABYTE, " MB", None);
    figures.add("growth between them", (after / before - 1.0) * 100.0, " %", Some(5.0));
    figures.tell()
}

/// How much there is of everything.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) keys: usize,
    pub(crate) routes: usize,
    pub(crate) credentials: usize,
}

/// Load time, memory and reload time with so many keys, routes and credentials, beside one of each.
pub(crate) fn large(place: &Place<'_>, size: Size) -> Result<()> {
    let mut figures = Figures::default();
    for size in [Size { keys: 1, routes: 1, credentials: 1 }, size] {
        let Size { keys, routes, credentials } = size;
        let of = if keys == 1 {
            "one of each".to_owned()
        } else {
            format!("{keys} keys, {routes} routes, {credentials} credentials")
        };
        let port = free_port()?;
        let more = tables(place, size)?;
        let command = contenders::command_with(place, port, &more)?;
        let begun = Instant::now();
        let last = move |port| answers_to(port, routes - 1, keys - 1);
        let running = Running::of(command, port, place)?.answering(place, PATIENCE / 10, last)?;
        figures.add(format!("{of}: start to first answer"), begun.elapsed().as_secs_f64() * 1e3, " ms", None);
        std::thread::sleep(SETTLED);
        figures.add(format!("{of}: resident"), resident(running.pid())? as f64 / MEGABYTE, " MB", None);
        figures.add(format!("{of}: reload"), reload(place, &running, size)?.as_secs_f64() * 1e3, " ms", None);
        std::thread::sleep(SETTLED);
        figures.add(format!("{of}: resident after it"), resident(running.pid())? as f64 / MEGABYTE, " MB", None);
    }
    figures.tell()
}

/// From the signal to the first answer to a key that was not there before.
fn reload(place: &Place<'_>, running: &Running, Size { keys, routes, .. }: Size) -> Result<Duration> {
    let file = place.folder.join("closegate.toml");
    let new = file.with_extension("new");
    fs::write(&new, fs::read_to_string(&file)? + &key_table(keys, routes - 1))?;
    fs::rename(&new, &file)?;
    let pid = Pid::from_raw(running.pid().cast_signed()).ok_or("no process")?;
    let begun = Instant::now();
    kill_process(pid, Signal::HUP)?;
    while !answers_to(running.port(), routes - 1, keys) {
        std::thread::sleep(PATIENCE / 10);
    }
    Ok(begun.elapsed())
}

/// The tables of so many; each key may use one route, each route uses one credential.
fn tables(place: &Place<'_>, Size { keys, routes, credentials }: Size) -> Result<String> {
    let folder = place.folder.join("credentials");
    fs::create_dir_all(&folder)?;
    let mut tables = String::new();
    for n in 0..credentials {
        let file = folder.join(n.to_string());
        secret(&file, CREDENTIAL)?;
        writeln!(tables, "[credentials.c{n}]\napi_key = {{ file = \"{}\" }}", file.display())?;
    }
    for n in 0..routes {
        let credential = n * credentials / routes;
        writeln!(tables, "[routes.r{n}]\nprefix = \"/r{n}\"\ncredential = \"c{credential}\"")?;
    }
    for n in 0..keys {
        tables += &key_table(n, n * routes / keys);
    }
    Ok(tables)
}

fn key_table(n: usize, route: usize) -> String {
    let digest = closegate::keys::digest(key(n).as_bytes());
    let hash = digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("[keys.k{n}]\nhash = \"sha256:{hash}\"\nroutes = [\"r{route}\"]\nscopes = [\"read\"]\n")
}

fn key(n: usize) -> String {
    format!("cgk_{n:08}_{n:032}")
}

/// Whether a route answers to a key.
fn answers_to(port: u16, route: usize, n: usize) -> bool {
    let target = format!("/r{route}{ASKED}");
    driver::status(port, &target, Some(&basic(&key(n)))).is_ok_and(|status| status == 200)
}
