//! A relay that makes a stream of HTTP/2 of each request that a client writes in HTTP/1.1, and HTTP/1.1 of the answer.
//!
//! Fields go as they are but for those that a version of HTTP has for itself. What has no form in HTTP/2 ends the
//! client's connection: `h2::messages` says what the gateway makes of it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::uri::Uri;
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::sealed;
use crate::raw::find;
use crate::world::RUNTIME;

/// Where clients connect whose requests go to the address by HTTP/2.
pub(super) fn relay(connector: Option<TlsConnector>, to: SocketAddr) -> SocketAddr {
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    RUNTIME.spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            let connector = connector.clone();
            RUNTIME.spawn(async move {
                // Whoever is not let in sees its own connection end.
                match connector {
                    None => {
                        let Ok(there) = TcpStream::connect(to).await else { return };
                        speak(here, there).await;
                    }
                    Some(connector) => {
                        let Some(there) = sealed::connect(&connector, to).await else { return };
                        speak(here, there).await;
                    }
                }
            });
        }
    });
    address
}

async fn speak(here: TcpStream, there: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    here.set_nodelay(true).unwrap();
    let Ok((sender, connection)) = h2::client::handshake(there).await else { return };
    RUNTIME.spawn(async move { drop(connection.await) });
    let (reader, mut writer) = here.into_split();
    let mut reader = Reader { reader, buffer: Vec::new() };
    if converse(&mut reader, &mut writer, sender).await.is_none() {
        // Nobody may take it for an end.
        let here = reader.reader.reunite(writer).unwrap();
        here.set_zero_linger().unwrap();
    }
}

/// Passes exchanges until the client has no more of them; none where one was cut.
async fn converse(reader: &mut Reader, writer: &mut OwnedWriteHalf, sender: SendRequest<Bytes>) -> Option<()> {
    while let Some(head) = reader.head().await {
        let is_last = is_last(&head);
        let (request, framing) = request(&head)?;
        let to_head = request.method() == Method::HEAD;
        let mut sender = sender.clone().ready().await.ok()?;
        let (answer, body) = sender.send_request(request, framing == Framing::Nothing).ok()?;
        let mut down = pin!(download(answer, writer, to_head));
        let early = {
            let mut up = pin!(upload(reader, body, framing));
            tokio::select! {
                // The rest of the body is no request.
                done = &mut down => { done?; up.await?; true }
                sent = &mut up => { sent?; false }
            }
        };
        if !early {
            tokio::select! {
                done = &mut down => done?,
                // Nobody waits for the answer: its stream is reset.
                () = reader.left() => return None,
            }
        }
        if is_last {
            return Some(());
        }
    }
    Some(())
}

/// Where the body of a request ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Nothing,
    Length(usize),
    Chunks,
}

/// Whether a head says that its connection ends with it.
fn is_last(head: &[u8]) -> bool {
    find(&head.to_ascii_lowercase(), b"\nconnection: close").is_some()
}

/// A head in the form of HTTP/2; none where it has none.
fn request(head: &[u8]) -> Option<(Request<()>, Framing)> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let words: Vec<_> = lines.next()?.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = *words.as_slice() else { return None };
    let (mut host, mut framing, mut fields) = (None, Framing::Nothing, HeaderMap::new());
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        match name.as_slice() {
            b"host" if host.is_none() => host = Some(value),
            b"host" => return None,
            // What it names has no meaning between the relay and the gateway.
            b"connection" if value.eq_ignore_ascii_case(b"close") || value.eq_ignore_ascii_case(b"keep-alive") => {}
            b"transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => framing = Framing::Chunks,
            b"connection" | b"transfer-encoding" | b"keep-alive" | b"proxy-connection" | b"upgrade" => return None,
            b"te" if !value.eq_ignore_ascii_case(b"trailers") => return None,
            _ => {
                if name == b"content-length" {
                    framing = Framing::Length(std::str::from_utf8(value).ok()?.parse().ok()?);
                }
                fields.append(HeaderName::from_bytes(&name).ok()?, HeaderValue::from_bytes(value).ok()?);
            }
        }
    }
    let uri = Uri::builder().scheme("http").authority(host?).path_and_query(target).build().ok()?;
    let mut request = Request::builder().method(method).uri(uri).body(()).ok()?;
    *request.headers_mut() = fields;
    if framing == Framing::Length(0) {
        framing = Framing::Nothing;
    }
    Some((request, framing))
}

