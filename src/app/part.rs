//! The parts of a gateway that must not end before it does, and the note that each leaves when it has.

use tokio::sync::mpsc;

/// Held by what must not end: dropped at its end, be it by a panic, it says so.
pub(super) struct Part {
    name: String,
    /// Gone once it may end.
    ended: Option<mpsc::UnboundedSender<String>>,
}

/// What parts are made from.
#[derive(Clone)]
pub(super) struct Parts(mpsc::UnboundedSender<String>);

/// Where their ends are told.
pub(super) struct Ends(mpsc::UnboundedReceiver<String>);

/// Parts, and where their ends are told.
pub(super) fn parts() -> (Parts, Ends) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Parts(sender), Ends(receiver))
}

impl Parts {
    /// A part of this name.
    pub(super) fn part(&self, name: impl Into<String>) -> Part {
        Part { name: name.into(), ended: Some(self.0.clone()) }
    }
}

impl Part {
    /// Ends it as it should: nobody is told.
    pub(super) fn over(mut self) {
        self.ended = None;
    }
}

impl Ends {
    /// Waits for the next end of a part; its name. When no part is left it waits for ever.
    pub(super) async fn next(&mut self) -> String {
        match self.0.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(ended) = &self.ended {
            // A gateway that is gone does not ask.
            let _ = ended.send(std::mem::take(&mut self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_told_however_it_came() {
        let (parts, mut ends) = parts();
        let still = parts.part("still there");
        let quiet = parts.part("quiet");
        std::thread::spawn(move || drop(quiet)).join().unwrap();
        assert_eq!(ends.next().await, "quiet");
        let broken = parts.part("broken");
        let panicked = std::thread::spawn(move || {
            let _part = broken;
            panic!("as told");
        });
        assert!(panicked.join().is_err());
        assert_eq!(ends.next().await, "broken");
        parts.part("removed").over();
        drop(still);
        assert_eq!(ends.next().await, "still there");
    }
}
