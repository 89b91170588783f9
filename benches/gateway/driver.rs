//! The load: HTTP/1.1 connections that each send one request after the other and check every answer.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Result;
use crate::scenario::{Life, Scenario};

/// Who is asked, and with what.
#[derive(Clone)]
pub(crate) struct Target {
    /// On loopback.
    pub(crate) port: u16,
    /// The value of `Authorization`.
    pub(crate) authorization: String,
}

/// Sends so many requests, and says how many failed.
pub(crate) fn drive(target: &Target, scenario: &Scenario, requests: usize) -> Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let left = Rc::new(Cell::new(requests));
    let errors = Rc::new(Cell::new(0));
    let tasks = LocalSet::new();
    for _ in 0..scenario.connections {
        let (left, errors, target, scenario) = (Rc::clone(&left), Rc::clone(&errors), target.clone(), *scenario);
        tasks.spawn_local(async move {
            while left.get() > 0 {
                if exchanges(&target, &scenario, &left).await.is_err() {
                    errors.set(errors.get() + 1);
                }
            }
        });
    }
    runtime.block_on(tasks);
    Ok(errors.get())
}

/// One connection, until no request is left, its life is over, or one fails.
async fn exchanges(target: &Target, scenario: &Scenario, left: &Cell<usize>) -> io::Result<()> {
    let connected = Connection::open(target, scenario).await;
    let mut connection = connected.inspect_err(|_| left.set(left.get().saturating_sub(1)))?;
    while let Some(rest) = left.get().checked_sub(1) {
        left.set(rest);
        connection.exchange().await?;
        if scenario.life == Life::Short {
            return connection.end().await;
        }
    }
    Ok(())
}

/// The status that one request gets, with whatever `Authorization` the target says, or none.
pub(crate) fn status(port: u16, target: &str, authorization: Option<&str>) -> Result<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let field = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{field}Connection: close\r\n\r\n");
    let answer = runtime.block_on(async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    })?;
    let text = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or("no status line")?;
    Ok(text.parse()?)
}

/// A connection, and all that it sends and expects.
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    size: usize,
}

impl Connection {
    pub(crate) async fn open(target: &Target, scenario: &Scenario) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", target.port)).await?;
        stream.set_nodelay(true)?;
        let (request, size) = (request(target, scenario), scenario.down);
        Ok(Self { stream, request, buffer: vec![0; 64 * 1024], size })
    }

    /// Sends one request, and reads its answer: status 200, and a body of the size asked for.
    pub(crate) async fn exchange(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.request).await?;
        let (stream, buffer) = (&mut self.stream, &mut self.buffer);
        let mut filled = 0;
        let end = loop {
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
            if let Some(at) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !buffer.starts_with(b"HTTP/1.1 200 ") || content_length(&buffer[..end]) != Some(self.size) {
            return Err(io::Error::other("not the answer that was asked for"));
        }
        let more = || io::Error::other("more than one answer");
        let mut missing = (end + self.size).checked_sub(filled).ok_or_else(more)?;
        while missing > 0 {
            let room = missing.min(buffer.len());
            match stream.read(&mut buffer[..room]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => missing -= read,
            }
        }
        Ok(())
    }

    /// The other end closes after an answer that it said was the last.
    async fn end(mut self) -> io::Result<()> {
        match self.stream.read(&mut self.buffer).await? {
            0 => Ok(()),
            _ => Err(io::Error::other("more than one answer")),
        }
    }
}

pub(crate) fn request(target: &Target, scenario: &Scenario) -> Vec<u8> {
    let (method, length) = match scenario.up {
        0 => ("GET", String::new()),
        up => ("POST", format!("Content-Type: application/json\r\nContent-Length: {up}\r\n")),
    };
    let close = if scenario.life == Life::Short { "Connection: close\r\n" } else { "" };
    let Target { port, authorization } = target;
    let head = format!(
        "{method} /api/v1/lead/?size={} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {authorization}\r\n\
         User-Agent: bench\r\nAccept: application/json\r\n{length}{close}\r\n",
        scenario.down
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + scenario.up, b' ');
    request
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}
