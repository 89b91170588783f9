//! Waits on this thread: for commands, which have no runtime of their own.

use super::secrets::Fault;

/// Runs a future to its end.
pub(super) fn run<F: Future>(future: F) -> Result<F::Output, Vec<Fault>> {
    let failed = |error| {
        let hint = "does the system still have files and memory for this process?";
        vec![Fault { key: "secrets".to_owned(), what: format!("cannot be read: {error}"), hint }]
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    Ok(runtime.block_on(future))
}
