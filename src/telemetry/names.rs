//! Interned names: a label of a metric or a record is a number on the hot path and a text when it is written.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use super::foreign;

/// An interned name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Label(u32);

impl Label {
    /// No route, key or credential: `none` in metrics, `null` in records.
    pub const NONE: Self = Self(0);
    /// The caller of an open route: `anonymous`.
    pub const ANONYMOUS: Self = Self(1);
    /// The keys beyond `max_key_series`, together: `_other`.
    pub const OTHER: Self = Self(2);

    /// The label as metrics show it: a key without a series of its own is `_other`.
    pub(super) fn in_metrics(self) -> Self {
        if self.0 & BEYOND == 0 { self } else { Self::OTHER }
    }

    /// Whether this is a configured name with series of its own.
    pub(super) fn has_own_series(self) -> bool {
        self.0 & BEYOND == 0 && self.index() >= RESERVED.len()
    }

    fn index(self) -> usize {
        (self.0 & !BEYOND) as usize
    }
}

/// All names of the process; names are never forgotten, and come from the configuration only.
pub(super) struct Names {
    interned: RwLock<Interned>,
    max_keys: usize,
}

#[derive(Default)]
struct Interned {
    texts: Vec<Arc<str>>,
    indices: HashMap<Arc<str>, u32>,
    keys: HashSet<u32>,
}

impl Names {
    /// Knows the reserved labels; at most `max_keys` keys get series of their own.
    pub(super) fn new(max_keys: usize) -> Self {
        let mut interned = Interned::default();
        for text in RESERVED {
            interned.index(text);
        }
        Self { interned: RwLock::new(interned), max_keys }
    }

    /// The label of a route or a credential.
    pub(super) fn label(&self, name: &str) -> Label {
        Label(self.write().index(name))
    }

    /// The label of a key: beyond the bound it keeps its name in records and is `_other` in metrics.
    pub(super) fn key(&self, name: &str) -> Label {
        let mut interned = self.write();
        let index = interned.index(name);
        let label = Label(index);
        if !label.has_own_series() || interned.keys.contains(&index) {
            return label;
        }
        if interned.keys.len() >= self.max_keys {
            return Label(index | BEYOND);
        }
        interned.keys.insert(index);
        label
    }

    /// The name as text.
    pub(super) fn text(&self, label: Label) -> Arc<str> {
        let interned = self.interned.read().unwrap_or_else(PoisonError::into_inner);
        interned.texts.get(label.index()).cloned().unwrap_or_else(|| RESERVED[0].into())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Interned> {
        self.interned.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interned {
    fn index(&mut self, name: &str) -> u32 {
        if let Some(index) = self.indices.get(name) {
            return *index;
        }
        let index = u32::try_from(self.texts.len()).unwrap_or(BEYOND - 1);
        let text: Arc<str> = name.into();
        self.texts.push(text.clone());
        self.indices.insert(text, index);
        index
    }
}

/// A core's own copy of the names, ready to stand in a line; brought up to date when it meets a label it does not know.
pub(super) struct KnownNames {
    names: Arc<Names>,
    texts: Vec<Box<[u8]>>,
}

impl KnownNames {
    pub(super) fn of(names: Arc<Names>) -> Self {
        Self { names, texts: Vec::new() }
    }

    /// Makes sure that the labels have their texts here.
    pub(super) fn learn(&mut self, labels: [Label; 3]) {
        if labels.iter().any(|label| label.index() >= self.texts.len()) {
            let interned = self.names.interned.read().unwrap_or_else(PoisonError::into_inner);
            let unknown = &interned.texts[self.texts.len()..];
            self.texts.extend(unknown.iter().map(|text| {
                let mut escaped = Vec::with_capacity(text.len());
                foreign::escape(&mut escaped, text.as_bytes());
                escaped.into_boxed_slice()
            }));
        }
    }

    /// The name of a label that was learnt; nothing for `NONE`.
    pub(super) fn text(&self, label: Label) -> Option<&[u8]> {
        if label == Label::NONE {
            return None;
        }
        self.texts.get(label.index()).map(AsRef::as_ref)
    }
}

const RESERVED: [&str; 3] = ["none", "anonymous", "_other"];

/// Marks a key that has no series of its own.
const BEYOND: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_label() {
        let names = Names::new(9);
        let sales = names.label("sales");
        assert_eq!(names.label("sales"), sales);
        assert_ne!(names.label("partner"), sales);
        assert_eq!(&*names.text(sales), "sales");
        assert_eq!(names.label("none"), Label::NONE);
        assert_eq!(&*names.text(Label::ANONYMOUS), "anonymous");
    }

    #[test]
    fn keys_beyond_the_bound_keep_their_name_but_not_their_series() {
        let names = Names::new(1);
        let first = names.key("first");
        let second = names.key("second");
        assert_eq!(names.key("first"), first);
        assert_eq!(first.in_metrics(), first);
        assert_eq!(second.in_metrics(), Label::OTHER);
        assert_eq!(&*names.text(second), "second");
    }

    #[test]
    fn a_route_of_the_same_name_does_not_give_a_key_its_series() {
        let names = Names::new(0);
        let route = names.label("sales");
        assert_eq!(route.in_metrics(), route);
        assert_eq!(names.key("sales").in_metrics(), Label::OTHER);
    }

    #[test]
    fn a_core_learns_names_as_they_come() {
        let names = Arc::new(Names::new(9));
        let mut known = KnownNames::of(names.clone());
        known.learn([Label::NONE; 3]);
        let late = names.label("late");
        known.learn([late, Label::NONE, Label::ANONYMOUS]);
        assert_eq!(known.text(late), Some(&b"late"[..]));
        assert_eq!(known.text(Label::ANONYMOUS), Some(&b"anonymous"[..]));
        assert_eq!(known.text(Label::NONE), None);
    }
}
