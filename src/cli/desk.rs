//! Who does what a command asks for: the gateway that runs, through its admin API, else this process, on the store.

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::{Output, print};
use crate::admin::model::{Actor, Way};
use crate::admin::{self, Client, Code, Management, Refusal};
use crate::app::{self, Manager};
use crate::config::Loaded;
use crate::store::Role;
use crate::vault::{Archive, Presented, Supply, Withheld};

/// Has something done, and gives what came of it.
///
/// # Errors
///
/// What the gateway refuses; and when somebody listens at `admin.address` who is no gateway that takes its token.
pub(super) fn ask<T>(
    loaded: &Loaded,
    act: impl AsyncFnOnce(&dyn Management, &Actor) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    done(loaded, Role::Visiting, act)
}

/// Has something looked at: the same, but that a store is left as it is, be it of another version.
pub(super) fn look<T>(
    loaded: &Loaded,
    act: impl AsyncFnOnce(&dyn Management) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    done(loaded, Role::Looking, async |desk, _| act(desk).await)
}

fn done<T>(
    loaded: &Loaded,
    role: Role,
    act: impl AsyncFnOnce(&dyn Management, &Actor) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal::new(Code::Internal, format!("this process cannot wait for anything: {error}")))?;
    let by = actor();
    runtime.block_on(async {
        if admin::is_there(&loaded.config.admin).await? {
            return act(&client(loaded).await?, &by).await;
        }
        let archive = Arc::new(app::archive(&loaded.config, role));
        let done = alone(loaded, &archive, act, &by).await;
        archive.store().close().await;
        done
    })
}

/// Says what came of it: for people, or for programs.
pub(super) fn respond<T: Display + Serialize>(outcome: Result<T, Refusal>, output: Output) -> ExitCode {
    match (outcome, output) {
        (Ok(done), Output::Text) => print::data(done, ExitCode::SUCCESS),
        (Ok(done), Output::Json) => print::data(serde_json::json!(done), ExitCode::SUCCESS),
        (Err(refusal), Output::Text) => {
            print::fault(format_args!("error: {refusal}"));
            ExitCode::FAILURE
        }
        (Err(Refusal { code, detail, hint, fields }), Output::Json) => {
            let error = serde_json::json!({ "code": code, "detail": detail, "hint": hint, "errors": fields });
            print::data(serde_json::json!({ "error": error }), ExitCode::FAILURE)
        }
    }
}

async fn client(loaded: &Loaded) -> Result<Client, Refusal> {
    let config = &loaded.config;
    let address = admin::reachable(&config.admin);
    let (setting, reference) = app::own_token(config).ok_or_else(|| {
        Refusal::new(Code::Forbidden, "every token of `[admin.tokens]` may only look")
            .hint("add one with `role = \"admin\"`")
    })?;
    let supply = Supply::new(Withheld::of(config), None);
    let token = Presented::read(&setting, &reference, &supply).await.map_err(|fault| {
        let detail = format!("a gateway listens at `{address}`, and its token is not here: {}", fault.what);
        Refusal::new(Code::Unauthenticated, detail).hint(fault.hint)
    })?;
    Ok(Client::new(config.admin.clone(), token))
}

async fn alone<T>(
    loaded: &Loaded,
    archive: &Arc<Archive>,
    act: impl AsyncFnOnce(&dyn Management, &Actor) -> Result<T, Refusal>,
    by: &Actor,
) -> Result<T, Refusal> {
    let base = loaded.base.clone().ok_or_else(Refusal::internal)?;
    act(&Manager::alone(Arc::clone(archive), base), by).await
}

/// Who does it, as events tell it.
pub(super) fn actor() -> Actor {
    Actor { name: user(), way: Way::CommandLine, from: None }
}

/// The user of this process, by name or else by number.
fn user() -> String {
    let uid = nix::unistd::geteuid();
    let known = nix::unistd::User::from_uid(uid).ok().flatten();
    known.map_or_else(|| uid.to_string(), |user| user.name)
}
