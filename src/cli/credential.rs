//! `closegate credential`: credentials that lie sealed in the store, added and looked after while the gateway runs.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use super::{Needs, Output, authorize, desk, entered, print, table};
use crate::admin::model::{
    CredentialMethod, CredentialSecret, CredentialState, CredentialView, NewBasic, NewCredential, NewOAuth2, Removal,
    Rotation, Standing, Verdict, Verification,
};
use crate::admin::{Kind, Refusal};
use crate::config::Loaded;
use crate::id::CredentialName;

/// What is done with credentials.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Seal a credential into the store, verify it at Close, and make the route of its name
    #[command(after_help = ADD)]
    Add(Add),
    /// List the credentials, those of the configuration among them
    List,
    /// Show a credential, without its secret
    Show(Name),
    /// Ask Close whether it accepts a credential
    Verify(Name),
    /// Take a credential out of use at once
    Disable(Name),
    /// Take it into use again
    Enable(Name),
    /// Verify a new secret at Close, then put it in the place of the one there is
    #[command(after_help = "The new secret is asked for, or read from stdin.")]
    Rotate(Name),
    /// Remove a credential, and the route that was made with it; a grant of OAuth 2.0 is revoked at Close
    Remove(Name),
    /// Authorize an OAuth credential at Close, in a browser or by a refresh token
    #[command(after_help = AUTHORIZE)]
    Authorize(Authorize),
}

impl Command {
    /// How much of the configuration it cannot do without.
    pub(super) fn needs(&self) -> Needs {
        match self {
            Self::List | Self::Show(_) | Self::Disable(_) | Self::Enable(_) => Needs::Bearings,
            // They ask Close, at the place that the configuration says, or add what must fit the rest.
            Self::Add(_) | Self::Verify(_) | Self::Rotate(_) | Self::Remove(_) | Self::Authorize(_) => Needs::Names,
        }
    }
}

/// The name of a credential.
#[derive(Debug, clap::Args)]
pub(super) struct Name {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: CredentialName,
}

/// A credential to add.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: CredentialName,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// It is an OAuth app of this client id; the secret is the client secret
    #[arg(long, value_name = "ID", group = "method")]
    oauth_client_id: Option<String>,
    /// Where Close sends a browser back to [default: /oauth/callback at `admin.public_url`]
    #[arg(long, value_name = "URL", requires = "oauth_client_id")]
    redirect_uri: Option<String>,
    /// Where a browser authorizes [default: Close's]
    #[arg(long, value_name = "URL", requires = "oauth_client_id")]
    authorization_url: Option<String>,
    /// Where tokens are fetched [default: Close's]
    #[arg(long, value_name = "URL", requires = "oauth_client_id")]
    token_url: Option<String>,
    /// Where a grant is revoked [default: Close's]
    #[arg(long, value_name = "URL", requires = "oauth_client_id")]
    revocation_url: Option<String>,
    /// It is a token made elsewhere, sent as Bearer
    #[arg(long, group = "method")]
    bearer: bool,
    /// It is a user name and a password, sent as Basic
    #[arg(long, value_name = "NAME", group = "method")]
    basic_username: Option<String>,
}

/// How an OAuth credential is authorized.
#[derive(Debug, clap::Args)]
pub(super) struct Authorize {
    /// Its name
    #[arg(value_parser = parse_name)]
    name: CredentialName,
    /// Take over a grant by its refresh token, which is asked for, or read from stdin
    #[arg(long)]
    refresh_token_stdin: bool,
}

const AUTHORIZE: &str =
    "With a gateway that runs, and to which Close sends browsers back, a link is printed: whoever opens it is
sent to Close, and the command tells what came of it. Otherwise the address that the browser was sent to is
pasted, or piped in. The link is good once and for ten minutes: keep it to yourself.";

const ADD: &str =
    "The secret (an API key, unless an option says otherwise) is asked for, or read from stdin. A credential