/// Sends a request's body; none where the client left inside it.
async fn upload(reader: &mut Reader, mut body: SendStream<Bytes>, framing: Framing) -> Option<()> {
    // What the gateway does not take any more is read all the same: the client is to see the answer.
    let mut taken = true;
    match framing {
        Framing::Nothing => return Some(()),
        Framing::Length(mut left) => {
            while left > 0 {
                let piece = reader.piece(left).await?;
                left -= piece.len();
                taken = taken && push(&mut body, piece).await;
            }
        }
        Framing::Chunks => loop {
            let line = reader.line().await?;
            let mut left = usize::from_str_radix(std::str::from_utf8(&line).ok()?, 16).ok()?;
            if left == 0 {
                // Trailers stay here: how they fare is for the tests of frames.
                while !reader.line().await?.is_empty() {}
                break;
            }
            while left > 0 {
                let piece = reader.piece(left).await?;
                left -= piece.len();
                taken = taken && push(&mut body, piece).await;
            }
            reader.line().await?;
        },
    }
    if taken {
        // The gateway may have reset the stream: the answer tells.
        let _ = body.send_data(Bytes::new(), true);
    }
    Some(())
}

/// Sends a piece as the windows allow; whether it was taken.
async fn push(body: &mut SendStream<Bytes>, mut piece: Bytes) -> bool {
    while !piece.is_empty() {
        body.reserve_capacity(piece.len());
        let Some(Ok(room)) = poll_fn(|cx| body.poll_capacity(cx)).await else { return false };
        let part = piece.split_to(room.min(piece.len()));
        if body.send_data(part, false).is_err() {
            return false;
        }
    }
    true
}

/// Writes an answer; none where it was cut, or the client left.
async fn download(answer: ResponseFuture, writer: &mut OwnedWriteHalf, to_head: bool) -> Option<()> {
    let (head, mut body) = answer.await.ok()?.into_parts();
    let mut text = format!("HTTP/1.1 {} -\r\n", head.status.as_str()).into_bytes();
    for (name, value) in &head.headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let bare = to_head || matches!(head.status.as_u16(), 204 | 304);
    let chunked = !bare && !head.headers.contains_key(CONTENT_LENGTH);
    if chunked {
        text.extend(b"transfer-encoding: chunked\r\n");
    }
    text.extend(b"\r\n");
    writer.write_all(&text).await.ok()?;
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        // The stream may be over.
        let _ = body.flow_control().release_capacity(piece.len());
        if chunked && !piece.is_empty() {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
            writer.write_all(&chunk).await.ok()?;
        } else {
            writer.write_all(&piece).await.ok()?;
        }
    }
    if chunked {
        writer.write_all(b"0\r\n\r\n").await.ok()?;
    }
    Some(())
}

/// What a client sends.
struct Reader {
    reader: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Reader {
    /// Reads more; none at the end of the connection.
    async fn fill(&mut self) -> Option<()> {
        match self.reader.read_buf(&mut self.buffer).await {
            Ok(1..) => Some(()),
            _ => None,
        }
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, end) {
                let mut text: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
                text.truncate(at);
                return Some(text);
            }
            self.fill().await?;
        }
    }

    async fn head(&mut self) -> Option<Vec<u8>> {
        self.until(b"\r\n\r\n").await
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        self.until(b"\r\n").await
    }

    /// What is there, and no more than that.
    async fn piece(&mut self, most: usize) -> Option<Bytes> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let count = most.min(self.buffer.len());
        Some(self.buffer.drain(..count).collect())
    }

    /// Waits until the client has left; one that goes on to ask has not.
    async fn left(&mut self) {
        if self.fill().await.is_some() {
            std::future::pending().await
        }
    }
}
