//! Gateway keys: how one is presented, which is known, what a new one looks like.
//!
//! Only digests are kept and compared. A request is read first and judged later: what it presents is known, unknown or
//! absent, and never fails by itself, but for two keys at once (contract.md 3).

mod allotment;
mod generate;
mod key;
mod presented;
mod quota;
mod rate;
mod sighting;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Mode;
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::id::KeyName;
use crate::rule::Rules;
use crate::scope::Scopes;
use crate::telemetry::Label;

pub use self::allotment::{Allotments, Wait, Want, Wish};
pub use self::generate::{NewKey, generate};
pub use self::key::{Digest, digest};
pub use self::presented::{KeyAmbiguous, Presented};
pub use self::quota::{Admission, DayCount, Exceeded, Left, Limit, Quota, Slot};
pub use self::sighting::Sight;

/// One gateway key; printed as its name.
pub struct Key {
    /// Its name.
    pub name: KeyName,
    /// Its name in metrics and records.
    pub label: Label,
    /// The SHA-256 of its text, if it has one.
    pub digest: Option<Digest>,
    /// The SHA-256 of the text that it had before, and until when that goes on.
    pub former: Option<(Digest, SystemTime)>,
    /// The user whose processes need no text on a Unix socket.
    pub uid: Option<u32>,
    /// By what its text is found where no key may stand, if that text is known and does not have the shape of a gateway
    /// key.
    pub fingerprint: Option<Fingerprint>,
    /// The routes it may use, by index; prefix-less calls go to the first.
    pub routes: Vec<u32>,
    /// What it may do.
    pub scopes: Scopes,
    /// What it may ask.
    pub rules: Rules,
    /// Whether what it may not do is refused.
    pub mode: Mode,
    /// How much it may ask.
    pub quota: Quota,
    /// From when on it is unknown.
    pub expires: Option<SystemTime>,
}

impl Key {
    fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether a text of that digest, which is one of the two it has, is good now.
    fn takes(&self, digest: &Digest, now: SystemTime) -> bool {
        let former = self.former.filter(|(former, _)| key::Exact(*former) == key::Exact(*digest));
        self.is_valid(now) && former.is_none_or(|(_, until)| now < until)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// Keys that have the same text, all of them.
#[derive(Debug, PartialEq, Eq)]
pub struct DuplicateKey {
    /// The first of them.
    pub first: KeyName,
    /// The others, at least one.
    pub others: Vec<KeyName>,
}

/// Every text that more than one key has, in the order of the keys.
pub fn duplicates<'a>(keys: impl IntoIterator<Item = (&'a KeyName, &'a Digest)>) -> Vec<DuplicateKey> {
    let mut places: HashMap<_, usize, _> = HashMap::with_hasher(key::DigestState::random());
    let mut found: Vec<DuplicateKey> = Vec::new();
    for (name, digest) in keys {
        let place = *places.entry(key::Exact(*digest)).or_insert(found.len());
        match found.get_mut(place) {
            Some(known) => known.others.push(name.clone()),
            None => found.push(DuplicateKey { first: name.clone(), others: Vec::new() }),
        }
    }
    found.retain(|known| !known.others.is_empty());
    found
}

/// Who presents what a request presents.
#[derive(Debug)]
pub enum Caller {
    /// A key that is valid now.
    Known(Arc<Key>),
    /// Something that is no valid key: unknown, expired, revoked, unreadable.
    Unknown,
    /// Nothing.
    Absent,
}

/// All gateway keys.
pub struct KeySet {
    by_digest: HashMap<key::Exact, Arc<Key>, key::DigestState>,
    by_uid: HashMap<u32, Arc<Key>>,
    by_name: HashMap<KeyName, Arc<Key>>,
    opaque: Fingerprints,
    ever_defined: bool,
}

impl KeySet {
    /// A set of keys, each with a text of its own, in place of another one: where keys were defined before, they are
    /// needed, be there none any more, and what a key of the same name had used of its limits stays used.
    pub fn new(mut keys: Vec<Key>, before: Option<&Self>) -> Result<Self, Vec<DuplicateKey>> {
        let duplicates = duplicates(keys.iter().filter_map(|key| Some((&key.name, key.digest.as_ref()?))));
        if !duplicates.is_empty() {
            return Err(duplicates);
        }
        let opaque = keys.iter().filter_map(|key| key.fingerprint).collect();
        let mut by_digest = HashMap::with_capacity_and_hasher(keys.len(), key::DigestState::random());
        let ever_defined = !keys.is_empty() || before.is_some_and(Self::ever_defined);
        for key in &mut keys {
            if let Some(known) = before.and_then(|before| before.named(&key.name)) {
                key.quota.in_place_of(&known.quota);
            }
        }
        let keys: Vec<Arc<Key>> = keys.into_iter().map(Arc::new).collect();
        let by_uid = keys.iter().filter_map(|key| Some((key.uid?, key.clone()))).collect();
        // A text that is somebody's now is nobody's former one.
        by_digest.extend(keys.iter().filter_map(|key| Some((key::Exact(key.former?.0), key.clone()))));
        let by_name = keys.iter().map(|key| (key.name.clone(), key.clone())).collect();
        by_digest.extend(keys.into_iter().filter_map(|key| Some((key::Exact(key.digest?), key))));
        Ok(Self { by_digest, by_uid, by_name, opaque, ever_defined })
    }

