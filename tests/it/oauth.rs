//! OAuth credentials over real sockets and a real store: an ended token, a refused one, and what a reload leaves alone.

use std::sync::Arc;
use std::time::Duration;

use closegate::config::{self, Environment, Sources};
use closegate::id::CredentialName;
use closegate::net::{self, Connector};
use closegate::sim::{Fault, Grant, OAuthApp, Options, Simulator, Trouble};
use closegate::store::{Event, Otherwise, Place, Role, Store};
use closegate::vault::{Archive, Circumstances, Holdings, MasterKey, SecretText, Supply, Vault, Withheld};

use crate::faults::{exchange, head};
use crate::world::{RUNTIME, Setup, World, gateway};

/// A gateway with an OAuth credential whose grant lies in its store, and the simulated Close of both.
struct Scene {
    simulator: Simulator,
    world: World,
}

impl Scene {
    /// Access tokens live for `lifetime`; the gateway starts `later`.
    fn new(lifetime: Duration, later: Duration) -> Self {
        let app = OAuthApp::new("partner", "https://localhost/oauth/callback").unwrap().lifetime(lifetime);
        let simulator = RUNTIME.block_on(Simulator::start(Options::new().app(app.clone()).strict())).unwrap();
        let close = simulator.address();
        let oauth = format!(
            "oauth2.client_id = \"{}\"\noauth2.client_secret = {{ file = \"app.secret\" }}\n\
             oauth2.token_url = \"http://{close}/oauth2/token/\"\noauth2.revocation_url = \"http://{close}/oauth2/revoke/\"",
            app.client_id()
        );
        let setup = gateway(close).file("app.secret", app.client_secret()).replace("credentials.sales", &oauth);
        let store = format!("url = \"sqlite:{}\"", setup.path().join("oauth.db").display());
        let setup = setup.replace("store", &store).key("\"sales\"");
        RUNTIME.block_on(adopt(&setup, &simulator.grant(&app).unwrap()));
        // Nothing happens meanwhile that could be awaited: a token grows old.
        std::thread::sleep(later);
        Self { simulator, world: setup.start() }
    }

    fn grant(&self) -> Grant {
        self.simulator.grants().remove(0)
    }

    /// Asks so many times at once; the statuses.
    fn ask_at_once(&self, times: usize) -> Vec<u16> {
        let threads: Vec<_> = (0..times)
            .map(|_| {
                let mut client = self.world.connect();
                std::thread::spawn(move || exchange(&mut client, &head("GET", "/sales/api/v1/me/", "")).status)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

/// Takes a grant over before the gateway starts, as the command line does.
async fn adopt(setup: &Setup, grant: &Grant) {
    let (name, folder) = (CredentialName::parse("sales").unwrap(), setup.path());
    std::fs::write(folder.join("closegate.toml"), setup.text()).unwrap();
    let sources = Sources {
        file: Some(folder.join("closegate.toml")),
        environment: Environment::default(),
        folder: folder.to_owned(),
    };
    let config = config::load(&sources).unwrap().config;
    let place = Place::Sqlite { path: folder.join("oauth.db"), otherwise: Otherwise::Refuse };
    let key = MasterKey::Beside(folder.join("master.key"));
    let archive = Arc::new(Archive::new(Store::new(place, Role::Visiting), key, Withheld::default()));
    let supply = Arc::new(Supply::new(Withheld::default(), Some(Arc::clone(&archive))));
    let (holdings, _) = Holdings::read(&config.credentials, supply, &Circumstances::default()).await.unwrap();
    let time = Duration::from_secs(30);
    let options = net::Options { ca: None, place: None, proxy: None, connect_timeout: time, tls_timeout: time };
    let (vault, _unwatched) = Vault::open(holdings, |_| Arc::default(), Arc::new(Connector::new(options).unwrap()));
    let id = vault.find(&name).unwrap();
    let token = SecretText::new(grant.refresh_token.clone().into());
    vault.adopt(id, &token, Event::now("test", "credential.authorize", "")).await.unwrap();
    archive.store().close().await;
}

#[test]
fn two_hundred_requests_on_an_ended_token_are_one_refresh_and_all_succeed() {
    let scene = Scene::new(OLD, OLD);
    let statuses = scene.ask_at_once(200);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let grant = scene.grant();
    assert_eq!((grant.refreshes, grant.over), (2, false), "one when it was taken over, one for all");
    assert_eq!(scene.simulator.violations(), Vec::<String>::new());
}

#[test]
fn a_refused_token_is_renewed_once_for_all_who_were_refused() {
    let scene = Scene::new(HOUR, Duration::ZERO);
    assert_eq!(scene.ask_at_once(1), [200]);
    scene.simulator.expire_access_tokens();
    let statuses = scene.ask_at_once(200);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!((scene.grant().refreshes, scene.grant().over), (2, false));
}

#[test]
fn a_request_whose_token_was_refused_is_sent_again_with_its_body() {
    let scene = Scene::new(HOUR, Duration::ZERO);
    scene.simulator.expire_access_tokens();
    let body = r#"{"name": "Bluth"}"#;
    let post = head("POST", "/sales/api/v1/lead/", &format!("Content-Length: {}\r\n", body.len())) + body;
    let answer = exchange(&mut scene.world.connect(), &post);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent: Vec<_> = scene.simulator.seen().into_iter().filter(|seen| seen.target == "/api/v1/lead/").collect();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|seen| seen.body == body.as_bytes()));
    let record = scene.world.records.wait_for(1).remove(0);
    assert_eq!((&record["attempts"], &record["status"]), (&2.into(), &200.into()), "{record}");
    let page = scene.world.metrics();
    let counted = [
        "closegate_upstream_retries_total{route=\"sales\",reason=\"renewed\"} 1\n",
        "closegate_credential_refreshes_total{credential=\"sales\",outcome=\"success\"} 1\n",
    ];
    assert!(counted.iter().all(|line| page.contains(line)), "{page}");
}

#[test]
fn a_401_that_another_token_does_not_help_against_is_passed_on() {
    let scene = Scene::new(HOUR, Duration::ZERO);
    assert_eq!(scene.ask_at_once(1), [200]);
    let refused = Fault::new(Trouble::Status(http::StatusCode::UNAUTHORIZED, "{}".into())).under("/api/");
    scene.simulator.script(refused.always());
    let answer = exchange(&mut scene.world.connect(), &head("GET", "/sales/api/v1/me/", ""));
    assert_eq!((answer.status, answer.header("closegate-credential")), (401, Some("suspect")));
    assert_eq!(scene.grant().refreshes, 2, "one when it was taken over, one for the first 401");
}

const HOUR: Duration = Duration::from_secs(3600);
/// So long do tokens live that are to end.
const OLD: Duration = Duration::from_secs(11);
