//! `closegate serve`: run until a signal says otherwise.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::{CONFIGURATION, notify};
use crate::app::{self, Bell, End, Fault, Gateway, Provenance, Secrets, StartFaults};
use crate::config::{Config, Loaded, Sources};
use crate::heap;
use crate::telemetry::log::{self, LogFault};

/// Runs the gateway of a configuration, and goes by what the sources say later.
pub(super) fn run(loaded: &Loaded, sources: &Sources) -> ExitCode {
    let log = match log::init(&loaded.config.log.level) {
        Ok(log) => log,
        Err(fault @ LogFault::Level { .. }) => {
            eprintln!("error: log.level: {fault}");
            return ExitCode::from(CONFIGURATION);
        }
        Err(fault) => {
            eprintln!("error: {fault}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
    }
    if let Some(files) = raise_file_limit() {
        warn_of_few_files(&loaded.config, files);
    }
    // Before anybody can connect: a crowd could leave no files for it.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return unsignalled(&error),
    };
    // What is sent while it starts is heeded once it has.
    let (signals, hangup) = match Signals::take_over(&runtime).and_then(|signals| Ok((signals, hangup(&runtime)?))) {
        Ok(signals) => signals,
        Err(error) => return unsignalled(&error),
    };
    let provenance = Provenance { sources: sources.clone(), file: loaded.file.clone() };
    let gateway = match Gateway::start(loaded, Some(provenance), std::io::stdout()) {
        Ok(gateway) => gateway,
        Err(faults) => {
            // After the warnings.
            log.flush();
            eprintln!("{faults}");
            return match faults {
                StartFaults::Configured(_) => ExitCode::from(CONFIGURATION),
                StartFaults::System(_) => ExitCode::FAILURE,
            };
        }
    };
    announce(&gateway, loaded);
    notify::ready();
    runtime.block_on(async {
        let hangups = reload_at(hangup, gateway.bell());
        tokio::select! {
            code = until_signalled(gateway, signals) => code,
            never = hangups => match never {},
            never = rest() => match never {},
        }
    })
}

fn hangup(runtime: &Runtime) -> io::Result<Signal> {
    let _context = runtime.enter();
    signal(SignalKind::hangup())
}

/// Gives back what this thread has made and will not make again, once those who came first have been served.
async fn rest() -> Infallible {
    heap::ebb().tick().await;
    heap::give_back();
    std::future::pending().await
}

/// Has the gateway reload at each SIGHUP; the log says what comes of it.
async fn reload_at(mut hangup: Signal, bell: Bell) -> Infallible {
    while hangup.recv().await.is_some() {
        tracing::info!(signal = "SIGHUP", "reloading");
        notify::reloading();
        // What it came to is in the log.
        let _ = bell.ring().await;
        notify::ready();
    }
    std::future::pending().await
}

/// What else would keep a configuration with faults from being served: ports in use, secrets that are none.
pub(super) fn faults_of_part(part: &Config) -> Vec<Fault> {
    app::unbindable(part).into_iter().chain(Secrets::faults_of_part(part)).collect()
}

fn unsignalled(error: &io::Error) -> ExitCode {
    tracing::error!(%error, "signals cannot be awaited");
    ExitCode::FAILURE
}

/// The signals that end the program.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes them over, before the program says that it listens and somebody sends one; the runtime awaits them.
    pub(super) fn take_over(runtime: &Runtime) -> io::Result<Self> {
        let _context = runtime.enter();
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

fn announce(gateway: &Gateway, loaded: &Loaded) {
    for (listener, address) in &gateway.listeners {
        tracing::info!(%address, listener, "the proxy listens");
    }
    tracing::info!(address = %gateway.admin, "the admin listener listens");
    if let Some(address) = gateway.metrics {
        tracing::info!(%address, "the metrics listener listens");
    }
    if let Some(link) = &gateway.invitation {
        // Whoever reads this may follow it, once and within an hour.
        tracing::warn!("there is no credential yet: add the first credential at {}", **link);
    }
    let config = &loaded.config;
    for (name, route) in &config.routes {
        tracing::info!(route = %name, prefix = route.prefix.as_str(), credential = %route.credential, upstream = %route.upstream, "a route");
    }
}

/// Serves until SIGTERM or SIGINT, or until a part of the gateway fails, then ends in order; one more signal ends it at
/// once, with a record of what was in flight, and a third ends the process.
pub(super) async fn until_signalled(mut gateway: Gateway, signals: Signals) -> ExitCode {
    let Signals { mut terminate, mut interrupt } = signals;
    let signal = tokio::select! {
        _ = terminate.recv() => Some("SIGTERM"),
        _ = interrupt.recv() => Some("SIGINT"),
        part = gateway.failed() => {
            tracing::error!(part, "a part of the gateway has ended: so does the gateway");
            None
        }
    };
    tracing::info!(signal, "draining");
    notify::stopping();
    let mut again = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let (insist, insisted) = oneshot::channel();
    let impatience = async {
        let signal = again().await;
        tracing::warn!(signal, "a second signal: what is in flight is dropped");
        // Only a gateway that has ended does not hear it.
        let _ = insist.send(());
        again().await
    };
    let insisted = async { drop(insisted.await) };
    let end = tokio::select! {
        end = gateway.stop_unless(insisted) => end,
        signal = impatience => {
            tracing::error!(signal, "a third signal: the process ends where it stands");
            return ExitCode::FAILURE;
        }
    };
    match end {
        End::Drained => tracing::info!("drained"),
        End::Hurried => tracing::warn!("ended at once; what was in flight was dropped"),
        End::Dropped => {
            tracing::warn!("requests were still in flight after listen.shutdown_grace, and were dropped");
        }
        End::Broken => tracing::error!("a thread panicked: what it had in flight was lost"),
    }
    if signal.is_some() && matches!(end, End::Drained | End::Dropped) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As many connections as the system lets this process have; the soft limit is often 1024. The limit, if there is one.
fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    getrlimit(Resource::Nofile).current
}

/// Each connection is an open file: beyond the limit none is accepted or made, whatever the configuration says.
fn warn_of_few_files(config: &Config, files: u64) {
    let connections = (config.listen.max_connections + config.upstream.max_connections) as u64;
    if connections > files {
        tracing::warn!(
            "listen.max_connections and upstream.max_connections: together {connections} connections, but the process \
             may open {files} files only; hint: raise the limit (`ulimit -n`, `LimitNOFILE=`), or lower the two"
        );
    }
}
