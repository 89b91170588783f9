//! The program itself as a process of its own, for what only a process shows: exit codes, memory, signals, `/proc`.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Read, Write};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use closegate::store::{By, Only, Otherwise, Place, Question, Role, Store};
use closegate::usage::Span;

use rustix::fs::{OFlags, inotify};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::raw::{Answer, Raw, find};
use crate::ways::Passage;
use crate::world::{KEY, RUNTIME, Setup};

/// A running process; it ends with the value.
pub(crate) struct Process {
    child: Child,
    pub stdout: Stream,
    pub stderr: Stream,
}

/// A running gateway process.
pub(crate) struct Spawned {
    process: Process,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub folder: TempDir,
}

/// What a process has written so far.
#[derive(Clone, Default)]
pub(crate) struct Stream(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    ended: bool,
}

const STUCK: Duration = Duration::from_secs(30);

/// The program, in a folder, with nothing of the tests' own environment.
pub(crate) fn closegate(folder: &Path) -> Command {
    isolated(Command::new(env!("CARGO_BIN_EXE_closegate")), folder)
}

/// The program with at most so many open files.
pub(crate) fn closegate_with_files(folder: &Path, files: usize) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &files.to_string(), env!("CARGO_BIN_EXE_closegate")]);
    isolated(shell, folder)
}

fn isolated(mut command: Command, folder: &Path) -> Command {
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    // What is added at run time lies in the folder as well.
    command.env("XDG_STATE_HOME", folder);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs to the end; what was written, and the exit code.
pub(crate) fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A process that has ended; the code is missing when a signal ended it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Setup {
    /// Starts the program with this configuration.
    pub(crate) fn spawn(self) -> Spawned {
        self.spawn_as(closegate)
    }

    /// Starts a command in the folder of this configuration.
    pub(crate) fn spawn_as(self, command: impl FnOnce(&Path) -> Command) -> Spawned {
        let (setup, passage) = Passage::through(self);
        let folder = setup.write();
        let command = command(folder.path());
        let mut spawned = Spawned::start(command, folder);
        spawned.proxy = passage.door(|listener| match listener {
            "default" => spawned.proxy,
            _ => spawned.place(listener),
        });
        spawned
    }
}

impl Spawned {
    /// Starts the command and waits until it says where it listens.
    pub(crate) fn start(command: Command, folder: TempDir) -> Self {
        Self::listening(Process::start(command), folder)
    }

    fn listening(process: Process, folder: TempDir) -> Self {
        let proxy = process.stderr.address_after("the proxy listens address=");
        let admin = process.stderr.address_after("the admin listener listens address=");
        Self { process, proxy, admin, folder }
    }

    /// Like [`Self::start`], but from then on nobody reads its stderr, a pipe that is full.
    pub(crate) fn start_unread(mut command: Command, folder: TempDir) -> (Self, PipeReader) {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let full = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let mut full =
            OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(full).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
        // It holds the other end of the pipe.
        drop(command);
        let stderr = Stream::default();
        while !stderr.text().contains("the admin listener listens") || !stderr.bytes().ends_with(b"\n") {
            stderr.take(&mut reader);
        }
        while full.write(&[b'.'; 4096]).is_ok() {}
        while full.write(b".").is_ok() {}
        stderr.0.0.lock().unwrap().ended = true;
        let stdout = Stream::gather(child.stdout.take().unwrap());
        (Self::listening(Process { child, stdout, stderr }, folder), reader)
    }

    /// Where the listener of that name listens.
    pub(crate) fn place(&self, listener: &str) -> SocketAddr {
        let text = self.process.stderr.text();
        let said = format!(" listener=\"{listener}\"");
        let line = text.lines().find_map(|line| line.split_once("the proxy listens address=")?.1.strip_suffix(&said));
        line.expect("it listens").parse().unwrap()
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

    /// The most memory that was ever resident, in KiB, once the gateway has written down what was used of it so far: by then
    /// what it needs of the program for that is there.
    pub(crate) fn peak_at_rest(&self) -> u64 {
        let path = self.folder.path().join("closegate/closegate.db");
        let question = Question { span: Span::Day, from: 0, step: u64::MAX, by: By::Key, only: Only::default() };
        let written = async || {
            // Anew each time: what had no tables when it was opened is not looked at again.
            let place = Place::Sqlite { path: path.clone(), otherwise: Otherwise::Refuse };
            let store = Store::new(place, Role::Looking);
            let sums = store.usage(&question).await;
            store.close().await;
            sums.is_ok_and(|sums| !sums.is_empty())
        };
        let changes = changes(&[self.folder.path(), path.parent().unwrap()]);
        while !RUNTIME.block_on(written()) {
            changes.recv_timeout(STUCK).expect("it writes something down");
        }
        self.peak()
    }

    /// A GET with [`KEY`].
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"))
    }

    /// A GET at the admin listener.
    pub(crate) fn ask_admin(&self, path: &str) -> Answer {
        let mut client = Raw::connect(self.admin);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        client.answer()
    }
}

/// Tells of what happens in folders from now on, as the kernel does (inotify(7)), until they are gone.
fn changes(folders: &[&Path]) -> mpsc::Receiver<()> {
    let told = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    for folder in folders {
        inotify::add_watch(&told, *folder, inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY).unwrap();
    }
    let (sender, changes) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut told, mut events) = (File::from(told), [0; 4096]);
        while told.read(&mut events).is_ok() && sender.send(()).is_ok() {}
    });
    changes
}

