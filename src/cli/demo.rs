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
use crate::admin::model::{Actor, SecretText, Way};
use crate::app::{Gateway, Provenance};
use crate::config::{self, Environment, Sources};
use crate::id::CredentialName;
use crate::keys::{self, NewKey};
use crate::sim::{DemoCredentials, OAuthApp, Options, RateLimit, Simulator, demo_credentials};
use crate::telemetry::log::{self, Log};

/// Runs a simulated Close and a gateway in front of it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Where the gateway listens, on loopback [default: 127.0.0.1:8080, or a free port where that is taken]
    #[arg(long, value_name = "ADDRESS", value_parser = parse_loopback)]
    listen: Option<SocketAddr>,
}

/// Whoever reaches a demo may use it.
fn parse_loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "an address and a port, such as 127.0.0.1:8080".to_owned())?;
    if address.ip().is_loopback() { Ok(address) } else { Err("a demo stays on loopback: 127.0.0.1:PORT".to_owned()) }
}

/// A demo under way.
struct Demo {
    /// The simulator's; it makes progress while something is awaited on it.
    runtime: Runtime,
    simulator: Simulator,
    gateway: Gateway,
    signals: Signals,
    secrets: Secrets,
    /// The secrets, and the configuration: they are read again at a reload.
    _files: ([File; 4], File),
    /// Dropped last: what is said until then is written.
    _log: Log,
}

/// What is made up anew at each start; nothing but this process knows it.
struct Secrets {
    credentials: DemoCredentials,
    /// An app that has a grant.
    app: OAuthApp,
    /// A gateway key that may do everything.
    sync: NewKey,
    /// One that may read `sales`.
    report: NewKey,
    /// The token of the admin API.
    token: Zeroizing<String>,
}

/// Where things listen.
struct Places {
    close: SocketAddr,
    proxy: SocketAddr,
    admin: SocketAddr,
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

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn start(args: &Args) -> Outcome<Demo> {
    let log = log::init("warn")?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (proxy, admin) = (args.listen.unwrap_or_else(|| usual(8080)), usual(8081));
    let secrets = Secrets::make_up(admin)?;
    let limit = RateLimit::new(100, std::time::Duration::from_secs(1));
    let DemoCredentials { sales, support } = secrets.credentials.clone();
    let options = Options::new().accept(sales).accept(support).app(secrets.app.clone()).rate_limit(limit);
    let simulator = runtime.block_on(Simulator::start(options))?;
    let places = Places { close: simulator.address(), proxy, admin };
    let files = secrets.files()?;
    let file = memory_file(&configuration(&places, &secrets, &files.each_ref().map(path)))?;
    let sources = Sources { file: Some(path(&file)), environment: Environment::default(), folder: PathBuf::from("/") };
    let loaded = config::load(&sources)?;
    let signals = Signals::take_over(&runtime)?;
    let provenance = Provenance { sources, file: loaded.file.clone() };
    let gateway = Gateway::start(&loaded, Some(provenance), io::stdout())?;
    runtime.block_on(authorize(&gateway, &simulator, &secrets.app))?;
    Ok(Demo { runtime, simulator, gateway, signals, secrets, _files: (files, file), _log: log })
}

/// A port of loopback as everywhere in the documentation, unless somebody listens there.
fn usual(port: u16) -> SocketAddr {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|socket| socket.local_addr());
    // Where none is free, whoever listens says so.
    bind(port).or_else(|_| bind(0)).unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

impl Secrets {
    fn make_up(admin: SocketAddr) -> Outcome<Self> {
        Ok(Self {
            credentials: demo_credentials()?,
            app: OAuthApp::new("partner", &format!("http://{admin}/oauth/callback"))?,
            sync: keys::generate()?,
            report: keys::generate()?,
            token: Zeroizing::new(keys::generate()?.text.replacen("cgk_", "admin_", 1)),
        })
    }

