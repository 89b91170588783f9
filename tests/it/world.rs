//! A gateway in this process, in front of an upstream of the test's own.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use closegate::admin::Management;
use closegate::app::{End, Gateway, Provenance, Reloaded};
use closegate::config::{self, Environment, Sources};
use closegate::edge::Local;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::raw::{Answer, Raw};
use crate::ways::Passage;

/// What Close would know the gateway by; no client may ever see it. One secret for all tests, so that one search over
/// everything that they wrote finds it.
pub(crate) const SECRET: &str = "api_7b8KOSMa0OevK9qJvT6F9s.PLANTEDsecretPLANTEDse";
/// `Basic` of [`SECRET`].
pub(crate) const INJECTED: &str = "Basic YXBpXzdiOEtPU01hME9ldks5cUp2VDZGOXMuUExBTlRFRHNlY3JldFBMQU5URURzZTo=";
/// The gateway key of the tests.
pub(crate) const KEY: &str = "cgk_0123abcd_plantedkeyplantedkeyplantedkey0";
/// A second one.
pub(crate) const OTHER_KEY: &str = "cgk_4567efgh_plantedkeyplantedkeyplantedkey1";

/// For what in a test is asynchronous.
pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// A gateway that is being set up.
pub(crate) struct Setup {
    /// Where the upstream listens.
    pub(crate) upstream: SocketAddr,
    sections: Vec<(&'static str, String)>,
    folder: TempDir,
}

/// A running gateway.
pub(crate) struct World {
    gateway: Option<Gateway>,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub records: Records,
    pub folder: TempDir,
}

/// The lines on stdout so far: access records, and the events among them.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<(Mutex<Vec<u8>>, Condvar)>);

const STUCK: Duration = Duration::from_secs(30);

/// One worker, one credential `sales`, an upstream in clear text on loopback.
pub(crate) fn gateway(upstream: SocketAddr) -> Setup {
    let folder = TempDir::new().unwrap();
    let setup = Setup { upstream, sections: Vec::new(), folder };
    setup
        .file("sales.secret", SECRET)
        .set("listen", "address = \"127.0.0.1:0\"\nworkers = 1")
        .set("admin", "address = \"127.0.0.1:0\"")
        .set("upstream", &format!("url = \"http://{upstream}\"\ndanger_cleartext_upstream = true"))
        .set("credentials.sales", "api_key = { file = \"sales.secret\" }")
}

impl Setup {
    /// The same configuration in a folder that another gateway has left, with what lies there.
    pub(crate) fn in_folder(mut self, folder: TempDir) -> Self {
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            let file = file.unwrap();
            std::fs::rename(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        self.folder = folder;
        self
    }

    /// Adds lines to a section.
    pub(crate) fn set(mut self, section: &'static str, lines: &str) -> Self {
        match self.sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, text)) => write!(text, "\n{lines}").unwrap(),
            None => self.sections.push((section, lines.to_owned())),
        }
        self
    }

    /// Replaces the lines of a section.
    pub(crate) fn replace(self, section: &'static str, lines: &str) -> Self {
        self.without(section).set(section, lines)
    }

    /// Leaves a section out.
    pub(crate) fn without(mut self, section: &str) -> Self {
        self.sections.retain(|(name, _)| *name != section);
        self
    }

    /// Writes a file beside the configuration.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    /// The key [`KEY`] for the routes (TOML strings, comma separated).
    pub(crate) fn key(self, routes: &str) -> Self {
        self.file("main.key", KEY).set("keys.main", &format!("secret = {{ file = \"main.key\" }}\nroutes = [{routes}]"))
    }

    /// The key [`OTHER_KEY`] for the routes.
    pub(crate) fn other_key(self, routes: &str) -> Self {
        let lines = format!("secret = {{ file = \"other.key\" }}\nroutes = [{routes}]");
        self.file("other.key", OTHER_KEY).set("keys.other", &lines)
    }

    /// The folder of the configuration and its files.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The lines of a section so far.
    pub(crate) fn section(&self, section: &str) -> &str {
        self.sections.iter().find(|(name, _)| *name == section).map_or("", |(_, text)| text)
    }

    /// The text of the configuration.
    pub(crate) fn text(&self) -> String {
        let sections = self.sections.iter().map(|(name, lines)| format!("[{name}]\n{lines}\n"));
        sections.collect()
    }

    /// Writes the configuration as `closegate.toml` beside the other files.
    pub(crate) fn write(self) -> TempDir {
        std::fs::write(self.folder.path().join("closegate.toml"), self.text()).unwrap();
        self.folder
    }

    /// Starts a gateway whose configuration stays as it is.
    pub(crate) fn start(self) -> World {
        self.start_from(|_, _| None)
    }

    /// Starts a gateway that goes by what its files say later.
    pub(crate) fn start_reloading(self) -> World {
        self.start_from(|sources, file| Some(Provenance { sources, file }))
    }

    fn start_from(self, provenance: impl FnOnce(Sources, Option<PathBuf>) -> Option<Provenance>) -> World {
        let (setup, passage) = Passage::through(self);
        let folder = setup.write();
        let path = folder.path().join("closegate.toml");
        let sources =
            Sources { file: Some(path), environment: state_in(folder.path()), folder: folder.path().to_owned() };
        let loaded = config::load(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        let records = Records::default();
        let provenance = provenance(sources, loaded.file.clone());
        let gateway = Gateway::start(&loaded, provenance, records.clone());
        let gateway = gateway.unwrap_or_else(|faults| panic!("{faults}"));
        let proxy = passage.door(|listener| match listener {
            "default" => gateway.proxy().unwrap(),
            _ => place(&gateway.listeners, listener),
        });
        World { proxy, admin: gateway.admin, gateway: Some(gateway), records, folder }
    }
}

