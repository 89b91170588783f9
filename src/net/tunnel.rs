//! A tunnel through an HTTP proxy: one CONNECT, a 2xx, and from then on the bytes are the upstream's (RFC 9110 9.3.6).
//!
//! The proxy's answer is bounded, and nothing may follow it before the gateway has spoken: towards an upstream, by HTTP as
//! by TLS, the client speaks first, so such bytes are nobody's.

use std::io;

use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::fault::TunnelFault;

/// Asks a proxy for a tunnel to `target` (`host:port`); what comes back is the connection to the target.
pub(super) async fn open<S>(mut proxy: S, target: &str) -> Result<S, TunnelFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    proxy.write_all(request.as_bytes()).await.map_err(TunnelFault::Ended)?;
    let mut answer = Vec::new();
    while !stands(&answer)? {
        let room = LONGEST.saturating_sub(answer.len());
        if room == 0 {
            return Err(TunnelFault::Malformed("its answer's head is longer than 16 KiB"));
        }
        let mut bounded = (&mut proxy).take(room as u64);
        if bounded.read_buf(&mut answer).await.map_err(TunnelFault::Ended)? == 0 {
            return Err(TunnelFault::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(proxy)
}

/// Whether the answer so far says that the tunnel stands; `false` is that more of it is needed.
fn stands(answer: &[u8]) -> Result<bool, TunnelFault> {
    let mut rest = answer;
    loop {
        let mut fields = [EMPTY_HEADER; MOST_FIELDS];
        let mut head = Response::new(&mut fields);
        let parsed = head.parse(rest).map_err(|_| TunnelFault::Malformed("its answer is not HTTP"))?;
        let (Status::Complete(end), Some(status)) = (parsed, head.code) else { return Ok(false) };
        rest = &rest[end..];
        match status {
            // RFC 9110 15.2: an interim answer announces another; 101 would begin another protocol.
            100 | 102..200 => {}
            // Content-Length and Transfer-Encoding mean nothing here.
            200..300 if rest.is_empty() => return Ok(true),
            200..300 => return Err(TunnelFault::Malformed("bytes came through the tunnel before anything was asked")),
            status => return Err(TunnelFault::Refused(status)),
        }
    }
}

/// Bytes of an answer's head, interim ones included.
const LONGEST: usize = 16 * 1024;
const MOST_FIELDS: usize = 100;

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// What comes of a tunnel through a proxy that answers with these pieces, and what the proxy was asked.
    async fn through(pieces: &[&[u8]]) -> (Result<String, TunnelFault>, String) {
        let (ours, theirs) = duplex(1024);
        tokio::join!(used(ours), proxy(theirs, pieces))
    }

    /// Opens a tunnel, sends a letter and reads to the end.
    async fn used(ours: DuplexStream) -> Result<String, TunnelFault> {
        let mut tunnel = open(ours, "close.test:443").await?;
        tunnel.write_all(b"a").await.unwrap();
        let mut back = String::new();
        tunnel.read_to_string(&mut back).await.unwrap();
        Ok(back)
    }

    /// Answers a request with the pieces, and the first byte after it with two.
    async fn proxy(mut theirs: DuplexStream, pieces: &[&[u8]]) -> String {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(theirs.read_u8().await.unwrap());
        }
        for piece in pieces {
            // A client that refuses the answer is gone.
            let _ = theirs.write_all(piece).await;
        }
        if let Ok(byte) = theirs.read_u8().await {
            theirs.write_all(&[byte, b'!']).await.unwrap();
        }
        String::from_utf8(asked).unwrap()
    }

    #[tokio::test]
    async fn one_request_opens_a_tunnel_and_its_bytes_are_the_targets() {
        let long = format!("HTTP/1.0 200 Connection established\r\nx: {}\r\n\r\n", "y".repeat(LONGEST - 44));
        assert_eq!(long.len(), LONGEST);
        for pieces in [
            &[&b"HTTP/1.1 200 OK\r\n\r\n"[..]][..],
            &[b"HTTP/1.1 2", b"99 \r\nVia: a\r\n", b"\r\n"],
            &[b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"],
            &[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 H\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
            &[long.as_bytes()],
        ] {
            let (opened, asked) = through(pieces).await;
            assert_eq!(opened.unwrap(), "a!");
            assert_eq!(asked, "CONNECT close.test:443 HTTP/1.1\r\nHost: close.test:443\r\n\r\n");
        }
    }

    #[tokio::test]
    async fn every_other_answer_is_a_clear_fault() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MOST_FIELDS + 1));
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(LONGEST));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(LONGEST / 25 + 1);
        for (answer, said) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407"),
            ("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!!", "the proxy answered 403"),
            ("HTTP/1.1 302 Found\r\nLocation: http://a/\r\n\r\n", "the proxy answered 302"),
            ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "the proxy answered 101"),
            ("HTTP/1.1 200 OK\r\n\r\n\x15\x03\x03", "before anything was asked"),
            ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "before anything was asked"),
            ("SSH-2.0-x\r\n", "not HTTP"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "not HTTP"),
            (&many, "not HTTP"),
            (&long, "longer than 16 KiB"),
            (&interim, "longer than 16 KiB"),
        ] {
            let (opened, _) = through(&[answer.as_bytes()]).await;
            let text = opened.unwrap_err().to_string();
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_leaves_gives_no_tunnel() {
        for answer in ["", "HTTP/1.1 200 OK\r\n"] {
            let (ours, mut theirs) = duplex(1024);
            theirs.write_all(answer.as_bytes()).await.unwrap();
            theirs.shutdown().await.unwrap();
            assert!(matches!(open(ours, "close.test:443").await, Err(TunnelFault::Ended(_))), "{answer:?}");
        }
    }
}
