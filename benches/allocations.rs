//! The allocations of a request in its steady state, each with its size and place: `cargo bench --bench allocations`.
//!
//! A gateway with all of its features runs in this process, in front of the simulator, which speaks TLS; what its worker
//! allocates is counted while requests for 1 KB come one after the other over one connection, after some that open what is
//! kept. What is allocated now and then, for many requests at once, is no part of a request. Fails where a request takes more
//! than `docs/performance.md` records for this build; `--list` tells them one by one, as `cargo bench` does.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use closegate::app::Gateway;
use closegate::config::{self, Environment, Sources};
use closegate::sim::{self, Accepted, Simulator};
use rustls::pki_types::PrivateKeyDer;
use serde::Deserialize;

#[path = "gateway/certificate.rs"]
mod certificate;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Counts the allocations of a request.
#[derive(Parser)]
struct Arguments {
    /// Tell each of them.
    #[arg(long)]
    list: bool,
    /// How many requests are counted.
    #[arg(long, default_value_t = 200)]
    requests: u32,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is sent before anything is counted.
const WARM: u32 = 200;
/// What the tool presents, as the user name of Basic.
const GATEWAY_KEY: &str = "bench-gateway-key-0123456789";
/// What the simulator accepts.
const CREDENTIAL: &str = "api_7b8KOSMa0OevK9qJvT6F9s.benchbenchbenchbenchbe";
/// Where the figures are recorded.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let profile = measure(folder.path(), arguments.requests)?;
    let places = profile.places();
    let of_a_request = |blocks: u64| blocks as f64 / f64::from(arguments.requests);
    let counted = of_a_request(places.values().map(|place| place.blocks).sum()).round() as u64;
    let bytes = of_a_request(places.values().map(|place| place.bytes).sum());
    if arguments.list || arguments.bench {
        println!("| times | bytes | allocated by | for |\n|---|---|---|---|");
        for ((by, whom), place) in places.iter().filter(|(_, place)| of_a_request(place.blocks) >= 0.5) {
            println!("| {:.1} | {:.0} | `{by}` | `{whom}` |", of_a_request(place.blocks), of_a_request(place.bytes));
        }
    }
    println!("{counted} allocations a request, {bytes:.0} bytes");
    check(counted)
}

/// Fails where there are more than recorded.
fn check(counted: u64) -> Result<()> {
    let build = if cfg!(debug_assertions) { "dev" } else { "release" };
    let text = fs::read_to_string(RECORD)?;
    let start = format!("| allocations, {build} | ");
    let Some(recorded) = text.lines().find_map(|line| line.strip_prefix(&start)?.split(' ').next()) else {
        println!("docs/performance.md records none of a {build} build");
        return Ok(());
    };
    match recorded.parse::<u64>()? {
        recorded if counted > recorded => {
            let hint =
                "hint: `cargo bench --bench allocations` tells each; one that must be is recorded with its reason";
            Err(format!("a request allocates {counted} times, {recorded} are recorded\n{hint}").into())
        }
        recorded => {
            println!("{recorded} are recorded for a {build} build");
            Ok(())
        }
    }
}

/// Sends requests through a gateway, and gives what dhat has seen of them.
fn measure(folder: &Path, requests: u32) -> Result<Profile> {
    let origin = origin(folder)?;
    let gateway = gateway(folder, origin)?;
    let proxy = gateway.proxy().ok_or("the gateway listens nowhere")?;
    let mut tool = Tool::connect(proxy)?;
    for _ in 0..WARM {
        tool.ask()?;
    }
    let file = folder.join("dhat.json");
    // All frames: those of a worker's allocations begin at the worker.
    let profiler = dhat::Profiler::builder().file_name(&file).trim_backtraces(Some(usize::MAX)).build();
    for _ in 0..requests {
        tool.ask()?;
    }
    drop(profiler);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(gateway.stop());
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

/// A simulated Close on a thread of its own, until the process ends.
fn origin(folder: &Path) -> Result<SocketAddr> {
    let options = sim::Options::new().tls(certify(folder)?).accept(Accepted::api_key("sales", CREDENTIAL));
    let (told, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let address = Simulator::start(options).await?.address();
            told.send(address).map_err(io::Error::other)?;
            std::future::pending::<io::Result<()>>().await
        })
    });
    Ok(address.recv()?)
}

/// What a server called `localhost` shows, under a root in `ca.pem`.
fn certify(folder: &Path) -> Result<Arc<rustls::ServerConfig>> {
    let (leaf, key) = certificate::issue(folder)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    Ok(Arc::new(config.with_single_cert(vec![leaf.der().clone()], key)?))
}