    /// The key of a name, valid or not.
    pub fn named(&self, name: &KeyName) -> Option<&Arc<Key>> {
        self.by_name.get(name)
    }

    /// All keys, in no order, valid or not.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.by_name.values()
    }

    /// The same where keys were defined before that are not among these.
    pub fn after_others(self) -> Self {
        Self { ever_defined: true, ..self }
    }

    /// Whether a key was ever defined, valid or not: from then on routes need one.
    pub fn ever_defined(&self) -> bool {
        self.ever_defined
    }

    /// Who presents this now, as that user of a Unix socket; the same work for known and unknown keys. What is presented
    /// and known decides; a client that must send something may send anything.
    pub fn identify(&self, presented: &Presented, uid: Option<u32>, now: SystemTime) -> Caller {
        match self.presenter(presented, now) {
            Caller::Known(key) => Caller::Known(key),
            // What has the shape of a key was one, or is meant as one: nobody is somebody else for it.
            Caller::Unknown if presented.is_shaped() => Caller::Unknown,
            other => match uid.and_then(|uid| self.by_uid.get(&uid)).filter(|key| key.is_valid(now)) {
                Some(key) => Caller::Known(key.clone()),
                None => other,
            },
        }
    }

    /// Whether it is the digest of a key of which nothing else is known.
    fn knows_by_digest_alone(&self, digest: &Digest) -> bool {
        self.by_digest.get(&key::Exact(*digest)).is_some_and(|key| key.fingerprint.is_none())
    }

    fn presenter(&self, presented: &Presented, now: SystemTime) -> Caller {
        let mut caller = match presented {
            Presented::Absent => return Caller::Absent,
            Presented::Unreadable | Presented::Candidates { .. } => Caller::Unknown,
        };
        for digest in presented.candidates() {
            let valid = self.by_digest.get(&key::Exact(*digest)).filter(|key| key.takes(digest, now));
            if let (Caller::Unknown, Some(key)) = (&caller, valid) {
                caller = Caller::Known(key.clone());
            }
        }
        caller
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::*;
    use crate::config::Limits;
    use crate::keyshape::begins_like_key;

    pub(super) fn key(name: &str, text: &str, expires: Option<SystemTime>) -> Key {
        let name = KeyName::parse(name).unwrap();
        Key {
            name,
            label: Label::NONE,
            digest: Some(digest(text.as_bytes())),
            former: None,
            uid: None,
            fingerprint: Fingerprint::of(text.as_bytes()).filter(|_| !begins_like_key(text.as_bytes())),
            routes: vec![0],
            scopes: Scopes::ALL,
            rules: Rules::default(),
            mode: Mode::Enforce,
            quota: Quota::new(Limits::default()),
            expires,
        }
    }

    fn presented(text: &str) -> Presented {
        let mut headers = HeaderMap::new();
        headers.insert("closegate-key", text.parse().unwrap());
        Presented::read(&headers, &KeySet::new(Vec::new(), None).unwrap()).unwrap()
    }

    #[test]
    fn a_key_is_known_by_its_exact_text_until_it_expires() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let keys =
            KeySet::new(vec![key("a", "cgk_aaaaaaaa_secret", None), key("b", "cgk_bbbbbbbb_secret", Some(end))], None)
                .unwrap();
        let identify = |text: &str, now| keys.identify(&presented(text), None, now);
        assert!(matches!(identify("cgk_aaaaaaaa_secret", end), Caller::Known(key) if key.name.as_str() == "a"));
        assert!(matches!(identify("cgk_aaaaaaaa_secreT", end), Caller::Unknown));
        assert!(matches!(identify("cgk_aaaaaaaa_secre", end), Caller::Unknown));
        assert!(matches!(identify("cgk_bbbbbbbb_secret", end - Duration::from_secs(1)), Caller::Known(_)));
        assert!(matches!(identify("cgk_bbbbbbbb_secret", end), Caller::Unknown));
        assert!(matches!(keys.identify(&Presented::Absent, None, end), Caller::Absent));
        assert!(keys.ever_defined());
        assert!(!KeySet::new(Vec::new(), None).unwrap().ever_defined());
    }

