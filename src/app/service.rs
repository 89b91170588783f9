//! The threads beside the workers: one accepts, one serves admin and metrics, keeps the credentials alive,
//! says whose turn it is of the requests that wait, and reloads.
//!
//! Neither takes part in a request, so that the admin listener answers when the workers are busy (invariant 8).

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::Stage;
use super::part::Parts;
use super::reload::{Effective, Reloader};
use super::usage::Books;
use crate::admin::{self, Details, Health, Surface};
use crate::edge::{Acceptor, ServerTls};
use crate::heap;
use crate::pace::Dispatcher;
use crate::store;
use crate::task;
use crate::vault::{State, Watch};

/// The health that `/readyz` shows, with the credentials that cannot be used and a store that is lost.
pub(super) fn health(effective: watch::Receiver<Arc<Effective>>, store: watch::Receiver<store::Health>) -> Arc<Health> {
    Arc::new(Health::new(move || {
        let states = effective.borrow().vault.as_ref().map(|vault| vault.states()).unwrap_or_default();
        let down = states.into_iter().filter_map(|(name, state)| match state {
            State::Ready | State::Suspect => None,
            State::Rejected => Some(format!("{name}: rejected by the upstream")),
            State::Unavailable { reason } => Some(format!("{name}: {reason}")),
            State::Refreshing => Some(format!("{name}: its access token has ended, and the next one is awaited")),
            State::NeedsAuthorization => Some(format!("{name}: nobody has authorized it yet")),
            State::Dead { reason } => Some(format!("{name}: {reason}")),
            State::Disabled => Some(format!("{name}: disabled")),
        });
        let store_down = match *store.borrow() {
            store::Health::Up => None,
            store::Health::Down { since } => Some(format!("unreachable since {since}")),
        };
        Details { credentials_down: down.collect(), store_down }
    }))
}

pub(super) fn spawn_acceptor(
    acceptor: Acceptor,
    closing: watch::Receiver<bool>,
    watched: &Parts,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let part = watched.part("acceptor");
    std::thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
        let _part = part;
        if let Err(error) = runtime.block_on(acceptor.run(closing)) {
            tracing::error!(%error, "no connection is accepted any more");
        }
    })
}

/// What the service thread does for the workers.
pub(super) struct Chores {
    /// Watches over credentials.
    pub(super) watches: Vec<Watch>,
    /// Says whose turn it is of those that wait for rate limits.
    pub(super) dispatcher: Dispatcher,
}

/// The runtime of the service thread.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// An operator's listener.
pub(super) struct Post {
    pub(super) socket: TcpListener,
    pub(super) tls: Option<Arc<ServerTls>>,
    /// What it answers.
    pub(super) surface: Surface,
}

pub(super) fn spawn(
    runtime: Runtime,
    posts: Vec<Post>,
    chores: Chores,
    reloader: Reloader,
    books: Arc<Books>,
    stage: watch::Receiver<Stage>,
    watched: &Parts,
) -> io::Result<JoinHandle<()>> {
    let (part, reloading, following) = (watched.part("service"), watched.part("reload"), watched.part("store"));
    let (pacing, counting, giving) = (watched.part("pace"), watched.part("usage"), watched.part("quotas"));
    let (store, vault) = (reloader.keep.store().clone(), Arc::clone(&reloader.current.parts.gate.vault));
    let posts: Vec<_> = posts.into_iter().map(|post| (post, watched.part("admin"))).collect();
    std::thread::Builder::new().name("service".to_owned()).spawn(move || {
        let _part = part;
        runtime.block_on(async move {
            watch_over(chores.watches, &reloader.watched);
            task::spawn("pace", async move {
                let _part = pacing;
                chores.dispatcher.run().await;
            });
            task::spawn("reload", async move {
                let _part = reloading;
                reloader.run().await;
            });
            task::spawn("store", async move {
                let _part = following;
                match store.follow().await {}
            });
            let kept = Arc::clone(&books);
            task::spawn("usage", async move {
                let _part = counting;
                match kept.keep().await {}
            });
            let given = Arc::clone(&books);
            task::spawn("quotas", async move {
                let _part = giving;
                match given.give_out().await {}
            });
            task::spawn("heap", async {
                let mut ebb = heap::ebb();
                loop {
                    ebb.tick().await;
                    heap::give_back();
                }
            });
            for (Post { socket, tls, surface }, part) in posts {
                let served = admin::serve(socket, tls, surface, gone(stage.clone()));
                task::spawn("admin", async move {
                    let _part = part;
                    if let Err(error) = served.await {
                        tracing::error!(%error, "the admin listener does not answer");
                    }
                });
            }
            gone(stage).await;
            books.settle().await;
            // What is killed here is a token that Close has given and nobody has stored.
            if tokio::time::timeout(LAST_REFRESH, vault.settled()).await.is_err() {
                tracing::error!(
                    "an access token was still being renewed at the end; its state says what becomes of it"
                );
            }
        });
        // A file system that does not answer holds up no end.
        runtime.shutdown_background();
    })
}

/// Runs the watches over credentials on this thread's runtime, each until its credential is removed or changed.
pub(super) fn watch_over(watches: Vec<Watch>, watched: &Parts) {
    for watch in watches {
        let part = watched.part(format!("credential {}", watch.name()));
        task::spawn("credential", async move {
            watch.run().await;
            part.over();
        });
    }
}

async fn gone(mut stage: watch::Receiver<Stage>) {
    // A sender that is dropped is a gateway that is gone.
    let _ = stage.wait_for(|stage| *stage == Stage::Gone).await;
}

/// How long the end waits for a refresh: as long as the token endpoint may take, and the store.
const LAST_REFRESH: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::atomic::AtomicI64;

    use super::super::part::parts;
    use super::*;
    use crate::edge::{Bound, Doors, Entrance};

    #[tokio::test]
    async fn an_acceptor_that_cannot_go_on_is_noticed() {
        // What cannot be polled: a file.
        let socket = TcpListener::from(OwnedFd::from(tempfile::tempfile().unwrap()));
        let doors = Doors::new(1, 1, Vec::new(), Arc::new(AtomicI64::new(0)));
        let (watched, mut ends) = parts();
        let (_closed, closing) = watch::channel(false);
        let entrance = Entrance { socket: Bound::unnamed(socket), listener: 0, doors };
        let acceptor = Acceptor { entrances: vec![entrance], workers: Vec::new() };
        let thread = spawn_acceptor(acceptor, closing, &watched).unwrap();
        assert_eq!(ends.next().await, "acceptor");
        thread.join().unwrap();
    }
}
