//! The known name nearest to an unknown one, for hints.

/// The nearest of some names, none when there are none.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let scored = known.into_iter().map(|known| (strsim::jaro_winkler(&name, known), known));
    scored.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

/// `did you mean ...` when a name is near, else the nearest and all that are known.
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    let near = nearest(name, known.clone())?;
    if strsim::jaro_winkler(&name.to_ascii_lowercase(), near) >= NEAR {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    Some(format!("the nearest known name is `{near}`; known here: {}", all.join(", ")))
}

const NEAR: f64 = 0.8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word() {
        assert_eq!(nearest("adress", ["hosts", "address", "workers"]), Some("address"));
        assert_eq!(suggest("max_bdy", ["max_body", "hosts"]).as_deref(), Some("did you mean `max_body`?"));
        let far = suggest("tls", ["address", "hosts"]).unwrap();
        assert!(
            far.starts_with("the nearest known name is `") && far.ends_with("known here: `address`, `hosts`"),
            "{far}"
        );
        assert_eq!(suggest("x", []), None);
    }
}