    #[test]
    fn a_user_needs_no_text_and_a_known_text_decides() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let mut of_user = key("a", "cgk_aaaaaaaa_secret", Some(end));
        (of_user.digest, of_user.uid) = (None, Some(1000));
        let keys = KeySet::new(vec![of_user, key("b", "cgk_bbbbbbbb_secret", None)], None).unwrap();
        let before = end - Duration::from_secs(1);
        let name = |presented: &Presented, uid, now| match keys.identify(presented, uid, now) {
            Caller::Known(key) => key.name.as_str().to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(name(&Presented::Absent, Some(1000), before), "a");
        assert_eq!(name(&presented("anything"), Some(1000), before), "a");
        assert_eq!(name(&presented("cgk_bbbbbbbb_secret"), Some(1000), before), "b");
        assert_eq!(name(&presented("cgk_aaaaaaaa_secret"), None, before), "Unknown");
        assert_eq!(name(&presented("cgk_0123abcd_revokedrevoked"), Some(1000), before), "Unknown");
        assert_eq!(name(&Presented::Absent, Some(1001), before), "Absent");
        assert_eq!(name(&Presented::Absent, None, before), "Absent");
        assert_eq!(name(&presented("anything"), Some(1000), end), "Unknown");
    }

    #[test]
    fn a_rotated_key_takes_its_former_text_for_a_while() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let mut rotated = key("a", "cgk_aaaaaaaa_new", None);
        rotated.former = Some((digest(b"cgk_aaaaaaaa_old"), end));
        let keys = KeySet::new(vec![rotated], None).unwrap();
        let known = |text: &str, now| matches!(keys.identify(&presented(text), None, now), Caller::Known(_));
        assert!(known("cgk_aaaaaaaa_old", end - Duration::from_secs(1)));
        assert!(!known("cgk_aaaaaaaa_old", end));
        assert!(known("cgk_aaaaaaaa_new", end));
    }

    #[test]
    fn many_keys_are_each_found() {
        let texts: Vec<String> = (0..10_000).map(|number| format!("cgk_{number:08}_secret")).collect();
        let keys = (0..).zip(&texts).map(|(number, text): (u32, _)| key(&format!("k{number}"), text, None)).collect();
        let keys = KeySet::new(keys, None).unwrap();
        for (number, text) in texts.iter().enumerate() {
            let caller = keys.identify(&presented(text), None, SystemTime::UNIX_EPOCH);
            assert!(matches!(caller, Caller::Known(key) if key.name.as_str() == format!("k{number}")), "{text}");
        }
    }

    /// security.md 43.
    #[test]
    fn a_key_is_printed_as_its_name() {
        let keys = KeySet::new(vec![key("a", "cgk_aaaaaaaa_secret", None)], None).unwrap();
        let caller = keys.identify(&presented("cgk_aaaaaaaa_secret"), None, SystemTime::UNIX_EPOCH);
        assert_eq!(format!("{caller:?}"), "Known(key `a`)");
    }

    #[test]
    fn keys_cannot_share_a_text_and_all_that_do_are_named() {
        let texts = [("a", "one"), ("b", "two"), ("c", "one"), ("d", "three"), ("e", "two"), ("f", "one")];
        let keys = texts.map(|(name, text)| key(name, &format!("cgk_aaaaaaaa_{text}"), None));
        let duplicates = KeySet::new(keys.into(), None).err().unwrap();
        let named = duplicates.iter().map(|duplicate| {
            let others = duplicate.others.iter().map(KeyName::as_str).collect::<Vec<_>>();
            (duplicate.first.as_str(), others)
        });
        assert_eq!(named.collect::<Vec<_>>(), [("a", vec!["c", "f"]), ("b", vec!["e"])]);
    }
}
