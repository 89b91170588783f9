//! The proxies compared: how each is configured for the same work, started and stopped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;

use crate::Result;
use crate::driver::{self, Load};

/// What the tool presents, as the user name of Basic.
pub(crate) const GATEWAY_KEY: &str = "bench-gateway-key-0123456789";
/// What the origin accepts, as the user name of Basic.
const CREDENTIAL: &str = "api_7b8KOSMa0OevK9qJvT6F9s.benchbenchbenchbenchbe";

/// A proxy that is compared.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// nginx, which only injects.
    Nginx,
    /// closegate with an access record a request.
    Closegate,
    /// closegate without access records.
    ClosegateQuiet,
}

/// `upstream.http` of closegate.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Http {
    /// By load.
    Auto,
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// Where contenders find what they need.
pub(crate) struct Place<'a> {
    pub(crate) folder: &'a Path,
    /// The origin's port on loopback.
    pub(crate) origin: u16,
    pub(crate) http: Http,
}

/// A contender that answers.
pub(crate) struct Running {
    port: u16,
    process: Stopped,
}

/// A process that ends with its owner.
pub(crate) struct Stopped(pub(crate) Child);

impl Contender {
    /// Those named, or all that this machine has.
    pub(crate) fn chosen(only: &[Self]) -> Vec<Self> {
        if !only.is_empty() {
            return only.to_vec();
        }
        let mut all = vec![Self::Nginx, Self::Closegate, Self::ClosegateQuiet];
        if nginx().arg("-v").stderr(Stdio::null()).status().is_err() {
            println!("nginx is not installed: there is nothing to compare with");
            all.retain(|contender| *contender != Self::Nginx);
        }
        all
    }

    /// As the table names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Closegate => "closegate",
            Self::ClosegateQuiet => "closegate, no records",
        }
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(self, place: &Place<'_>) -> Result<Running> {
        let port = free_port()?;
        let mut command = match self {
            Self::Nginx => nginx_command(place, port)?,
            Self::Closegate => closegate_command(place, port, "json")?,
            Self::ClosegateQuiet => closegate_command(place, port, "off")?,
        };
        let errors = place.folder.join("stderr");
        command.stdin(Stdio::null()).stdout(File::create(place.folder.join("stdout"))?).stderr(File::create(&errors)?);
        let mut running = Running { port, process: Stopped(command.spawn()?) };
        let once = Load { connections: 1, requests: 1, size: 64 };
        for _ in 0..500 {
            if driver::drive(port, &once)? == 0 {
                return Ok(running);
            }
            if running.process.0.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let said = fs::read_to_string(errors)?;
        Err(format!("{} does not answer: {}", self.name(), said.lines().last().unwrap_or("it says nothing")).into())
    }
}

impl Running {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

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

/// The `Authorization` that the origin accepts.
pub(crate) fn injected() -> String {
    basic(CREDENTIAL)
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:")))
}

/// Debian keeps it where a user's PATH does not look.
fn nginx() -> Command {
    let debian = Path::new("/usr/sbin/nginx");
    Command::new(if debian.exists() { debian } else { Path::new("nginx") })
}

fn nginx_command(place: &Place<'_>, port: u16) -> Result<Command> {
    let folder = place.folder.display();
    let (origin, presented, injected) = (place.origin, basic(GATEWAY_KEY), injected());
    let configuration = format!(
        r#"daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    map $http_authorization $known {{
        default 0;
        "{presented}" 1;
    }}
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            if ($known = 0) {{ return 401; }}
            proxy_pass https://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost;
            proxy_set_header Authorization "{injected}";
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_session_reuse on;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {folder}/ca.pem;
        }}
    }}
}}
"#
    );
    let file = place.folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = nginx();
    command.arg("-e").arg("stderr").arg("-p").arg(place.folder).arg("-c").arg(file);
    Ok(command)
}

fn closegate_command(place: &Place<'_>, port: u16, access: &str) -> Result<Command> {
    let folder = place.folder.display();
    let (origin, admin) = (place.origin, free_port()?);
    let http = match place.http {
        Http::Auto => "auto",
        Http::H1 => "h1",
        Http::H2 => "h2",
    };
    secret(&place.folder.join("credential"), CREDENTIAL)?;
    secret(&place.folder.join("key"), GATEWAY_KEY)?;
    let configuration = format!(
        r#"data_dir = "{folder}/data"
[listen]
address = "127.0.0.1:{port}"
workers = 1
[admin]
address = "127.0.0.1:{admin}"
[upstream]
url = "https://localhost"
address = "127.0.0.1:{origin}"
ca = "{folder}/ca.pem"
http = "{http}"
[credentials.bench]
api_key = {{ file = "{folder}/credential" }}
[routes.bench]
prefix = "/"
credential = "bench"
[keys.bench]
secret = {{ file = "{folder}/key" }}
routes = ["bench"]
[log]
access = "{access}"
"#
    );
    let file = place.folder.join("closegate.toml");
    fs::write(&file, configuration)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_closegate"));
    command.env_clear().arg("--config").arg(file).arg("serve");
    Ok(command)
}

fn secret(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
