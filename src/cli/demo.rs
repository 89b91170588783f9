//! `closegate demo`: a simulated Close and a gateway in front of it, on loopback, with nothing written to disk.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::fs::{MemfdFlags, memfd_create};
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use super::print;
use super::serve::{self, Signals};
use crate::app::Gateway;
use crate::config::{
    AccessFormat, Address, Config, Credential, CredentialKind, Key, KeySecret, Limits, Loaded, Mode, Route, SecretRef,
};
use crate::id::{CredentialName, KeyName, RouteName};
use crate::keys;
use crate::origin::Origin;
use crate::path::Prefix;
use crate::rule::Rules;
use crate::scope::{Scope, Scopes};
use crate::sim::{Accepted, Options, RateLimit, Simulator, demo_credentials};
use crate::telemetry::log::{self, Log};

/// Runs a simulated Close and a gateway in front of it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Where the gateway listens, on loopback [default: 127.0.0.1:8080, or a free port where that is taken]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// A demo under way.
struct Demo {
    /// The simulator's; it makes progress while something is awaited on it.
    runtime: Runtime,
    simulator: Simulator,
    gateway: Gateway,
    signals: Signals,
    /// A gateway key that may do everything.
    sync: Zeroizing<String>,
    /// One that may read `sales`.
    report: Zeroizing<String>,
    /// Where the gateway reads its credentials.
    _files: [File; 2],
    /// Dropped last: what is said until then is written.
    _log: Log,
}

/// Runs the demo until a signal says otherwise.
pub(super) fn run(args: &Args) -> ExitCode {
    match start(args) {
        Ok(demo) => {
            println!("{}", introduction(&demo));
            demo.runtime.block_on(async {
                let code = serve::until_signalled(demo.gateway, demo.signals).await;
                demo.simulator.stop().await;
                code
            })
        }
        Err(fault) => {
            print::fault(format_args!("error: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<Demo, Box<dyn std::error::Error>> {
    let log = log::init("warn")?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let credentials = demo_credentials()?;
    let limit = RateLimit::new(100, std::time::Duration::from_secs(1));
    let accepted = Options::new().accept(credentials.sales.clone()).accept(credentials.support.clone());
    let simulator = runtime.block_on(Simulator::start(accepted.rate_limit(limit)))?;
    let (sync, report) = (keys::generate()?, keys::generate()?);
    let files = [memory_file(&credentials.sales)?, memory_file(&credentials.support)?];
    let [sales, support] = files.each_ref().map(reference);
    let upstream = Origin::parse(&format!("http://{}", simulator.address()))?;
    let mut config = Config::default();
    config.listen.address = Address::Tcp(listen_address(args));
    config.admin.address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.log.access = AccessFormat::Text;
    config.upstream.url = upstream.clone();
    config.upstream.danger_cleartext_upstream = true;
    config.credentials = [
        credential("sales", "An API key, sent as Basic", CredentialKind::ApiKey { current: sales, next: None })?,
        credential("support", "A token, sent as Bearer", CredentialKind::Bearer(support))?,
    ]
    .into();
    config.routes = [route("sales", &upstream)?, route("support", &upstream)?].into();
    config.keys = [
        key("sync", "Everything, on both routes", sync.digest, &["sales", "support"], None)?,
        key("report", "Reads from sales", report.digest, &["sales"], Some(Scopes::NONE.with(Scope::Read)))?,
    ]
    .into();
    let signals = Signals::take_over(&runtime)?;
    let gateway = Gateway::start(&Loaded::fixed(config), None, io::stdout())?;
    Ok(Demo { runtime, simulator, gateway, signals, sync: sync.text, report: report.text, _files: files, _log: log })
}

/// 127.0.0.1:8080, as everywhere in the documentation, unless somebody listens there.
fn listen_address(args: &Args) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let free = || TcpListener::bind(usual).is_ok();
    args.listen.unwrap_or_else(|| if free() { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) })
}

/// A file in memory with the secret: configuration knows references only, and a demo leaves nothing behind.
fn memory_file(accepted: &Accepted) -> io::Result<File> {
    let mut file = File::from(memfd_create("demo-secret", MemfdFlags::CLOEXEC)?);
    file.write_all(accepted.secret().as_bytes())?;
    Ok(file)
}

fn reference(file: &File) -> SecretRef {
    SecretRef::File(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
}

type Named<N, T> = Result<(N, T), Box<dyn std::error::Error>>;

fn credential(name: &str, description: &str, kind: CredentialKind) -> Named<CredentialName, Credential> {
    Ok((
        CredentialName::parse(name)?,
        Credential { description: Some(description.to_owned()), organization: None, kind },
    ))
}

fn route(name: &str, upstream: &Origin) -> Named<RouteName, Route> {
    let route = Route {
        prefix: Prefix::parse(&format!("/{name}"))?,
        credential: CredentialName::parse(name)?,
        upstream: upstream.clone(),
        rules: Rules::default(),
        anonymous: false,
        danger_anonymous: false,
    };
    Ok((RouteName::parse(name)?, route))
}

fn key(
    name: &str,
    description: &str,
    digest: keys::Digest,
    routes: &[&str],
    scopes: Option<Scopes>,
) -> Named<KeyName, Key> {
    let routes = routes.iter().map(|route| RouteName::parse(route)).collect::<Result<_, _>>()?;
    let secret = KeySecret::Digest(digest);
    let key = Key {
        description: Some(description.to_owned()),
        secret,
        former: None,
        peer: None,
        routes,
        scopes,
        rules: Rules::default(),
        mode: Mode::Enforce,
        limits: Limits::default(),
        expires: None,
    };
    Ok((KeyName::parse(name)?, key))
}

fn introduction(demo: &Demo) -> String {
    let (simulator, proxy, admin) = (demo.simulator.address(), demo.gateway.listeners[0].1.clone(), demo.gateway.admin);
    let (sync, report) = (demo.sync.as_str(), demo.report.as_str());
    format!(
        "A simulated Close listens on {simulator}, and closegate in front of it on {proxy}.
It holds two credentials, an API key on /sales and a token on /support; these calls carry a gateway key instead:

curl -u {sync}: http://{proxy}/sales/api/v1/me/
curl -u {sync}: 'http://{proxy}/sales/api/v1/lead/?_limit=2&_fields=id,display_name'
curl -H 'Authorization: Bearer {sync}' http://{proxy}/support/api/v1/me/
curl -u {sync}: -H 'Content-Type: application/json' -d '{{\"name\": \"Bluth Company\"}}' http://{proxy}/sales/api/v1/lead/

A key that may only read: the first call works, the second is refused with 403.

curl -u {report}: http://{proxy}/sales/api/v1/me/
curl -u {report}: -H 'Content-Type: application/json' -d '{{\"name\": \"Sitwell\"}}' http://{proxy}/sales/api/v1/lead/

Metrics, readiness:

curl http://{admin}/metrics
curl http://{admin}/readyz

Each request is shown below. Ctrl-C ends the demo.
"
    )
}
