//! A browser for one test: Chromium behind chromedriver, on a free port, without a way out of this machine.
//!
//! Nothing here sleeps: what is waited for is looked at again whenever the document changes.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::wd::TimeoutConfiguration;
use fantoccini::{Client, ClientBuilder, Locator};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::world::RUNTIME;

/// A browser window of its own profile; it ends with the value.
pub(super) struct Browser {
    client: Option<Client>,
    driver: Driver,
}

/// What is different from one window to the next.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub theme: &'a str,
    pub width: u32,
    /// Where names lead that are not of this machine, as `MAP name:port address`; everything else leads nowhere.
    pub names: &'a str,
}

/// What it took to open a screen, as the browser counts it: until it was seen to be there, no earlier than it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub milliseconds: f64,
    /// What stands in the document.
    pub elements: f64,
    /// What came over the wire, heads among it; but for `/metrics`, which has a bound of its own (`metrics.max_key_series`).
    pub bytes: f64,
    pub requests: f64,
    /// Those of the API and of the metrics among them, each address once.
    pub asked: f64,
}

pub(super) const WIDE: Window<'_> = Window { theme: "light", width: 1280, names: "" };

/// chromedriver and what it started.
struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    /// It takes a free port for IPv4 and then asks for the same one for IPv6, which somebody else may have: then it ends,
    /// and is started again.
    fn start() -> Self {
        let mut said = Vec::new();
        (0..5).find_map(|_| Self::attempt(&mut said)).unwrap_or_else(|| panic!("chromedriver told no port: {said:#?}"))
    }

    fn attempt(said: &mut Vec<String>) -> Option<Self> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().expect("chromedriver starts: `tests/run` installs it");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let port = line.strip_suffix('.').unwrap_or(&line).rsplit_once("successfully on port ");
            let port = port.and_then(|(_, port)| port.parse().ok());
            said.push(line);
            port
        });
        let Some(port) = port else {
            said.push(format!("it ended: {}", child.wait().unwrap()));
            return None;
        };
        // Whatever else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(Self { child, port })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Browser {
    pub(super) fn open(window: Window<'_>) -> Self {
        let driver = Driver::start();
        let rules = format!("--host-resolver-rules={}MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", window.names);
        let size = format!("--window-size={},900", window.width);
        // As root, and in containers, Chromium's own sandbox cannot be set up.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
            "--lang=en",
            &size,
            &rules,
        ];
        let capabilities = json!({"browserName": "chrome", "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}});
        let address = format!("http://127.0.0.1:{}", driver.port);
        let client = RUNTIME.block_on(async {
            let mut builder = ClientBuilder::rustls().unwrap();
            builder.capabilities(serde_json::from_value(capabilities).unwrap());
            let client = builder.connect(&address).await.unwrap();
            client.update_timeouts(TimeoutConfiguration::new(Some(STUCK / LOOKS), Some(STUCK), None)).await.unwrap();
            client
        });
        let browser = Self { client: Some(client), driver };
        browser.devtools(
            "Emulation.setEmulatedMedia",
            json!({"features": [
                {"name": "prefers-color-scheme", "value": window.theme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]}),
        );
        browser.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": window.width, "height": 900, "deviceScaleFactor": 1, "mobile": false}),
        );
        browser
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// A command of Chromium's own protocol, through chromedriver.
    fn devtools(&self, command: &str, parameters: Value) -> Value {
        let session = RUNTIME.block_on(self.client().session_id()).unwrap().unwrap();
        let body = json!({"cmd": command, "params": parameters}).to_string();
        let target = format!("/session/{session}/goog/cdp/execute");
        crate::page::http::post(([127, 0, 0, 1], self.driver.port).into(), &target, &body).1
    }

    pub(super) fn go(&self, address: &str) {
        RUNTIME.block_on(self.client().goto(address)).unwrap();
    }

    /// Goes to another screen, as a link does.
    pub(super) fn screen(&self, hash: &str) {
        self.run("location.hash = arguments[0]", json!([hash]));
    }

    /// Goes on in the tab that a link has opened.
    pub(super) fn enter_new_tab(&self) {
        RUNTIME.block_on(async {
            let client = self.client();
            let own = client.window().await.unwrap();
            let other = loop {
                let tabs = client.windows().await.unwrap();
                match tabs.into_iter().find(|tab| *tab != own) {
                    Some(tab) => break tab,
                    None => tokio::task::yield_now().await,
                }
            };
            client.switch_to_window(other).await.unwrap();
        });
    }

    /// Closes the tab, and goes on in the one before.
    pub(super) fn leave_tab(&self) {
        RUNTIME.block_on(async {
            let client = self.client();
            client.close_window().await.unwrap();
            let left = client.windows().await.unwrap().remove(0);
            client.switch_to_window(left).await.unwrap();
        });
    }

    pub(super) fn run(&self, script: &str, arguments: Value) -> Value {
        let Value::Array(arguments) = arguments else { panic!("arguments are a list") };
        RUNTIME.block_on(self.client().execute(script, arguments)).unwrap()
    }

    /// Waits until an expression of JavaScript holds, which is looked at again whenever the document changes, and gives it.
    pub(super) fn until(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const look = () => {{ let found = null; try {{ found = {expression}; }} catch {{}} if (found) {{ seen.disconnect(); removeEventListener('hashchange', look); done(found === true ? true : String(found)); }} return found; }};
             const seen = new MutationObserver(look);
             seen.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
             addEventListener('hashchange', look);
             // What comes into sight changes nothing in the document: each frame is looked at as well.
             const frame = () => look() || requestAnimationFrame(frame);
             frame();"
        );
        let mut troubles = Vec::new();
        // A script that began on a page that is left is never answered: then the next one is asked.
        for _ in 0..LOOKS {
            match RUNTIME.block_on(self.client().execute_async(&script, Vec::new())) {
                Ok(found) => return found,
                Err(trouble) => troubles.push(trouble.to_string()),
            }
        }
        panic!("`{expression}` does not come to hold: {troubles:?}\n{}\n{:?}", self.text(), self.console())
    }

    /// Waits until the text stands on the page.
    pub(super) fn reads(&self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(text)));
    }

    /// Waits for a control by what it is called and clicks it, as a person does.
    pub(super) fn click(&self, called: &str) {
        let find = format!(
            "[...(document.querySelector('dialog[open]') ?? document).querySelectorAll('button, a, summary, label.choice strong')].find((one) => one.checkVisibility() && (one.getAttribute('aria-label') ?? one.innerText).trim() === {})",
            json!(called)
        );
        self.until(&format!("Boolean({find})"));
        let mark = format!(
            "const found = {find}; document.querySelectorAll('[data-found]').forEach((one) => one.removeAttribute('data-found')); found.setAttribute('data-found', ''); found.scrollIntoView({{ block: 'center' }});"
        );
        self.run(&mark, json!([]));
        RUNTIME.block_on(async {
            self.client().find(Locator::Css("[data-found]")).await.unwrap().click().await.unwrap();
        });
    }

    /// Waits for a field by its id, empties it and types.
    pub(super) fn fill(&self, id: &str, text: &str) {
        self.until(&format!("Boolean(document.getElementById({}))", json!(id)));
        RUNTIME.block_on(async {
            let field = self.client().find(Locator::Id(id)).await.unwrap();
            field.clear().await.unwrap();
            field.send_keys(text).await.unwrap();
        });
    }

    /// Types where the focus is.
    pub(super) fn keys(&self, text: &str) {
        RUNTIME.block_on(async {
            self.client().active_element().await.unwrap().send_keys(text).await.unwrap();
        });
    }

    /// Chooses in a list by what is chosen.
    pub(super) fn choose(&self, id: &str, value: &str) {
        self.until(&format!(
            "Boolean(document.getElementById({})?.querySelector(`option[value=\"{value}\"]`))",
            json!(id)
        ));
        let script = "const list = document.getElementById(arguments[0]); list.value = arguments[1];
            list.dispatchEvent(new Event('change', { bubbles: true }));";
        self.run(script, json!([id, value]));
    }

    /// Has each page that is opened from now on count, for [`load`](Self::load), the frames since it last waited for an
    /// answer: what comes asks for more after the frame that shows it, or the next one.
    pub(super) fn count_quiet_frames(&self) {
        let script = "{
            let waiting = 0;
            window.quietFrames = 0;
            const asItIs = window.fetch;
            window.fetch = async (...asked) => {
                waiting++;
                try {
                    const answer = await asItIs(...asked);
                    await answer.clone().arrayBuffer();
                    return answer;
                } finally {
                    waiting--;
                }
            };
            const frame = () => {
                quietFrames = waiting ? 0 : quietFrames + 1;
                requestAnimationFrame(frame);
            };
            frame();
        }";
        let planted = self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
        assert!(planted["value"]["identifier"].is_string(), "{planted}");
    }

    /// Loads an address anew, and tells what it took until the expression holds.
    pub(super) fn load(&self, address: &str, there: &str) -> Load {
        self.go("about:blank");
        self.go(address);
        let opened = self.until(&format!("({there}) && performance.now()"));
        let opened: f64 = opened.as_str().unwrap().parse().unwrap();
        // What it asks for besides has come as well.
        self.until("quietFrames > 10 && document.querySelector('.spinner') === null && !document.body.innerText.includes('Loading')");
        let script = "const loaded = performance.getEntriesByType('resource');
            const asked = loaded.map((one) => new URL(one.name)).filter((one) => /^\\/(api|metrics)/.test(one.pathname));
            return { milliseconds: arguments[0], elements: document.querySelectorAll('*').length,
                bytes: loaded.reduce((sum, one) => sum + (one.name.endsWith('/metrics') ? 0 : one.transferSize), 0), requests: loaded.length,
                asked: new Set(asked.map(String)).size };";
        let told = self.run(script, json!([opened]));
        let number = |name: &str| told[name].as_f64().unwrap();
        Load {
            milliseconds: number("milliseconds"),
            elements: number("elements"),
            bytes: number("bytes"),
            requests: number("requests"),
            asked: number("asked"),
        }
    }

    /// Whether leaving the page, as by closing its tab, is asked for first.
    pub(super) fn would_ask_before_unload(&self) -> bool {
        let script = "const event = new Event('beforeunload', { cancelable: true }); return !dispatchEvent(event);";
        self.run(script, json!([])) == json!(true)
    }

    /// From now on each request of the API is answered with this status and body, or not at all, as by a gateway or a store
    /// that is away: in this page and in those that are opened after it.
    pub(super) fn answer_with(&self, answer: Option<(u16, &str)>) {
        let answer = answer.map_or(Value::Null, |(status, body)| json!([status, body]));
        let script = format!(
            "window.asItIs ??= window.fetch;
             window.fetch = (path, options) => {{
                 const answer = {answer};
                 if (!String(path).startsWith('/api/')) return asItIs(path, options);
                 return answer ? Promise.resolve(new Response(answer[1], {{ status: answer[0] }})) : Promise.reject(new TypeError('away'));
             }};"
        );
        let planted = self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
        assert!(planted["value"]["identifier"].is_string(), "{planted}");
        self.run(&script, json!([]));
    }

    /// The gateway answers again.
    pub(super) fn answer_as_it_is(&self) {
        self.run("window.fetch = window.asItIs;", json!([]));
    }

    /// Loses every cookie, as when a session has ended.
    pub(super) fn forget_cookies(&self) {
        RUNTIME.block_on(self.client().delete_all_cookies()).unwrap();
    }

    /// What the page says.
    pub(super) fn text(&self) -> String {
        let text = RUNTIME.block_on(self.client().execute("return document.body.innerText", Vec::new()));
        text.map_or_else(|error| error.to_string(), |text| text.as_str().unwrap_or_default().to_owned())
    }

    /// The whole document as it stands.
    pub(super) fn source(&self) -> String {
        RUNTIME.block_on(self.client().source()).unwrap()
    }

    /// Faults that the browser has noted, such as violations of the page's policy; asked once each.
    pub(super) fn console(&self) -> Vec<String> {
        let Ok(Some(session)) = RUNTIME.block_on(self.client().session_id()) else { return Vec::new() };
        let address = ([127, 0, 0, 1], self.driver.port).into();
        let answer =
            crate::page::http::post(address, &format!("/session/{session}/se/log"), r#"{"type": "browser"}"#).1;
        let entries = answer["value"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The address that the window shows.
    pub(super) fn address(&self) -> String {
        RUNTIME.block_on(self.client().current_url()).unwrap().to_string()
    }

    /// Serious and critical violations that axe-core finds in what is shown.
    pub(super) fn violations(&self) -> Vec<String> {
        self.run(AXE, json!([]));
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then(
                ({ violations }) => done(violations.filter((one) => ['serious', 'critical'].includes(one.impact)).map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(' ')).join(', ')}`)),
                (fault) => done([String(fault)]));";
        let found = RUNTIME.block_on(self.client().execute_async(script, Vec::new())).unwrap();
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = RUNTIME.block_on(client.close());
        }
    }
}

const AXE: &str = include_str!("../../data/axe/axe.min.js");

/// A guard against what never comes, nothing that a test waits for.
const STUCK: Duration = Duration::from_secs(60);
/// So often what is waited for is looked at before that.
const LOOKS: u32 = 6;
