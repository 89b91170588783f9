//! A proxy on Pingora that does what the bench compares and no more: 401 without the key, else the credential goes in.
//!
//! `pingora-peer LISTEN ORIGIN CA PRESENTED INJECTED`: one thread; HTTP/1.1 over TLS to an origin that is called `localhost`
//! and has a certificate under CA; its connections are kept.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HOST};
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// What the origin is called.
const ORIGIN: &str = "localhost";

/// What is compared, and what goes in.
struct Inject {
    origin: SocketAddr,
    presented: HeaderValue,
    injected: HeaderValue,
}

#[async_trait]
impl ProxyHttp for Inject {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        if session.req_header().headers.get(AUTHORIZATION) == Some(&self.presented) {
            return Ok(false);
        }
        session.respond_error(401).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, true, ORIGIN.to_owned())))
    }

    async fn upstream_request_filter(&self, _: &mut Session, request: &mut RequestHeader, (): &mut ()) -> Result<()> {
        request.insert_header(AUTHORIZATION, self.injected.clone())?;
        request.insert_header(HOST, HeaderValue::from_static(ORIGIN))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [listen, origin, ca, presented, injected] = arguments else {
        return Err("usage: pingora-peer LISTEN ORIGIN CA PRESENTED INJECTED".into());
    };
    let inject = Inject { origin: origin.parse()?, presented: presented.parse()?, injected: injected.parse()? };
    let conf = ServerConf {
        threads: 1,
        ca_file: Some(ca.clone()),
        upstream_keepalive_pool_size: 512,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, inject);
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}
