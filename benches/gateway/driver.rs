//! The load: keep-alive HTTP/1.1 connections that each send one request after the other and check every answer.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Result;
use crate::contenders::GATEWAY_KEY;

/// What is sent.
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Requests over all connections.
    pub(crate) requests: usize,
    /// Bytes of the body asked for.
    pub(crate) size: usize,
}

/// Sends the load to a port on loopback, and says how many requests failed.
pub(crate) fn drive(port: u16, load: &Load) -> Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let left = Rc::new(Cell::new(load.requests));
    let errors = Rc::new(Cell::new(0));
    let tasks = LocalSet::new();
    for _ in 0..load.connections {
        let (left, errors, size) = (Rc::clone(&left), Rc::clone(&errors), load.size);
        let connection = async move {
            while left.get() > 0 {
                if exchanges(port, size, &left).await.is_err() {
                    errors.set(errors.get() + 1);
                }
            }
        };
        tasks.spawn_local(connection);
    }
    runtime.block_on(tasks);
    Ok(errors.get())
}

/// One connection, until no request is left or one fails.
async fn exchanges(port: u16, size: usize, left: &Cell<usize>) -> io::Result<()> {
    let authorization = STANDARD.encode(format!("{GATEWAY_KEY}:"));
    let request = format!(
        "GET /api/v1/lead/?size={size} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {authorization}\r\n\
         User-Agent: bench\r\nAccept: application/json\r\n\r\n"
    );
    let connected = TcpStream::connect(("127.0.0.1", port)).await;
    let mut stream = connected.inspect_err(|_| left.set(left.get().saturating_sub(1)))?;
    let mut buffer = vec![0; 64 * 1024];
    while let Some(rest) = left.get().checked_sub(1) {
        left.set(rest);
        stream.write_all(request.as_bytes()).await?;
        answer(&mut stream, &mut buffer, size).await?;
    }
    Ok(())
}

/// Reads one answer: status 200, and a body of the size asked for.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8], size: usize) -> io::Result<()> {
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
    if !buffer.starts_with(b"HTTP/1.1 200 ") || content_length(&buffer[..end]) != Some(size) {
        return Err(io::Error::other("not the answer that was asked for"));
    }
    let mut missing = (end + size).checked_sub(filled).ok_or_else(|| io::Error::other("more than one answer"))?;
    while missing > 0 {
        let room = missing.min(buffer.len());
        match stream.read(&mut buffer[..room]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => missing -= read,
        }
    }
    Ok(())
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}
