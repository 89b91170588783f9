//! Durations (`250ms 5s 2m 1h 90d`) and sizes (`512B 32KiB 25MiB`, also `kB`, `MB`), read and written.

use std::time::Duration;

/// Reads a whole number and a unit of time; none for anything else.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, millis) = TIME.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*millis).map(Duration::from_millis)
}

/// Reads a whole number and a unit of size; none for anything else.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, bytes) = SIZE.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes)
}

/// A duration in the largest unit that holds it whole.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { "0s".to_owned() } else { show(millis, &TIME) }
}

/// A size in the largest unit that holds it whole.
pub(super) fn show_size(bytes: u64) -> String {
    if bytes == 0 { "0B".to_owned() } else { show(bytes, &SIZE) }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

fn show(number: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().rfind(|(_, unit)| number.is_multiple_of(*unit));
    whole.map_or_else(|| number.to_string(), |(name, unit)| format!("{}{name}", number / unit))
}

const TIME: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE: [(&str, u64); 5] = [("B", 1), ("kB", 1_000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20)];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_units_of_the_contract_are_read() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            ("250ms", Duration::from_millis(250)),
            ("0s", seconds(0)),
            ("5s", seconds(5)),
            ("2m", seconds(120)),
            ("1h", seconds(3_600)),
            ("90d", seconds(90 * 86_400)),
        ] {
            assert_eq!(duration(text), Some(expected), "{text}");
        }
        for (text, expected) in
            [("512B", 512), ("32KiB", 32_768), ("25MiB", 26_214_400), ("3kB", 3_000), ("2MB", 2_000_000), ("0B", 0)]
        {
            assert_eq!(size(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for text in ["", "5", "s", "-5s", "+5s", "5 s", " 5s", "1.5s", "5S", "5sec", "99999999999999999d", "٣s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        for text in ["", "5", "B", "5b", "5KB", "5kib", "1e3B", "18446744073709551615MiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(millis in 0_u64..1 << 45, bytes in 0_u64..1 << 50) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(time)), Some(time));
            prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}") {
            let _ = (duration(&text), size(&text));
        }
    }
}