that Close refuses is not added; one that could not be verified says so.

Examples:
  closegate credential add sales --description \"Key of the sync user\"
  closegate credential add partner --oauth-client-id oa2client_... < client-secret";

fn parse_name(text: &str) -> Result<CredentialName, String> {
    CredentialName::parse(text).map_err(|fault| fault.to_string())
}

/// Does it in the gateway that runs, else on the store.
pub(super) fn run(command: &Command, loaded: &Loaded, output: Output) -> ExitCode {
    let card = |outcome: Result<CredentialView, Refusal>| desk::respond(outcome.map(Card), output);
    match command {
        Command::Add(add) => card(self::add(add, loaded)),
        Command::List => desk::respond(desk::look(loaded, async |desk| desk.credentials().await).map(Listing), output),
        Command::Show(Name { name }) => card(desk::look(loaded, async |desk| desk.credential(name).await)),
        Command::Verify(Name { name }) => verify(name, loaded, output),
        Command::Disable(Name { name }) => {
            card(desk::ask(loaded, async |desk, by| desk.disable_credential(name, by).await))
        }
        Command::Enable(Name { name }) => {
            card(desk::ask(loaded, async |desk, by| desk.enable_credential(name, by).await))
        }
        Command::Rotate(Name { name }) => card(entered::secret("New secret").and_then(|secret| {
            desk::ask(loaded, async |desk, by| desk.rotate_credential(name, Rotation { secret }, None, by).await)
        })),
        Command::Remove(Name { name }) => {
            let removed = desk::ask(loaded, async |desk, by| desk.remove_credential(name, None, by).await);
            if let Ok(Removal { left: Some(left), .. }) = &removed {
                print::fault(format_args!("warning: {left}\nhint: take the app's access away in Close itself"));
            }
            desk::respond(removed.map(|_| Removed { removed: name.to_string(), kind: Kind::Credential }), output)
        }
        Command::Authorize(how) => authorize(how, loaded, output),
    }
}

fn add(add: &Add, loaded: &Loaded) -> Result<CredentialView, Refusal> {
    let method = match (&add.oauth_client_id, &add.basic_username) {
        (Some(client_id), _) => CredentialSecret::Oauth2(NewOAuth2 {
            client_id: client_id.clone(),
            client_secret: entered::secret("Client secret")?,
            redirect_uri: add.redirect_uri.clone(),
            authorization_url: add.authorization_url.clone(),
            token_url: add.token_url.clone(),
            revocation_url: add.revocation_url.clone(),
        }),
        (None, Some(username)) => {
            CredentialSecret::Basic(NewBasic { username: username.clone(), password: entered::secret("Password")? })
        }
        (None, None) if add.bearer => CredentialSecret::Bearer(entered::secret("Token")?),
        (None, None) => CredentialSecret::ApiKey(entered::secret("API key")?),
    };
    let new = NewCredential { name: add.name.to_string(), description: add.description.clone(), method };
    desk::ask(loaded, async |desk, by| desk.add_credential(new, by).await)
}

/// What Close said decides the exit code.
fn verify(name: &CredentialName, loaded: &Loaded, output: Output) -> ExitCode {
    let verified = desk::ask(loaded, async |desk, by| desk.verify_credential(name, by).await);
    let accepted = verified.as_ref().is_ok_and(|verified| verified.verdict == Verdict::Accepted);
    let code = desk::respond(verified.map(Verified), output);
    if accepted { code } else { ExitCode::FAILURE }
}

fn authorize(how: &Authorize, loaded: &Loaded, output: Output) -> ExitCode {
    let name = &how.name;
    let authorized = if how.refresh_token_stdin {
        entered::secret("Refresh token")
            .and_then(|token| desk::ask(loaded, async |desk, by| desk.take_over_grant(name, token, by).await))
    } else {
        desk::ask(loaded, async |desk, by| authorize::by_a_person(desk, by, name).await)
    };
    desk::respond(authorized.map(Card), output)
}

