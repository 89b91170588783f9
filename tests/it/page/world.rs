//! A gateway process with a store of its own, a simulated Close, and the way into the page.

use std::net::SocketAddr;

use closegate::sim::{Accepted, Options, Simulator};
use serde_json::Value;
use tempfile::TempDir;

use super::browser::{Browser, Window};
use super::http;
use crate::raw::Answer;
use crate::spawned::{Spawned, closegate};
use crate::world::RUNTIME;

/// An API key that the simulator takes.
pub(super) const API_KEY: &str = "api_7b8KOSMa0OevK9qJvT6F9s.PLANTEDsecretPLANTEDse";
/// The admin token of the tests.
pub(super) const TOKEN: &str = "planted-admin-token-planted-admin-token";
/// The token of one who may only look.
pub(super) const VIEWER: &str = "planted-viewer-token-planted-viewer-token";

/// A gateway and what stands behind it.
pub(super) struct Site {
    pub gateway: Spawned,
    pub simulator: Simulator,
}

/// A gateway with nothing but an upstream and two tokens; `rest` is more of its configuration.
pub(super) fn site(rest: &str) -> Site {
    start(rest, true, &[])
}

/// One whose configuration also has tables that refer to files: `files` are their names and texts.
pub(super) fn site_with(rest: &str, files: &[(&str, &str)]) -> Site {
    start(rest, true, files)
}

/// One without tokens of the configuration, as at a first start.
pub(super) fn bare_site() -> Site {
    start("", false, &[])
}

/// The same where a file lies in the place of the folder for data.
pub(super) fn bare_site_in_memory() -> Site {
    start("", false, &[("data", "")])
}

fn start(rest: &str, tokens: bool, files: &[(&str, &str)]) -> Site {
    let options = Options::new().accept(Accepted::api_key("Bluth Company", API_KEY)).strict();
    let simulator = RUNTIME.block_on(Simulator::start(options)).unwrap();
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    files.iter().for_each(|(name, text)| write(name, text));
    let named = if tokens {
        write("admin.token", TOKEN);
        write("viewer.token", VIEWER);
        "[admin.tokens.ops]\nsecret = { file = \"admin.token\" }\nrole = \"admin\"\n[admin.tokens.guest]\nsecret = { file = \"viewer.token\" }\nrole = \"viewer\"\n"
    } else {
        ""
    };
    let upstream = simulator.address();
    let text = format!(
        "data_dir = \"data\"\n[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[upstream]\nurl = \"http://{upstream}\"\ndanger_cleartext_upstream = true\n[log]\naccess = \"off\"\n[admin]\naddress = \"127.0.0.1:0\"\n{rest}\n{named}"
    );
    write("closegate.toml", &text);
    let command = closegate(folder.path());
    Site { gateway: Spawned::start(command, folder), simulator }
}

impl Site {
    pub(super) fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.admin)
    }

    /// A browser that has signed in with a token.
    pub(super) fn browser(&self, window: Window<'_>, token: &str) -> Browser {
        let browser = Browser::open(window);
        browser.go(&self.address("/"));
        sign_in(&browser, token);
        browser
    }

    /// A call of the API with the admin's token; fails on a refusal.
    pub(super) fn call(&self, method: &str, target: &str, body: &Value) -> Value {
        let (status, _, text) = self.request(method, target, &format!("Authorization: Bearer {TOKEN}\r\n"), body);
        assert!((200..300).contains(&status), "{method} {target}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// A call of the API with header lines of one's own: status, head and body.
    pub(super) fn request(&self, method: &str, target: &str, headers: &str, body: &Value) -> (u16, String, String) {
        let admin: SocketAddr = self.gateway.admin;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let host = if headers.contains("Host:") { String::new() } else { format!("Host: {admin}\r\n") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let length = body.len();
        http::exchange(
            admin,
            &format!(
                "{method} {target} HTTP/1.1\r\n{host}{headers}{kind}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ),
        )
    }

    /// Calls Close through the gateway as the curl line of the page does.
    pub(super) fn tool(&self, key: &str, path: &str) -> Answer {
        self.gateway.ask(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        ))
    }
}

pub(super) fn sign_in(browser: &Browser, token: &str) {
    browser.fill("token", token);
    browser.click("Sign in");
    browser.until("Boolean(document.querySelector('.frame'))");
}