    /// In memory, each in a file of its own: configuration knows references only, and a demo leaves nothing behind.
    fn files(&self) -> io::Result<[File; 4]> {
        let DemoCredentials { sales, support } = &self.credentials;
        let secrets = [sales.secret(), support.secret(), self.app.client_secret(), self.token.as_str()];
        let [sales, support, app, token] = secrets.map(memory_file);
        Ok([sales?, support?, app?, token?])
    }
}

fn memory_file(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("demo", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The configuration, as a person would write it; what is added at run time lies in memory.
fn configuration(places: &Places, secrets: &Secrets, files: &[PathBuf; 4]) -> String {
    let Places { close, proxy, admin } = places;
    let [sales, support, app, token] = files.each_ref().map(|path| path.display());
    let client_id = secrets.app.client_id();
    let hash = |key: &NewKey| key.digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let (sync, report) = (hash(&secrets.sync), hash(&secrets.report));
    format!(
        r#"data_dir = "/dev/null"
store.url = "memory:"
listen.address = "{proxy}"
log.access = "text"
upstream = {{ url = "http://{close}", danger_cleartext_upstream = true }}

[admin]
address = "{admin}"
tokens.demo = {{ secret = {{ file = "{token}" }}, role = "admin" }}

[credentials.sales]
description = "An API key, sent as Basic"
api_key = {{ file = "{sales}" }}

[credentials.support]
description = "A token, sent as Bearer"
bearer = {{ file = "{support}" }}

[credentials.partner]
description = "An OAuth app, whose tokens are renewed"
oauth2.client_id = "{client_id}"
oauth2.client_secret = {{ file = "{app}" }}
oauth2.redirect_uri = "http://{admin}/oauth/callback"
oauth2.authorization_url = "http://{close}/oauth2/authorize/"
oauth2.token_url = "http://{close}/oauth2/token/"
oauth2.revocation_url = "http://{close}/oauth2/revoke/"

[keys.sync]
description = "Everything, on every route"
hash = "sha256:{sync}"
routes = ["sales", "support", "partner"]

[keys.report]
description = "Reads from sales"
hash = "sha256:{report}"
routes = ["sales"]
scopes = ["read"]
"#
    )
}

/// Takes over a grant of the app, as if somebody had agreed at Close.
async fn authorize(gateway: &Gateway, simulator: &Simulator, app: &OAuthApp) -> Outcome<()> {
    let token = SecretText::new(Zeroizing::new(simulator.grant(app)?.refresh_token));
    let by = Actor { name: "demo".to_owned(), way: Way::Gateway, from: None };
    gateway.management().take_over_grant(&CredentialName::parse("partner")?, token, &by).await?;
    Ok(())
}

fn introduction(demo: &Demo) -> String {
    let (simulator, proxy, admin) = (demo.simulator.address(), demo.gateway.listeners[0].1.clone(), demo.gateway.admin);
    let Secrets { sync, report, token, .. } = &demo.secrets;
    let (sync, report, token) = (sync.text.as_str(), report.text.as_str(), token.as_str());
    format!(
        "A simulated Close listens on {simulator}, and closegate in front of it on {proxy}.
It holds three credentials, an API key on /sales, a token on /support and an OAuth app on /partner; these calls carry a
gateway key instead:

curl -u {sync}: http://{proxy}/sales/api/v1/me/
curl -u {sync}: 'http://{proxy}/sales/api/v1/lead/?_limit=2&_fields=id,display_name'
curl -H 'Authorization: Bearer {sync}' http://{proxy}/support/api/v1/me/
curl -u {sync}: http://{proxy}/partner/api/v1/me/
curl -u {sync}: -H 'Content-Type: application/json' -d '{{\"name\": \"Bluth Company\"}}' http://{proxy}/sales/api/v1/lead/

A key that may only read: the first call works, the second is refused with 403.

curl -u {report}: http://{proxy}/sales/api/v1/me/
curl -u {report}: -H 'Content-Type: application/json' -d '{{\"name\": \"Sitwell\"}}' http://{proxy}/sales/api/v1/lead/

Metrics, readiness:

curl http://{admin}/metrics
curl http://{admin}/readyz

The page, where credentials, keys and usage are seen and managed, and its token, which the admin API takes as well:

http://{admin}/
{token}
curl -H 'Authorization: Bearer {token}' http://{admin}/api/v1/credentials

Each request and each change is shown below. Ctrl-C ends the demo.
"
    )
}
