//! The plainest client there is, for what a browser would not send.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Posts JSON; the status and the JSON of the answer.
pub(super) fn post(address: SocketAddr, target: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let (status, _, text) = exchange(address, &format!("{head}{body}"));
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Sends a request as it is written and reads its answer, which has a length or ends with the connection: status, head
/// and body.
pub(super) fn exchange(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(STUCK)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    let field = |name: &str| {
        head.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let length = field("content-length").and_then(|(_, value)| value.trim().parse().ok());
    let mut body = Vec::new();
    reader.take(length.unwrap_or(u64::MAX)).read_to_end(&mut body).unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head, String::from_utf8_lossy(&body).into_owned())
}

/// A guard against what never comes.
const STUCK: Duration = Duration::from_secs(60);
