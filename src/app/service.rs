//! The threads beside the workers: one accepts, one serves admin and metrics and keeps the credentials alive.
//!
//! Neither takes part in a request, so that the admin listener answers when the workers are busy (invariant 8).

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::watch;

use super::Stage;
use crate::admin::{self, Details, Health};
use crate::edge::Acceptor;
use crate::task;
use crate::telemetry::Telemetry;
use crate::vault::{State, Vault};

/// The health that `/readyz` shows, with the credentials that cannot be used.
pub(super) fn health(vault: &Arc<Vault>) -> Arc<Health> {
    let vault = vault.clone();
    Arc::new(Health::new(move || {
        let states = vault.states().into_iter();
        let down = states.filter(|(_, state)| !matches!(state, State::Ready | State::Suspect));
        Details { credentials_down: down.map(|(name, state)| format!("{name}: {state}")).collect() }
    }))
}

pub(super) fn spawn_acceptor(acceptor: Acceptor, closing: watch::Receiver<bool>) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(acceptor.run(closing)) {
            tracing::error!(%error, "no connection is accepted any more");
        }
    })
}

pub(super) fn spawn(
    listeners: Vec<TcpListener>,
    telemetry: Arc<Telemetry>,
    health: Arc<Health>,
    vault: Arc<Vault>,
    stage: watch::Receiver<Stage>,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("service".to_owned()).spawn(move || {
        runtime.block_on(async move {
            task::spawn("vault", vault.run());
            for listener in listeners {
                let served = admin::serve(listener, telemetry.clone(), health.clone(), gone(stage.clone()));
                task::spawn("admin", async {
                    if let Err(error) = served.await {
                        tracing::error!(%error, "the admin listener does not answer");
                    }
                });
            }
            gone(stage).await;
        });
    })
}

async fn gone(mut stage: watch::Receiver<Stage>) {
    // A sender that is dropped is a gateway that is gone.
    let _ = stage.wait_for(|stage| *stage == Stage::Gone).await;
}
