//! An admin listener in this process, over a `Management` in memory.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use closegate::admin::model::Role;
use closegate::admin::{Api, Desk, Health, House, InMemory, Phase, Sessions, Surface, Token, Tokens, serve};
use closegate::origin::Origin;
use closegate::telemetry::{Access, Options, Telemetry};
use serde_json::Value;
use tokio::sync::oneshot;

use super::memory::Memory;
use crate::raw::{Answer, Raw};
use crate::world::RUNTIME;

/// The token that may do everything.
pub(crate) const ADMIN: &str = "planted-token-of-the-admin-0123";
/// The token that may change nothing.
pub(crate) const VIEWER: &str = "planted-token-of-the-viewer-0123";

/// A running admin listener.
pub(crate) struct Office {
    pub(crate) address: SocketAddr,
    pub(crate) memory: Arc<Memory>,
    stop: Option<oneshot::Sender<()>>,
}

/// A request that is being written.
pub(crate) struct Question {
    address: SocketAddr,
    start: String,
    host: String,
    lines: Vec<String>,
    body: Option<String>,
}

impl Office {
    pub(crate) fn open() -> Self {
        Self::with(Arc::new(InMemory::default()))
    }

    /// One that keeps its sessions there.
    pub(crate) fn with(sessions: Arc<dyn Sessions>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Memory::default());
        let token = |name: &str, role, text: &str| Token {
            name: name.to_owned(),
            role,
            digest: closegate::keys::digest(text.as_bytes()),
        };
        let tokens = Tokens::new(vec![token("ops", Role::Admin, ADMIN), token("wall", Role::Viewer, VIEWER)]);
        let house = House {
            public_url: Some(Origin::parse("https://gate.example.com").unwrap()),
            hosts: vec!["admin.internal".to_owned()],
            address: Some(address.ip()),
        };
        let desk = Desk::new(memory.clone(), sessions, memory.clone(), tokens, house);
        let health = Arc::new(Health::new(Default::default));
        health.enter(Phase::Ready);
        let telemetry = Telemetry::new(Options { max_key_series: 1, access: Access::Off }, io::sink());
        let surface = Surface::probes(telemetry, health).with_api(Api::new(desk));
        let (stop, stopped) = oneshot::channel::<()>();
        drop(RUNTIME.spawn(async move {
            serve(listener, None, surface, async { drop(stopped.await) }).await.unwrap();
        }));
        Self { address, memory, stop: Some(stop) }
    }

    /// A request without a token.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Question {
        Question {
            address: self.address,
            start: format!("{method} {path} HTTP/1.1"),
            host: self.address.to_string(),
            lines: Vec::new(),
            body: None,
        }
    }

    /// A request of the admin.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Question {
        self.ask(method, path).token(ADMIN)
    }

    /// Signs in; the cookie of the session and its CSRF value.
    pub(crate) fn sign_in(&self, token: &str) -> (String, String) {
        let answer = self.ask("POST", "/api/v1/session").json(serde_json::json!({ "token": token })).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        (cookie, answer.json()["csrf"].as_str().unwrap().to_owned())
    }

    /// Adds a credential with a planted secret.
    pub(crate) fn add(&self, name: &str) -> Answer {
        let new = serde_json::json!({ "name": name, "method": { "api_key": "api_planted.planted" } });
        self.admin("POST", "/api/v1/credentials").json(new).send()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

impl Question {
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name}: {value}"));
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.header("Content-Type", "application/json").body(&body.to_string())
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\r\nHost: {}\r\n", self.start, self.host);
        for line in &self.lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        match &self.body {
            Some(body) => text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len())),
            None => text.push_str("\r\n"),
        }
        text
    }

    pub(crate) fn send(self) -> Answer {
        let mut client = Raw::connect(self.address);
        client.send(self.text());
        if self.start.starts_with("HEAD ") { client.answer_to_head() } else { client.answer() }
    }

    /// Sends; the status and the code of the problem that came back.
    pub(crate) fn refused(self) -> (u16, String) {
        let start = self.start.clone();
        let answer = self.send();
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{start}: {}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["status"], answer.status);
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
        (answer.status, problem["code"].as_str().unwrap().to_owned())
    }
}
