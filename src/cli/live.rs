//! What Close says of each credential: `GET /api/v1/me/`, once.

use std::io;

use crate::config::Config;
use crate::vault::{Vault, Verdict};

/// Name, outcome in words, and whether it works, of every credential at the upstream of its first route.
pub(super) fn rows(config: &Config, vault: &Vault) -> io::Result<Vec<(String, String, bool)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for name in config.credentials.keys() {
        let route = config.routes.values().find(|route| route.credential == *name);
        let origin = route.map_or(&config.upstream.url, |route| &route.upstream);
        if let Some(id) = vault.find(name) {
            let (outcome, ok) = match runtime.block_on(vault.verify(id, origin)) {
                Verdict::Accepted => ("accepted".to_owned(), true),
                Verdict::Rejected => ("rejected: the upstream answered 401".to_owned(), false),
                Verdict::Undecided(why) => (why.to_string(), false),
            };
            rows.push((name.to_string(), outcome, ok));
        }
    }
    Ok(rows)
}
