//! `closegate serve`: run until a signal says otherwise.

use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CONFIGURATION;
use crate::app::{self, Fault, Gateway, Secrets};
use crate::config::{Config, Loaded};
use crate::telemetry::log;

/// Runs the gateway of a configuration.
pub(super) fn run(loaded: &Loaded) -> ExitCode {
    if let Err(fault) = log::init(&loaded.config.log.level) {
        eprintln!("error: log.level: {fault}");
        return ExitCode::from(CONFIGURATION);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
    }
    raise_file_limit();
    // Before anybody can connect: a crowd could leave no files for it.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return unsignalled(&error),
    };
    let gateway = match Gateway::start(&loaded.config, std::io::stdout()) {
        Ok(gateway) => gateway,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(CONFIGURATION);
        }
    };
    let signals = match Signals::take_over(&runtime) {
        Ok(signals) => signals,
        Err(error) => return unsignalled(&error),
    };
    announce(&gateway, loaded);
    runtime.block_on(until_signalled(gateway, signals))
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
    tracing::info!(address = %gateway.proxy, "the proxy listens");
    tracing::info!(address = %gateway.admin, "the admin listener listens");
    if let Some(address) = gateway.metrics {
        tracing::info!(%address, "the metrics listener listens");
    }
    let config = &loaded.config;
    for (name, route) in &config.routes {
        tracing::info!(route = %name, prefix = route.prefix.as_str(), credential = %route.credential, upstream = %route.upstream, "a route");
    }
    if config.credentials.is_empty() {
        tracing::warn!(
            "there is no credential yet, so every path is answered 404; hint: set CLOSE_API_KEY, or declare [credentials.NAME] in closegate.toml"
        );
    } else if config.keys.is_empty() && !config.listen.address.ip().is_loopback() {
        tracing::warn!(
            "there is no gateway key and the listener reaches beyond loopback, so every request is answered 401; hint: set CLOSEGATE_KEY, or declare [keys.NAME] in closegate.toml"
        );
    }
}

/// Serves until SIGTERM or SIGINT, then ends in order; a second signal ends at once.
pub(super) async fn until_signalled(gateway: Gateway, signals: Signals) -> ExitCode {
    let Signals { mut terminate, mut interrupt } = signals;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "draining");
    tokio::select! {
        drained = gateway.stop() => {
            if drained {
                tracing::info!("drained");
            } else {
                tracing::warn!("requests were still in flight after listen.shutdown_grace, and were dropped");
            }
            ExitCode::SUCCESS
        }
        _ = terminate.recv() => ExitCode::FAILURE,
        _ = interrupt.recv() => ExitCode::FAILURE,
    }
}

/// As many connections as the system lets this process have; the soft limit is often 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
