//! Asks for reloads, and hears what is asked for: what the store holds is quickly read, and comes first.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};

/// What a reload without a fault came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether anything is different now.
    pub change: Change,
    /// The settings that differ from those of the start and wait for a restart.
    pub waiting: Vec<String>,
}

/// Whether a reload made a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Everything is as it was.
    None,
    /// Every request from now on is judged and sent by what was loaded.
    Applied,
}

/// What a reload came to, or everything that was wrong.
pub type Reloaded = Result<Outcome, Vec<String>>;

/// Asks for reloads.
#[derive(Clone)]
pub struct Bell(mpsc::UnboundedSender<Asked>);

/// Where they are asked for.
pub(super) struct Bells {
    asked: mpsc::UnboundedReceiver<Asked>,
    /// Who waits until what the store holds was read.
    for_store: Vec<Reply>,
    /// Who waits until everything was.
    for_everything: Vec<Reply>,
}

/// Where somebody waits for what came of it.
pub(super) type Reply = oneshot::Sender<Reloaded>;

/// Somebody asks for a reload.
struct Asked {
    scope: Scope,
    reply: Reply,
}

/// How much is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// What the store holds; the sources and all that they refer to stay as they were read.
    Store,
    /// Everything.
    Everything,
}

/// A bell and where it is heard.
pub(super) fn bell() -> (Bell, Bells) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Bell(sender), Bells { asked: receiver, for_store: Vec::new(), for_everything: Vec::new() })
}

impl Bell {
    /// Has everything loaded again, and put to use whole or not at all; begins at once, whether it is waited for or not.
    /// Gives what it came to, once every worker goes by it, or everything that was wrong.
    pub fn ring(&self) -> impl Future<Output = Reloaded> + Send + use<> {
        self.ask(Scope::Everything)
    }

    /// The same for what the store holds: the sources and what they refer to are not read again.
    pub(super) fn catch_up(&self) -> impl Future<Output = Reloaded> + Send + use<> {
        self.ask(Scope::Store)
    }

    fn ask(&self, scope: Scope) -> impl Future<Output = Reloaded> + Send + use<> {
        let (reply, replied) = oneshot::channel();
        // A gateway that is gone answers no more.
        let _ = self.0.send(Asked { scope, reply });
        async { replied.await.unwrap_or_else(|_| Err(vec!["the gateway is ending".to_owned()])) }
    }
}

impl Bells {
    /// Waits until it is rung; one reload answers all that have done so for the same.
    pub(super) async fn rung(&mut self) -> (Scope, Vec<Reply>) {
        while self.for_store.is_empty() && self.for_everything.is_empty() {
            self.hear().await;
        }
        if self.for_store.is_empty() {
            (Scope::Everything, std::mem::take(&mut self.for_everything))
        } else {
            (Scope::Store, std::mem::take(&mut self.for_store))
        }
    }

    /// Waits until it is rung for what the store holds; who rings for everything goes on waiting.
    pub(super) async fn rung_for_store(&mut self) -> Vec<Reply> {
        while self.for_store.is_empty() {
            self.hear().await;
        }
        std::mem::take(&mut self.for_store)
    }

    /// Waits until somebody rings, and takes up all who have. May be dropped and called again.
    async fn hear(&mut self) {
        let Some(asked) = self.asked.recv().await else { return std::future::pending().await };
        self.take_up(asked);
        while let Ok(asked) = self.asked.try_recv() {
            self.take_up(asked);
        }
    }

    fn take_up(&mut self, Asked { scope, reply }: Asked) {
        match scope {
            Scope::Store => self.for_store.push(reply),
            Scope::Everything => self.for_everything.push(reply),
        }
    }
}

/// Tells all who wait; not everybody does.
pub(super) fn answer(replies: Vec<Reply>, reloaded: &Reloaded) {
    for reply in replies {
        let _ = reply.send(reloaded.clone());
    }
}
