//! Secrets that a person types, without an echo, or that stdin holds; never arguments.

use std::io::{IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use crate::admin::model::SecretText;
use crate::admin::{Code, Refusal};

/// Asks for a secret on a terminal, else reads all of stdin; a trailing line's end is dropped.
pub(super) fn secret(what: &str) -> Result<SecretText, Refusal> {
    let text = if std::io::stdin().is_terminal() { typed(what)? } else { piped(what)? };
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() || line.contains(char::is_control) {
        return Err(unusable(format!("{what}: expected one line of text")));
    }
    Ok(SecretText::new(Zeroizing::new(line.to_owned())))
}

/// One line that is no secret; nothing when there is none.
pub(super) fn line() -> Result<Option<Zeroizing<String>>, Refusal> {
    let mut line = Zeroizing::new(String::with_capacity(SecretText::MAX));
    let count = std::io::stdin().read_line(&mut line).map_err(|error| unreadable(&error))?;
    let given = count > 0 && !line.trim().is_empty();
    Ok(given.then(|| Zeroizing::new(line.trim().to_owned())))
}

fn typed(what: &str) -> Result<Zeroizing<String>, Refusal> {
    rpassword::prompt_password(format!("{what}: ")).map(Zeroizing::new).map_err(|error| unreadable(&error))
}

fn piped(what: &str) -> Result<Zeroizing<String>, Refusal> {
    // Room for all of it: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(SecretText::MAX + 8));
    let most = SecretText::MAX as u64 + 3;
    std::io::stdin().take(most).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    if text.len() as u64 == most {
        return Err(unusable(format!("{what}: more than {} bytes", SecretText::MAX)));
    }
    Ok(text)
}

fn unreadable(error: &std::io::Error) -> Refusal {
    unusable(format!("stdin cannot be read ({})", error.kind()))
}

fn unusable(what: String) -> Refusal {
    Refusal::new(Code::Invalid, what).hint("secrets are never arguments: type it on a terminal, or pipe it in")
}