/// A gateway in this process, with one worker and all that it can do.
fn gateway(folder: &Path, origin: SocketAddr) -> Result<Gateway> {
    fs::write(folder.join("credential"), CREDENTIAL)?;
    fs::write(folder.join("key"), GATEWAY_KEY)?;
    let port = origin.port();
    let configuration = format!(
        r#"data_dir = "data"
[listen]
address = "127.0.0.1:0"
workers = 1
[admin]
address = "127.0.0.1:0"
[store]
url = "memory:"
[upstream]
url = "https://localhost"
address = "127.0.0.1:{port}"
ca = "ca.pem"
http = "h1"
redact = "plain"
[log]
access = "json"
[credentials.bench]
api_key = {{ file = "credential" }}
[routes.bench]
prefix = "/"
credential = "bench"
allow = ["* /api/v1/**"]
deny = ["* /api/v1/export/**"]
[keys.bench]
routes = ["bench"]
secret = {{ file = "key" }}
scopes = ["read", "write"]
allow = ["GET,POST /api/v1/lead"]
deny = ["* /api/v1/lead/merge"]
rate = "1000000/s"
concurrency = 10000
daily_quota = 1000000000
"#
    );
    let file = folder.join("closegate.toml");
    fs::write(&file, configuration)?;
    let sources = Sources { file: Some(file), environment: Environment::default(), folder: folder.to_owned() };
    Ok(Gateway::start(&config::load(&sources)?, None, io::sink())?)
}

/// A client that allocates nothing while it asks.
struct Tool {
    stream: TcpStream,
    request: String,
    buffer: Vec<u8>,
}

impl Tool {
    fn connect(proxy: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(proxy)?;
        stream.set_nodelay(true)?;
        let authorization = STANDARD.encode(format!("{GATEWAY_KEY}:"));
        let request = format!(
            "GET /api/v1/lead/?_limit=1 HTTP/1.1\r\nHost: {proxy}\r\nAuthorization: Basic {authorization}\r\n\
             User-Agent: bench\r\nAccept: application/json\r\n\r\n"
        );
        Ok(Self { stream, request, buffer: vec![0; 64 * 1024] })
    }

    /// Sends one request and reads its answer, which must be a good one.
    fn ask(&mut self) -> Result<()> {
        self.stream.write_all(self.request.as_bytes())?;
        let mut filled = 0;
        loop {
            filled += match self.stream.read(&mut self.buffer[filled..])? {
                0 => return Err("the connection was closed".into()),
                read => read,
            };
            if let Some(whole) = length(&self.buffer[..filled]) {
                match filled {
                    filled if filled < whole => {}
                    filled if filled == whole && self.buffer.starts_with(b"HTTP/1.1 200 ") => return Ok(()),
                    _ => return Err(format!("not the answer: {}", self.buffer[..filled].escape_ascii()).into()),
                }
            }
        }
    }
}

/// How long an answer is with its head, once that is there.
fn length(answer: &[u8]) -> Option<usize> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some(end + length.trim().parse::<usize>().ok()?)
}

/// What dhat writes, as far as it is read.
#[derive(Deserialize)]
struct Profile {
    pps: Vec<Point>,
    #[serde(rename = "ftbl")]
    frames: Vec<String>,
}

/// A stack at which something was allocated: bytes, blocks, frames from the innermost on.
#[derive(Deserialize)]
struct Point {
    #[serde(rename = "tb")]
    bytes: u64,
    #[serde(rename = "tbk")]
    blocks: u64,
    #[serde(rename = "fs")]
    frames: Vec<usize>,
}

/// All that was allocated at one place.
#[derive(Default)]
struct Place {
    blocks: u64,
    bytes: u64,
}

impl Profile {
    /// What the worker has allocated: by which function, for which of the gateway's own.
    fn places(&self) -> BTreeMap<(String, String), Place> {
        let mut places: BTreeMap<_, Place> = BTreeMap::new();
        for point in &self.pps {
            let stack: Vec<&str> = point.frames.iter().map(|frame| function(&self.frames[*frame])).collect();
            if !stack.iter().any(|function| function.contains(WORKER)) {
                continue;
            }
            let by = stack.iter().find(|function| !PLUMBING.iter().any(|of| function.contains(of)));
            let own =
                |function: &&&str| OWN.iter().any(|start| function.starts_with(start) && !function.starts_with(WORKER));
            let whom = stack.iter().find(own);
            let named = |function: Option<&&str>| function.map_or("?".to_owned(), |function| short(function));
            let place = places.entry((named(by), named(whom))).or_default();
            place.blocks += point.blocks;
            place.bytes += point.bytes;
        }
        places
    }
}

/// A frame is `0x55d0: closegate::proxy::handle (proxy/mod.rs:12:3)`.
fn function(frame: &str) -> &str {
    frame.split_once(": ").map_or(frame, |(_, rest)| rest)
}

/// Without most of a long list of types; where it stands is kept.
fn short(function: &str) -> String {
    let (name, place) = function.rsplit_once(" (").unwrap_or((function, ""));
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({place}", &name[..end]),
        None => function.to_owned(),
    }
}

/// Characters of a function's name.
const LONGEST: usize = 80;

/// What the gateway's own functions begin with.
const OWN: [&str; 2] = ["closegate::", "<closegate::"];

/// The function that a worker's thread runs.
const WORKER: &str = "closegate::app::worker::";

/// What allocates for whoever calls it.
const PLUMBING: [&str; 8] =
    ["alloc::", "core::", "std::", "__rust", "(alloc/src/", "(src/vec/", "(src/raw_vec/", "bytes::bytes"];
