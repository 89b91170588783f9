//! What is sent: sizes, connections and how long they live.

use crate::Result;

/// One kind of traffic.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// As `--scenarios` and the table name it.
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    /// Bytes of a request's body; with none it is a GET.
    pub(crate) up: usize,
    /// Bytes of an answer's body.
    pub(crate) down: usize,
    pub(crate) life: Life,
    /// For one request of it, `--requests` has so many.
    weight: usize,
    /// Whether delays are measured as well, at a fixed rate.
    pub(crate) paced: bool,
}

/// How long a client's connection lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Until no request is left.
    Kept,
    /// For one request.
    Short,
}

/// The small answer, which most requests to an API are.
const SMALL: Scenario =
    Scenario { name: "1k-32", connections: 32, up: 0, down: 1024, life: Life::Kept, weight: 1, paced: true };

/// All of them, in the order of the table.
const ALL: [Scenario; 7] = [
    Scenario { name: "1k-1", connections: 1, paced: false, ..SMALL },
    SMALL,
    Scenario { name: "1k-256", connections: 256, paced: false, ..SMALL },
    Scenario { name: "16k-32", down: 16 * 1024, weight: 2, paced: false, ..SMALL },
    Scenario { name: "256k-8", connections: 8, down: 256 * 1024, weight: 10, paced: false, ..SMALL },
    Scenario { name: "post-64k-32", up: 64 * 1024, down: 64, weight: 1, paced: false, ..SMALL },
    Scenario { name: "short-8", connections: 8, life: Life::Short, weight: 8, paced: false, ..SMALL },
];

/// Played where only the bench itself is tried.
const FEW: [&str; 3] = ["1k-32", "post-64k-32", "short-8"];

impl Scenario {
    /// All there are.
    pub(crate) fn all() -> Vec<Self> {
        ALL.to_vec()
    }

    /// One of each shape.
    pub(crate) fn few() -> Vec<Self> {
        ALL.into_iter().filter(|scenario| FEW.contains(&scenario.name)).collect()
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let names = || ALL.map(|scenario| scenario.name).join(", ");
        ALL.into_iter()
            .find(|scenario| scenario.name == name)
            .ok_or_else(|| format!("no scenario has this name; there are {}", names()))
    }

    /// The same over so many connections.
    pub(crate) fn over(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// The same with so many bytes in an answer's body.
    pub(crate) fn answered_with(self, down: usize) -> Self {
        Self { down, ..self }
    }

    /// How many requests are measured, of so many small ones.
    pub(crate) fn requests(&self, small: usize) -> usize {
        (small / self.weight).max(self.connections)
    }
}
