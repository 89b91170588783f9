//! The page of a gateway with 2,000 keys and 200 credentials.
//!
//! How long a screen takes depends on the machine; what it has to do does not. So each screen is held to what it draws and
//! fetches, and the time is printed beside that of the same screen with few entries.

use std::fmt::Write as _;

use super::browser::{Browser, Load, WIDE};
use super::world::{API_KEY, Site, TOKEN, sign_in, site_with};

/// Screens, each with what shows that it is there and filled.
const SCREENS: [(&str, &str); 12] = [
    ("credentials", "document.querySelector('.tile') !== null"),
    ("credentials/c0", "document.querySelector('.copyline') !== null && document.querySelector('.bar a') !== null"),
    ("add-credential", "document.querySelector('#api-key') !== null"),
    ("connect", "document.querySelector('h1') !== null && document.querySelector('main a, main label') !== null"),
    ("connect/c0", "document.querySelector('[name=preset]') !== null"),
    ("keys", "document.querySelector('tbody tr') !== null"),
    ("keys/k0", "document.querySelector('h1')?.innerText === 'k0' && document.querySelector('.copyline') !== null"),
    ("routes", "document.querySelector('tbody tr') !== null"),
    (
        "usage",
        "document.querySelector('[aria-label=\"Usage that is kept\"] p, [aria-label=\"Usage that is kept\"] table') !== null",
    ),
    ("activity", "document.querySelector('tbody tr') !== null"),
    ("activity?view=refusals", "document.querySelector('.empty h2, [aria-label=Refusals]') !== null"),
    ("settings", "document.querySelector('table.settings') !== null"),
];

/// A gateway of so many credentials, each with its route, and so many keys on them.
fn gateway(credentials: usize, keys: usize) -> Site {
    let mut rest = String::new();
    for index in 0..credentials {
        let _ = write!(rest, "[credentials.c{index}]\napi_key = {{ file = \"close.key\" }}\n");
    }
    for index in 0..keys {
        let route = index % credentials;
        let _ =
            write!(rest, "[keys.k{index}]\nhash = \"sha256:{index:064x}\"\nroutes = [\"c{route}\"]\nrate = \"20/s\"\n");
    }
    site_with(&rest, &[("close.key", API_KEY)])
}

/// Opens every screen some times, and gives what it took at best.
fn opened(site: &Site) -> Vec<Load> {
    let browser = Browser::open(WIDE);
    browser.count_quiet_frames();
    browser.go(&site.address("/"));
    sign_in(&browser, TOKEN);
    let best = |one: Load, other: Load| if one.milliseconds <= other.milliseconds { one } else { other };
    let open = |(hash, there): &(&str, &str)| {
        (0..ROUNDS).map(|_| browser.load(&site.address(&format!("/#/{hash}")), there)).reduce(best).unwrap()
    };
    SCREENS.iter().map(open).collect()
}

#[test]
fn no_screen_asks_for_more_or_draws_more_with_2000_keys_and_200_credentials() {
    // Both are more than a page of any list.
    let some = opened(&gateway(60, 600));
    let many = opened(&gateway(200, 2000));
    let mut table =
        String::from("screen: ms, elements, kB, requests, of them of the API: with 60 and 600 -> with 200 and 2,000\n");
    for (((hash, _), some), many) in SCREENS.iter().zip(&some).zip(&many) {
        let line = |load: &Load| {
            let Load { milliseconds, elements, bytes, requests, asked } = load;
            format!("{milliseconds:.0}, {elements}, {:.0}, {requests}, {asked}", bytes / 1000.0)
        };
        let _ = writeln!(table, "{hash}: {} -> {}", line(some), line(many));
    }
    println!("{table}");
    for (((hash, _), some), many) in SCREENS.iter().zip(&some).zip(&many) {
        assert!(many.elements <= some.elements * SLACK, "{hash} draws more\n{table}");
        assert!(many.bytes <= BYTES, "{hash} fetches too much\n{table}");
        assert!(many.asked <= ASKED, "{hash} asks too often\n{table}");
        assert!(many.elements <= ELEMENTS, "{hash} draws too much at once\n{table}");
    }
}

/// Each screen is opened so often, and its best time told.
const ROUNDS: usize = 3;
/// Room for what is counted in words, such as how many there are.
const SLACK: f64 = 1.05;
/// What a screen fetches at most, once the browser has the page itself: all keys would be eight times that.
const BYTES: f64 = 100_000.0;
/// The requests that a screen makes of the API at most.
const ASKED: f64 = 10.0;
/// What a screen draws at most.
const ELEMENTS: f64 = 2000.0;