/// That something is no more.
#[derive(Serialize)]
pub(super) struct Removed {
    pub(super) removed: String,
    #[serde(skip)]
    pub(super) kind: Kind,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} `{}` is removed", self.kind, self.removed)
    }
}

/// All credentials.
#[derive(Serialize)]
#[serde(transparent)]
struct Listing(Vec<CredentialView>);

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no credentials: `closegate credential add NAME`");
        }
        let header = ["NAME", "METHOD", "STATE", "ORGANIZATION", "USER", "ROUTES", "DECLARED"];
        let cells = |view: &CredentialView| {
            let or_dash = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
            let organization = or_dash(view.organization.as_ref().and_then(|known| known.name.as_ref()));
            let user = or_dash(view.user.as_ref().and_then(|known| known.name.as_ref()));
            let routes = if view.routes.is_empty() { "-".to_owned() } else { view.routes.join(", ") };
            vec![
                view.name.clone(),
                method(view.method).to_owned(),
                state(view),
                organization,
                user,
                routes,
                view.source.to_string(),
            ]
        };
        let rows = [header.map(str::to_owned).into()].into_iter().chain(self.0.iter().map(cells));
        table::columns(f, "", &rows.collect::<Vec<_>>())
    }
}

/// One credential.
#[derive(Serialize)]
#[serde(transparent)]
struct Card(CredentialView);

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.0;
        let time = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
        let rows = [
            ("name", Some(view.name.clone())),
            ("description", view.description.clone()),
            ("method", Some(method(view.method).to_owned())),
            ("state", Some(state(view))),
            ("reason", view.reason.clone()),
            ("organization", view.organization.as_ref().and_then(|known| known.name.clone())),
            ("user", view.user.as_ref().and_then(|known| known.name.clone())),
            ("key id", view.key_id.clone()),
            ("client id", view.client_id.clone()),
            ("redirect URI", view.redirect_uri.clone()),
            ("routes", (!view.routes.is_empty()).then(|| view.routes.join(", "))),
            ("declared", Some(view.source.to_string())),
            ("created", time(view.created_at)),
            ("updated", time(view.updated_at)),
            ("last used", time(view.last_used_at)),
            ("token expires", time(view.expires_at)),
        ];
        let rows = rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
        table::columns(f, "", &rows.collect::<Vec<_>>())?;
        match view.state {
            CredentialState::NeedsAuthorization => {
                write!(f, "hint: `closegate credential authorize {}`", view.name)
            }
            _ => Ok(()),
        }
    }
}

/// What Close said.
#[derive(Serialize)]
#[serde(transparent)]
struct Verified(Verification);

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verification { verdict, detail, credential } = &self.0;
        let said = match verdict {
            Verdict::Accepted => "is accepted by Close",
            Verdict::Rejected => "is refused by Close",
            Verdict::Undecided => "could not be verified",
        };
        write!(f, "the credential `{}` {said}", credential.name)?;
        detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

fn method(method: CredentialMethod) -> &'static str {
    match method {
        CredentialMethod::ApiKey => "api_key",
        CredentialMethod::Oauth2 => "oauth2",
        CredentialMethod::Bearer => "bearer",
        CredentialMethod::Basic => "basic",
    }
}

fn state(view: &CredentialView) -> String {
    let state = match view.state {
        CredentialState::Ready => "ready",
        CredentialState::Suspect => "suspect",
        CredentialState::Rejected => "rejected",
        CredentialState::Unavailable => "unavailable",
        CredentialState::Refreshing => "refreshing",
        CredentialState::NeedsAuthorization => "needs authorization",
        CredentialState::Dead => "dead",
        CredentialState::Disabled => "disabled",
    };
    match view.standing {
        Standing::Verified => state.to_owned(),
        Standing::Unverified => format!("{state}, unverified"),
    }
}
