//! The proxies compared: how each is configured for the same work, started and stopped.

mod closegate;
mod peers;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) use self::closegate::{Feature, Http, command_with, secret};
use crate::Result;
use crate::count::{self, Events};
use crate::driver;

/// What the tool presents, as the user name of Basic.
pub(crate) const GATEWAY_KEY: &str = "bench-gateway-key-0123456789";
/// What the origin accepts, as the user name of Basic.
pub(crate) const CREDENTIAL: &str = "api_7b8KOSMa0OevK9qJvT6F9s.benchbenchbenchbenchbe";

/// A proxy that is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// nginx, which only injects; as do the others.
    Nginx,
    /// HAProxy, with HTTP/1.1 to the origin.
    HaproxyH1,
    /// HAProxy, with HTTP/2 to the origin.
    HaproxyH2,
    /// Envoy.
    Envoy,
    /// Caddy.
    Caddy,
    /// The least that can be built on Pingora: `benches/peers/pingora`.
    Pingora,
    /// closegate with all its features.
    Closegate(Http),
    /// closegate with features up to this one; with none, it only injects.
    Upto(Option<Feature>),
}

/// All that closegate is compared with.
const PEERS: [Contender; 6] = [
    Contender::Nginx,
    Contender::HaproxyH1,
    Contender::HaproxyH2,
    Contender::Envoy,
    Contender::Caddy,
    Contender::Pingora,
];

/// Where contenders find what they need.
pub(crate) struct Place<'a> {
    pub(crate) folder: &'a Path,
    /// The origin's port on loopback.
    pub(crate) origin: u16,
    /// The closegate that is measured.
    pub(crate) program: &'a Path,
    pub(crate) under: Under,
}

/// What a contender runs under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    /// The kernel alone.
    Nothing,
    /// valgrind, which counts.
    Callgrind(Events),
}

/// A contender that answers.
pub(crate) struct Running {
    port: u16,
    process: Stopped,
}

/// A process that ends with its owner.
pub(crate) struct Stopped(pub(crate) Child);

impl Contender {
    /// closegate and whatever else this machine has; says what is not there.
    pub(crate) fn found() -> Vec<Self> {
        let mut all = PEERS.to_vec();
        all.retain(|peer| match peer.program() {
            Some(_) => true,
            None => {
                println!("{} is not there and is left out: benches/peers/install", peer.name());
                false
            }
        });
        all.extend([Http::Auto, Http::H1, Http::H2].map(Self::Closegate));
        all
    }

    /// closegate with none of its features, then with one more each.
    pub(crate) fn ladder() -> Vec<Self> {
        let mut ladder = vec![Self::Upto(None)];
        ladder.extend(Feature::ALL.map(|feature| Self::Upto(Some(feature))));
        ladder
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let own = [Http::Auto, Http::H1, Http::H2].map(Self::Closegate);
        let all: Vec<_> = PEERS.into_iter().chain(own).collect();
        let names = || all.iter().map(|contender| contender.name()).collect::<Vec<_>>().join(", ");
        let found = all.iter().find(|contender| contender.name() == name).copied();
        let found = found.ok_or_else(|| format!("no contender has this name; there are {}", names()))?;
        let missing = || "it is not there; `benches/peers/install` brings it".to_owned();
        if found.is_peer() && found.program().is_none() { Err(missing()) } else { Ok(found) }
    }

