//! Fields whose values have bounds that their types have not: what breaks them is refused where it is read.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A text for people, of at most 500 characters, or none.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match &text {
        Some(text) if text.chars().count() > LONGEST => Err(too_long()),
        _ => Ok(text),
    }
}

/// A text of one to 500 characters.
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let word = String::deserialize(deserializer)?;
    match word.chars().count() {
        0 => Err(D::Error::custom("expected at least one character")),
        1..=LONGEST => Ok(word),
        _ => Err(too_long()),
    }
}

/// A whole number from 1, or none.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match Option::<u32>::deserialize(deserializer)? {
        Some(0) => Err(D::Error::custom("expected a whole number from 1")),
        count => Ok(count),
    }
}

/// A list with at least one element.
pub(super) fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::<T>::deserialize(deserializer)?;
    if list.is_empty() { Err(D::Error::custom("expected at least one element")) } else { Ok(list) }
}

fn too_long<E: Error>() -> E {
    E::custom("expected at most 500 characters")
}

const LONGEST: usize = 500;