impl Deref for Spawned {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Spawned {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Stream::gather(child.stdout.take().unwrap());
        let stderr = Stream::gather(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Gives it a line on its stdin, which was piped, and ends that.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.take().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A file of `/proc/PID`.
    pub(crate) fn proc(&self, file: &str) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/{file}", self.id())).unwrap()
    }

    /// The memory that is resident, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that was ever resident, in KiB. The kernel adds up what a page costs now and then only
    /// (proc_pid_status(5)), so that a peak may be told as less than what is there now.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:").max(self.memory())
    }

    /// How much higher the peak is than it was, in KiB. What is compared is peak with peak: a gateway gives back what it does
    /// not need, and takes it again for the next request.
    pub(crate) fn grown_beyond(&self, peak: u64) -> u64 {
        self.peak().saturating_sub(peak)
    }

    fn status(&self, name: &str) -> u64 {
        let status = String::from_utf8(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// The processor time used so far, in hundredths of a second.
    pub(crate) fn processor_time(&self) -> u64 {
        let stat = String::from_utf8(self.proc("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the process has ended and everything that it wrote is there.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        self.child.wait().unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stream {
    fn gather(mut from: impl Read + Send + 'static) -> Self {
        let stream = Self::default();
        let own = stream.clone();
        std::thread::spawn(move || while own.take(&mut from) {});
        stream
    }

    /// Takes what comes next; whether there may be more.
    fn take(&self, from: &mut impl Read) -> bool {
        let mut piece = [0; 65536];
        let count = from.read(&mut piece).unwrap_or(0);
        let mut written = self.0.0.lock().unwrap();
        written.bytes.extend_from_slice(&piece[..count]);
        written.ended = count == 0;
        self.0.1.notify_all();
        !written.ended
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().unwrap().bytes.clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits until a text was written so many times.
    pub(crate) fn wait_for(&self, text: &str, times: usize) {
        self.wait_until(|bytes| String::from_utf8_lossy(bytes).matches(text).count() >= times);
    }

    /// Waits until one text or the other was written.
    pub(crate) fn wait_for_either(&self, one: &str, other: &str) {
        self.wait_until(|bytes| [one, other].iter().any(|text| find(bytes, text.as_bytes()).is_some()));
    }

    /// Waits for the word that follows a text.
    pub(crate) fn after(&self, text: &str) -> String {
        let word = |written: &str| {
            let (_, after) = written.split_once(text)?;
            Some(after[..after.find(char::is_whitespace)?].to_owned())
        };
        self.wait_until(|bytes| word(&String::from_utf8_lossy(bytes)).is_some());
        word(&self.text()).unwrap()
    }

    pub(crate) fn address_after(&self, text: &str) -> SocketAddr {
        let line = |bytes: &[u8]| {
            let after = &bytes[find(bytes, text.as_bytes())? + text.len()..];
            let end = after.iter().position(u8::is_ascii_whitespace)?;
            Some(String::from_utf8_lossy(&after[..end]).into_owned())
        };
        self.wait_until(|bytes| line(bytes).is_some());
        line(&self.bytes()).unwrap().trim().parse().unwrap()
    }

    /// Waits until what was written is enough.
    pub(crate) fn wait_until(&self, enough: impl Fn(&[u8]) -> bool) {
        let written = self.0.0.lock().unwrap();
        let missing = |written: &mut Written| !enough(&written.bytes) && !written.ended;
        let (written, timeout) = self.0.1.wait_timeout_while(written, STUCK, missing).unwrap();
        let text = String::from_utf8_lossy(&written.bytes).into_owned();
        assert!(!timeout.timed_out() && enough(&written.bytes), "it was not written: {text}");
    }

    fn wait_for_end(&self) {
        let written = self.0.0.lock().unwrap();
        let waited = self.0.1.wait_timeout_while(written, STUCK, |written| !written.ended).unwrap();
        assert!(!waited.1.timed_out(), "the process does not end");
    }
}
