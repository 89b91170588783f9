//! Fields whose values have bounds that their types have not: what breaks them is refused where it is read.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// What stands in a JSON object. What serde derives takes the values of its fields in a list as well, without their names.
pub(in crate::admin) struct Object<T>(pub(in crate::admin) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// A field, or what a variant holds, that is a JSON object.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

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

/// A whole number from 1, or none; JSON Schema takes `7.0` for one as well.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<Count>::deserialize(deserializer)?.map(|Count(count)| count))
}

struct Count(u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole)
    }
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 1 to {}", u32::MAX)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Count, E> {
        let count = u32::try_from(number).ok().filter(|count| *count > 0);
        count.map(Count).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Count, E> {
        let whole = u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        self.visit_u64(whole)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Count, E> {
        if number.fract() != 0.0 || !(1.0..=f64::from(u32::MAX)).contains(&number) {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and within the bounds"
        )]
        Ok(Count(number as u32))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_whole_number_however_it_is_written() {
        let count = |text: &str| count(&mut serde_json::Deserializer::from_str(text));
        for (text, expected) in [("1", Some(1)), ("7.0", Some(7)), ("4294967295", Some(u32::MAX)), ("null", None)] {
            assert_eq!(count(text).unwrap(), expected, "{text}");
        }
        for wrong in ["0", "-1", "0.0", "7.5", "4294967296", "1e300", "\"7\"", "true"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }
}