/// An environment in which data lies in the folder as well.
fn state_in(folder: &Path) -> Environment {
    [("XDG_STATE_HOME", folder)].into_iter().collect()
}

/// Where the listener of that label listens.
fn place(listeners: &[(String, Local)], label: &str) -> SocketAddr {
    let (_, local) = listeners.iter().find(|(name, _)| name == label).unwrap();
    let Local::Tcp(address) = local else { panic!("{local}") };
    *address
}

impl World {
    /// Where the listener of that label listens.
    pub(crate) fn place(&self, label: &str) -> SocketAddr {
        place(&self.gateway.as_ref().unwrap().listeners, label)
    }

    pub(crate) fn connect(&self) -> Raw {
        Raw::connect(self.proxy)
    }

    /// Sends one request on a connection of its own and reads the answer.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.send(request);
        client.answer()
    }

    /// A GET with [`KEY`] and further header lines (each with its CRLF).
    pub(crate) fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{headers}\r\n"))
    }

    /// What `/metrics` says.
    pub(crate) fn metrics(&self) -> String {
        let mut client = Raw::connect(self.admin);
        client.send("GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n");
        client.answer().text()
    }

    /// The value of a series of `/metrics`; 0 when there is none.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Writes a file beside the configuration, whole at once.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let (new, file) = (self.folder.path().join("new"), self.folder.path().join(name));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Replaces a text of the configuration.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.folder.path().join("closegate.toml")).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        self.write("closegate.toml", &text.replace(from, to));
    }

    /// Has everything loaded again.
    pub(crate) fn reload(&self) -> Reloaded {
        RUNTIME.block_on(self.gateway.as_ref().unwrap().bell().ring())
    }

    /// Where its configuration and its data lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What is managed at run time.
    pub(crate) fn management(&self) -> Arc<dyn Management> {
        self.gateway.as_ref().unwrap().management()
    }

    /// Ends the gateway, and leaves its folder to the next one.
    pub(crate) fn stop(mut self) -> TempDir {
        RUNTIME.block_on(self.gateway.take().unwrap().stop());
        std::mem::replace(&mut self.folder, TempDir::new().unwrap())
    }

    /// Begins to end the gateway; the handle says how it ended.
    pub(crate) fn stop_beside(&mut self) -> tokio::task::JoinHandle<End> {
        RUNTIME.spawn(self.gateway.take().unwrap().stop())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            RUNTIME.block_on(gateway.stop());
        }
    }
}

impl Records {
    /// Waits until so many records are there, and returns them all.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Value> {
        self.wait_until(|records| records.len() >= count)
    }

    /// Waits until the records are as asked.
    pub(crate) fn wait_until(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let (bytes, arrived) = &*self.0;
        let guard = bytes.lock().unwrap();
        let (guard, timeout) = arrived.wait_timeout_while(guard, STUCK, |bytes| !enough(&parse(bytes))).unwrap();
        let records = parse(&guard);
        assert!(!timeout.timed_out(), "the records did not come: {records:#?}");
        records
    }

    /// Waits until an event of that kind was written, and gives the first.
    pub(crate) fn event(&self, kind: &str) -> Value {
        self.event_that(kind, |_| true)
    }

    /// The same for one that is as asked.
    pub(crate) fn event_that(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let (bytes, arrived) = &*self.0;
        let find = |bytes: &[u8]| lines(bytes).into_iter().find(|line| line["event"] == kind && fits(line));
        let guard = bytes.lock().unwrap();
        let (guard, _) = arrived.wait_timeout_while(guard, STUCK, |bytes| find(bytes).is_none()).unwrap();
        find(&guard).unwrap_or_else(|| panic!("no event `{kind}`: {}", String::from_utf8_lossy(&guard)))
    }

    /// Everything that was written.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().unwrap().clone()
    }
}

impl io::Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().unwrap().extend_from_slice(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Vec<Value> {
    lines(bytes).into_iter().filter(|line| line.get("event").is_none()).collect()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}
