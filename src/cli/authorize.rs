//! `closegate credential authorize`: a person agrees at Close, and comes back to the gateway or pastes where they were sent.

use std::io::IsTerminal as _;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{entered, print};
use crate::admin::model::{Actor, CredentialView, Departure, Returned, Started};
use crate::admin::{Management, Refusal};
use crate::id::CredentialName;

type Line = Result<Option<Zeroizing<String>>, Refusal>;

/// Prints where to agree, and waits for what becomes of it: for an address on stdin, or for the gateway, which tells when a
/// browser has come back to it, with what, or that nobody has in time.
///
/// A browser is not opened: the link would stand among the arguments of its process, and whoever reads it there first could
/// have the gateway send requests as somebody else.
pub(super) async fn by_a_person(
    desk: &dyn Management,
    by: &Actor,
    name: &CredentialName,
) -> Result<CredentialView, Refusal> {
    let started = desk.start_authorization(name, Departure::ByLink, by).await?;
    show(&started);
    let mut pasted = next_line();
    let mut may_paste = true;
    loop {
        tokio::select! {
            line = &mut pasted, if may_paste => match line.unwrap_or(Ok(None))? {
                Some(address) => {
                    let returned = Returned::parse(&address).ok_or_else(unfit)?;
                    return desk.complete_authorization(Some(name), returned, by).await;
                }
                None => may_paste = false,
            },
            progress = desk.await_authorization(name, &started.state) => match progress?.end() {
                Some(Ok(())) => return desk.credential(name).await,
                Some(Err(refusal)) => return Err(refusal),
                None => {}
            }
        }
    }
}

fn show(started: &Started) {
    let Started { authorization_url, link, .. } = started;
    match link {
        Some(link) => print::fault(format_args!(
            "Open this in a browser, and agree:\n\n{link}\n\nIt is good once, for ten minutes, and for whoever opens it: keep it \
             to yourself. In a browser that cannot\nreach the gateway open this instead, and paste the address that it is sent \
             to:\n\n{authorization_url}\n"
        )),
        None => print::fault(format_args!("Open this in a browser, and agree:\n\n{authorization_url}\n")),
    }
    if link.is_none() && std::io::stdin().is_terminal() {
        print::fault("Then paste the address that the browser was sent to, whether it shows a page or not:");
    }
}

/// What stdin gives; a thread that waits there when the command ends goes with the process.
fn next_line() -> oneshot::Receiver<Line> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody may want it any more.
        let _ = sender.send(entered::line());
    });
    receiver
}

fn unfit() -> Refusal {
    let what = "not the address that Close sends a browser back to";
    Refusal::field("address", what, "copy all of it, with `code` and `state`")
}
