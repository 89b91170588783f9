//! Started by systemd: sockets that it hands over, what it is told, and restarts that refuse nobody.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::origin::Origin;
use crate::raw::Raw;
use crate::spawned::{Process, closegate, run};
use crate::world::{KEY, Setup, gateway};

/// The program with a socket as descriptor 3, as systemd starts it.
fn activated(folder: &Path, socket: impl Into<OwnedFd>, name: &str) -> Command {
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=$1 exec \"$0\" 3<&0 </dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_closegate"), name]);
    command.env_clear().current_dir(folder).stdin(Stdio::from(socket.into()));
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("XDG_STATE_HOME", folder);
    command
}

fn systemd(origin: &Origin) -> Setup {
    gateway(origin.address).key("\"sales\"").replace("listen", "address = \"systemd\"\nshutdown_delay = \"300ms\"")
}

fn request(connection: &str) -> String {
    format!("GET /sales/x HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nConnection: {connection}\r\n\r\n")
}

fn serves(address: SocketAddr) -> bool {
    let mut client = Raw::connect(address);
    client.send(request("close"));
    client.answer().status == 200
}

#[test]
fn a_socket_that_is_handed_over_is_served_whatever_it_is_called() {
    let origin = Origin::plain();
    for name in ["closegate.socket", "default", "listen", "unknown"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let folder = systemd(&origin).write();
        let mut process = Process::start(activated(folder.path(), listener, name));
        process.stderr.wait_for("the admin listener listens", 1);
        assert!(serves(address), "{name}");
        process.signal(Signal::TERM);
        assert!(process.wait().success());
    }
}

#[test]
fn a_named_socket_goes_to_the_listener_of_its_name() {
    let origin = Origin::plain();
    let folder = gateway(origin.address).key("\"sales\"").set("listeners.tools", "address = \"systemd\"").write();
    let path = folder.path().join("tools.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut process = Process::start(activated(folder.path(), listener, "tools"));
    process.stderr.wait_for("the admin listener listens", 1);
    assert!(process.stderr.text().contains("listener=\"tools\""));
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    process.signal(Signal::TERM);
    assert!(process.wait().success());
    assert!(path.exists(), "it is systemd's");
}

#[test]
fn without_a_socket_there_is_nothing_to_start() {
    let origin = Origin::plain();
    let folder = systemd(&origin).write();
    let ended = run(&mut closegate(folder.path()));
    assert_eq!(ended.code, Some(78));
    assert!(
        ended.stderr.contains("listen.address") && ended.stderr.contains("handed over no socket"),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_nobody_takes_of_systemd_is_named() {
    let origin = Origin::plain();
    let folder = gateway(origin.address).key("\"sales\"").write();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut process = Process::start(activated(folder.path(), listener, "somebodys"));
    process.stderr.wait_for("the admin listener listens", 1);
    let text = process.stderr.text();
    assert!(text.contains("`somebodys` (127.0.0.1:") && text.contains("no listener takes it"), "{text}");
    process.signal(Signal::TERM);
    assert!(process.wait().success());
}

#[test]
fn a_socket_that_does_not_listen_is_named_and_not_served() {
    let origin = Origin::plain();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let folder = systemd(&origin).write();
    let ended = run(&mut activated(folder.path(), socket, "default"));
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    for said in ["`default`, which is no stream socket that listens", "handed over no socket"] {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

#[test]
fn line_45_commands_get_neither_the_socket_nor_a_word_of_systemd() {
    let origin = Origin::plain();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
    let setup = systemd(&origin)
        .file("look", "env > seen; ls -l /proc/$$/fd >> seen; echo a-secret-from-a-command")
        .replace("credentials.sales", "bearer = { command = [\"sh\", \"look\"] }");
    let folder = setup.write();
    let mut command = activated(folder.path(), listener, "listen");
    command.env("NOTIFY_SOCKET", folder.path().join("nobody"));
    let process = Process::start(command);
    process.stderr.wait_for("the admin listener listens", 1);
    let seen = std::fs::read_to_string(folder.path().join("seen")).unwrap();
    assert!(seen.contains("PATH="), "{seen}");
    assert!(!seen.contains("LISTEN_") && !seen.contains("NOTIFY_"), "{seen}");
    assert!(seen.contains("1 -> pipe:["), "its output is the gateway's to read: {seen}");
    assert!(!seen.contains(&format!("socket:[{inode}]")), "{seen}");
}

#[test]
fn systemd_is_told_of_the_start_of_reloads_and_of_the_end() {
    let origin = Origin::plain();
    let folder = gateway(origin.address).key("\"sales\"").write();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut text = [0; 256];
        let count = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..count].to_vec()).unwrap()
    };
    let mut command = closegate(folder.path());
    command.env("NOTIFY_SOCKET", &path);
    let mut process = Process::start(command);
    assert_eq!(told().trim(), "READY=1");
    process.signal(Signal::HUP);
    let reloading = told();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert_eq!(told().trim(), "READY=1");
    process.signal(Signal::TERM);
    assert_eq!(told().trim(), "STOPPING=1");
    assert!(process.wait().success());
}

/// Clients that keep their connections and make new ones only when they are told to.
struct Crowd {
    stop: AtomicBool,
    asked: AtomicUsize,
    failed: AtomicUsize,
}

impl Crowd {
    fn client(&self, address: SocketAddr) {
        let mut client = None;
        while !self.stop.load(Ordering::SeqCst) {
            let connected = client.get_or_insert_with(|| Raw::connect(address));
            if !connected.send(request("keep-alive")) {
                self.failed.fetch_add(1, Ordering::SeqCst);
                client = None;
                continue;
            }
            let answer = connected.answer();
            self.asked.fetch_add(1, Ordering::SeqCst);
            if answer.status != 200 || !answer.whole {
                self.failed.fetch_add(1, Ordering::SeqCst);
            }
            if answer.header("connection").is_some_and(|value| value.contains("close")) {
                client = None;
            }
        }
    }

    fn wait_for(&self, more: usize) {
        let goal = self.asked.load(Ordering::SeqCst) + more;
        while self.asked.load(Ordering::SeqCst) < goal {
            std::thread::yield_now();
        }
    }
}

fn start(folder: &TempDir, listener: &TcpListener) -> Process {
    let process = Process::start(activated(folder.path(), listener.try_clone().unwrap(), "listen"));
    process.stderr.wait_for("the admin listener listens", 1);
    process
}

#[test]
fn line_39_ten_restarts_under_load_refuse_nobody_and_lose_nothing() {
    let origin = Origin::plain();
    // Long enough for each of the clients to ask once more, and to be told to go.
    let folder = systemd(&origin).replace("listen", "address = \"systemd\"\nshutdown_delay = \"2s\"").write();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let crowd = Crowd { stop: AtomicBool::new(false), asked: AtomicUsize::new(0), failed: AtomicUsize::new(0) };
    let mut process = start(&folder, &listener);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| crowd.client(address));
        }
        for _ in 0..10 {
            crowd.wait_for(100);
            process.signal(Signal::TERM);
            let ended = process.wait();
            process = start(&folder, &listener);
            assert!(ended.success());
        }
        crowd.wait_for(100);
        crowd.stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(crowd.failed.load(Ordering::SeqCst), 0);
    assert!(crowd.asked.load(Ordering::SeqCst) >= 1100);
}
