//! A relay that puts every byte of a client into TLS, and tells the client how the connection ended.

use std::net::SocketAddr;
use std::pin::pin;

use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::tcp::{ReadHalf as Received, WriteHalf as Sent};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::RUNTIME;

type There = TlsStream<TcpStream>;

/// Where clients connect whose bytes go to the address over TLS.
pub(super) fn relay(connector: TlsConnector, to: SocketAddr) -> SocketAddr {
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    RUNTIME.spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            let connector = connector.clone();
            RUNTIME.spawn(async move {
                // Whoever is not let in sees its own connection end.
                if let Some(there) = connect(&connector, to).await {
                    pass(here, there).await;
                }
            });
        }
    });
    address
}

/// A session with the gateway; none when it wants none.
pub(super) async fn connect(connector: &TlsConnector, to: SocketAddr) -> Option<There> {
    let there = TcpSocket::new_v4().unwrap();
    there.set_recv_buffer_size(BUFFER).unwrap();
    let there = there.connect(to).await.ok()?;
    there.set_nodelay(true).unwrap();
    connector.connect(ServerName::try_from("localhost").unwrap(), there).await.ok()
}

#[derive(PartialEq, Eq)]
enum End {
    /// As a connection ends: with a FIN, or `close_notify`.
    Clean,
    /// With a reset, or without a word of TLS.
    Cut,
}

async fn pass(mut here: TcpStream, there: There) {
    here.set_nodelay(true).unwrap();
    SockRef::from(&here).set_send_buffer_size(BUFFER as usize).unwrap();
    let (mut from_here, mut to_here) = here.split();
    let (mut from_there, mut to_there) = tokio::io::split(there);
    let cut = {
        let mut up = pin!(up(&mut from_here, &mut to_there));
        let mut down = pin!(down(&mut from_there, &mut to_here));
        tokio::select! {
            end = &mut up => if end == End::Clean { down.await == End::Cut } else { true },
            end = &mut down => if end == End::Clean { up.await == End::Cut } else { true },
        }
    };
    if cut {
        // Nobody may take it for an end: neither of the two that are left.
        here.set_zero_linger().unwrap();
        let there = from_there.unsplit(to_there);
        there.get_ref().0.set_zero_linger().unwrap();
    }
}

/// How much of an answer waits in the relay, in bytes: a client that takes it slowly is to be the gateway's affair.
const BUFFER: u32 = 32 * 1024;

async fn up(from: &mut Received<'_>, to: &mut WriteHalf<There>) -> End {
    let mut piece = vec![0; 65_536];
    let mut taken = true;
    loop {
        match from.read(&mut piece).await {
            Err(_) => return End::Cut,
            Ok(0) => break,
            // What the gateway does not take any more is read all the same: the client is to see the answer.
            Ok(count) => taken = taken && to.write_all(&piece[..count]).await.is_ok() && to.flush().await.is_ok(),
        }
    }
    // The gateway may be gone already.
    let _ = to.shutdown().await;
    End::Clean
}

async fn down(from: &mut ReadHalf<There>, to: &mut Sent<'_>) -> End {
    let mut piece = vec![0; BUFFER as usize];
    loop {
        match from.read(&mut piece).await {
            Err(_) => return End::Cut,
            Ok(0) => break,
            Ok(count) if to.write_all(&piece[..count]).await.is_err() => return End::Cut,
            Ok(_) => {}
        }
    }
    // The client may be gone already.
    let _ = to.shutdown().await;
    End::Clean
}
