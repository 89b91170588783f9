//! That what is compared does the same work: each injects the credential, and lets nobody pass without the key.

use crate::Result;
use crate::contenders::{Contender, Running, basic, injected, presented};
use crate::driver::status;
use crate::origin::Origin;

/// A target that the origin answers.
const ASKED: &str = "/api/v1/lead/?size=64";

/// Asks with the key, with another and with none, and has the origin say how many requests came.
///
/// # Errors
///
/// What does not hold, in words.
pub(crate) fn prove(contender: Contender, running: &Running, origin: &Origin) -> Result<String> {
    let name = contender.name();
    // The origin alone: it takes the credential, and not what the tool presents.
    expect("the origin, asked with the credential", 200, status(origin.clear(), ASKED, Some(&injected()))?)?;
    expect("the origin, asked with the key", 401, status(origin.clear(), ASKED, Some(&presented()))?)?;
    let with_key = status(running.port(), ASKED, Some(&presented()))?;
    expect(&format!("{name}, asked with the key"), 200, with_key)?;
    if !contender.asks_for_a_key() {
        return Ok(format!("{name}: injects the credential; open, asks for no key"));
    }
    let before = origin.seen()?;
    let other = basic("bench-gateway-key-9999999999");
    expect(&format!("{name}, asked with another key"), 401, status(running.port(), ASKED, Some(&other))?)?;
    expect(&format!("{name}, asked without a key"), 401, status(running.port(), ASKED, None)?)?;
    match origin.seen()? - before {
        0 => Ok(format!("{name}: injects the credential; 401 with another key and without one, nothing sent on")),
        sent => Err(format!("{name} sent {sent} requests on that had no key").into()),
    }
}

fn expect(what: &str, expected: u16, answered: u16) -> Result<()> {
    if answered == expected { Ok(()) } else { Err(format!("{what}: {answered} instead of {expected}").into()) }
}
