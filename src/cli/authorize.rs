//! `closegate credential authorize`: a person agrees at Close, and comes back to the gateway or pastes where they were sent.

use std::io::IsTerminal as _;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{entered, print};
use crate::admin::model::{Actor, CredentialView, EventQuery, Returned};
use crate::admin::{Code, Management, Refusal};
use crate::id::CredentialName;

type Line = Result<Option<Zeroizing<String>>, Refusal>;

/// Prints where to agree, and waits: for an address on stdin, or until the credential was authorized by a browser that came
/// back to the gateway, whichever is first; no longer than the authorization is good for.
pub(super) async fn by_a_person(
    desk: &dyn Management,
    by: &Actor,
    name: &CredentialName,
) -> Result<CredentialView, Refusal> {
    let before = last(desk, name).await?;
    let started = desk.start_authorization(name, by).await?;
    print::fault(format_args!("Open this in a browser, and agree:\n\n{}\n", started.authorization_url));
    if std::io::stdin().is_terminal() {
        print::fault("Then paste the address that the browser was sent to, whether it shows a page or not:");
    }
    let mut pasted = next_line();
    let mut may_paste = true;
    while Timestamp::now() < started.expires_at {
        tokio::select! {
            line = &mut pasted, if may_paste => match line.unwrap_or(Ok(None))? {
                Some(address) => {
                    let returned = Returned::parse(&address).ok_or_else(unfit)?;
                    return desk.complete_authorization(Some(name), returned, by).await;
                }
                None => may_paste = false,
            },
            () = tokio::time::sleep(PAUSE) => {}
        }
        if last(desk, name).await? != before {
            return desk.credential(name).await;
        }
    }
    Err(Refusal::new(Code::AuthorizationRefused, "nobody has come back from Close within ten minutes")
        .hint("begin again; where the browser cannot reach the gateway, paste the address that it was sent to"))
}

/// When the credential was authorized last, as the events tell.
async fn last(desk: &dyn Management, name: &CredentialName) -> Result<Option<u64>, Refusal> {
    let query = EventQuery {
        limit: Some(1),
        action: Some("credential.authorize".to_owned()),
        subject: Some(name.to_string()),
        ..EventQuery::default()
    };
    Ok(desk.events(query).await?.data.first().map(|event| event.id))
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

/// Between two looks at whether a browser has come back.
const PAUSE: Duration = Duration::from_secs(1);