    /// As the table names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaproxyH1 => "haproxy-h1",
            Self::HaproxyH2 => "haproxy-h2",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
            Self::Pingora => "pingora",
            Self::Closegate(Http::Auto) => "closegate",
            Self::Closegate(Http::H1) => "closegate-h1",
            Self::Closegate(Http::H2) => "closegate-h2",
            Self::Upto(None) => "bare",
            Self::Upto(Some(feature)) => feature.name(),
        }
    }

    /// Whether it refuses who has no key.
    pub(crate) fn asks_for_a_key(self) -> bool {
        self != Self::Upto(None)
    }

    fn is_peer(self) -> bool {
        !matches!(self, Self::Closegate(_) | Self::Upto(_))
    }

    /// Where a peer lies on this machine.
    fn program(self) -> Option<PathBuf> {
        let brought = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
        // Debian keeps its own where a user's PATH does not look.
        let file = match self {
            Self::Nginx => PathBuf::from("/usr/sbin/nginx"),
            Self::HaproxyH1 | Self::HaproxyH2 => PathBuf::from("/usr/sbin/haproxy"),
            Self::Envoy => brought.join("bin/envoy"),
            Self::Caddy => brought.join("bin/caddy"),
            Self::Pingora => brought.join("bin/pingora"),
            Self::Closegate(_) | Self::Upto(_) => return None,
        };
        file.exists().then_some(file)
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(self, place: &Place<'_>) -> Result<Running> {
        let port = free_port()?;
        let mut command = match self {
            Self::Closegate(http) => closegate::command(place, port, http, Some(Feature::LAST))?,
            Self::Upto(last) => closegate::command(place, port, Http::Auto, last)?,
            peer => peers::command(peer, place, port)?,
        };
        if let Under::Callgrind(events) = place.under {
            command = count::under_callgrind(&command, place.folder, events);
        }
        let running = Running::of(command, port, place)?;
        running.answering(place, PATIENCE, |port| answers(port, ASKED))
    }

    /// The command of a peer, without arguments.
    fn executable(self) -> Result<Command> {
        Ok(Command::new(self.program().ok_or_else(|| format!("{} is not there", self.name()))?))
    }
}

impl Running {
    /// Starts a command that is to listen on the port.
    pub(crate) fn of(mut command: Command, port: u16, place: &Place<'_>) -> Result<Self> {
        let output = |name| File::create(place.folder.join(name));
        command.stdin(Stdio::null()).stdout(output("stdout")?).stderr(output("stderr")?);
        Ok(Self { port, process: Stopped(command.spawn()?) })
    }

    /// The same process once it answers; how often that is tried says the pause.
    pub(crate) fn answering(
        mut self,
        place: &Place<'_>,
        pause: Duration,
        answers: impl Fn(u16) -> bool,
    ) -> Result<Self> {
        let begun = Instant::now();
        while begun.elapsed() < STUCK {
            if answers(self.port) {
                return Ok(self);
            }
            if self.process.0.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(pause);
        }
        let said = fs::read_to_string(place.folder.join("stderr"))?;
        Err(format!("it does not answer: {}", said.lines().last().unwrap_or("it says nothing")).into())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Has it end in good order.
    pub(crate) fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process.0), Signal::TERM)?;
        let status = self.process.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}

/// Whether the target is answered with 200 to who has the key.
pub(crate) fn answers(port: u16, target: &str) -> bool {
    driver::status(port, target, Some(&presented())).is_ok_and(|status| status == 200)
}

/// What the origin answers with a small body.
pub(crate) const ASKED: &str = "/api/v1/lead/?size=64";

/// Between two looks at whether a contender answers.
pub(crate) const PATIENCE: Duration = Duration::from_millis(10);

/// A contender that has not answered for so long never will.
const STUCK: Duration = Duration::from_secs(600);

impl Stopped {
    /// What the process prints.
    pub(crate) fn stdout(&mut self) -> Result<ChildStdout> {
        Ok(self.0.stdout.take().ok_or("the output is not piped")?)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Only a process that has ended already refuses.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The `Authorization` that the tool sends.
pub(crate) fn presented() -> String {
    basic(GATEWAY_KEY)
}

/// The `Authorization` that the origin accepts.
pub(crate) fn injected() -> String {
    basic(CREDENTIAL)
}

/// `Authorization: Basic`, with this user name and no password.
pub(crate) fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:")))
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
