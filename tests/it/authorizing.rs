//! OAuth credentials from being added to being removed, over real sockets: the admin API, a browser, the command line.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use closegate::admin::Code;
use closegate::sim::{Accepted, Fault, Grant, OAuthApp, Options, Simulator, Trouble};
use closegate::store::{Otherwise, Passing, Place, Purpose, Role, Store};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use crate::manage::{by, code, credential};
use crate::raw::{Answer, Raw};
use crate::spawned::{Ended, Process, Spawned, closegate, run};
use crate::world::{RUNTIME, SECRET, Setup, World, gateway};

/// The digest by which the store knows a `state`.
fn sha256(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap()
}

const TOKEN: &str = "planted-admin-token-planted-admin-token";

/// A simulated Close with one app, and a gateway that may be told of it.
struct Scene {
    simulator: Simulator,
    app: OAuthApp,
    world: World,
}

pub(crate) fn close(app: &OAuthApp) -> Simulator {
    let options = Options::new().app(app.clone()).accept(Accepted::api_key("sales", SECRET)).strict();
    RUNTIME.block_on(Simulator::start(options)).unwrap()
}

pub(crate) fn new_app() -> OAuthApp {
    OAuthApp::new("partner", "https://localhost/oauth/callback").unwrap()
}

/// A gateway with an admin token that tests know, whose store is a file.
pub(crate) fn office(simulator: &Simulator) -> Setup {
    gateway(simulator.address())
        .file("ops.token", TOKEN)
        .set("admin.tokens.ops", "secret = { file = \"ops.token\" }\nrole = \"admin\"")
        .set("store", "url = \"sqlite:store.db\"")
}

/// The app as a table of the configuration, its secret in a file.
pub(crate) fn declared(setup: Setup, simulator: &Simulator, app: &OAuthApp) -> Setup {
    let close = simulator.address();
    let table = format!(
        "oauth2.client_id = \"{}\"\noauth2.client_secret = {{ file = \"app.secret\" }}\n\
         oauth2.authorization_url = \"http://{close}/oauth2/authorize/\"\noauth2.token_url = \"http://{close}/oauth2/token/\"\n\
         oauth2.revocation_url = \"http://{close}/oauth2/revoke/\"",
        app.client_id()
    );
    setup.file("app.secret", app.client_secret()).set("credentials.partner", &table)
}

impl Scene {
    /// The app's redirect URL is the callback of the gateway.
    fn new() -> Self {
        let app = new_app();
        let simulator = close(&app);
        let world = office(&simulator).start();
        let app = app.returning_to(&format!("http://{}/oauth/callback", world.admin));
        simulator.register(app.clone());
        Self { simulator, app, world }
    }

    /// The same with the credential `partner` of the app, which nobody has authorized yet.
    fn added() -> Self {
        let scene = Self::new();
        let answer = scene.add(scene.app.client_secret());
        assert_eq!(answer.status, 201, "{}", answer.text());
        scene
    }

    fn add(&self, client_secret: &str) -> Answer {
        let close = self.simulator.address();
        let app = json!({
            "client_id": self.app.client_id(),
            "client_secret": client_secret,
            "redirect_uri": format!("http://{}/oauth/callback", self.world.admin),
            "authorization_url": format!("http://{close}/oauth2/authorize/"),
            "token_url": format!("http://{close}/oauth2/token/"),
            "revocation_url": format!("http://{close}/oauth2/revoke/"),
        });
        self.api("POST", "", Some(&json!({ "name": "partner", "method": { "oauth2": app } })))
    }

    /// A call of the API below `/api/v1/credentials`.
    fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        call(self.world.admin, method, path, body)
    }

    fn partner(&self) -> Value {
        self.api("GET", "/partner", None).json()
    }

    /// Begins an authorization: the page to open, and the cookie of the browser that began.
    fn begin(&self) -> (String, String) {
        let begun = self.api("POST", "/partner/authorize", None);
        assert_eq!(begun.status, 202, "{}", begun.text());
        let cookie = begun.header("set-cookie").unwrap();
        assert!(["HttpOnly", "SameSite=Lax", "Max-Age=600"].iter().all(|part| cookie.contains(part)), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        (begun.json()["authorization_url"].as_str().unwrap().to_owned(), cookie)
    }

    /// A browser is sent back to the gateway.
    fn come_back(&self, address: &str, cookie: Option<&str>) -> Answer {
        let target = address.strip_prefix(&format!("http://{}", self.world.admin)).unwrap();
        let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let mut client = Raw::connect(self.world.admin);
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\n{cookie}Sec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n",
            self.world.admin
        ));
        client.answer()
    }

    /// Authorizes it, as a person does in a browser.
    fn authorize(&self) {
        let (page, cookie) = self.begin();
        let answer = self.come_back(&decide(&page, "allow"), Some(&cookie));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn grant(&self) -> Grant {
        self.simulator.grants().pop().unwrap()
    }

    /// The status of a request by `/partner`.
    fn status(&self) -> u16 {
        self.world.ask("GET /partner/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status
    }
}

/// A call of the API below `/api/v1/credentials`, at an admin listener.
pub(crate) fn call(admin: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let body = body.map(Value::to_string);
    let kind = body.as_ref().map_or("", |_| "Content-Type: application/json\r\n");
    let body = body.unwrap_or_default();
    let length = body.len();
    let mut client = Raw::connect(admin);
    client.send(format!(
        "{method} /api/v1/credentials{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         {kind}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ));
    client.answer()
}

/// Opens the page of consent and decides; where the browser is sent.
pub(crate) fn decide(page: &str, decision: &str) -> String {
    let (authority, target) = page.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let ask = |request: String| {
        let mut client = Raw::connect(authority.parse().unwrap());
        client.send(request);
        client.answer()
    };
    let shown = ask(format!("GET /{target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"));
    assert_eq!(shown.status, 200, "{}", shown.text());
    let form = format!("{}&decision={decision}", target.split_once('?').unwrap().1);
    let decided = ask(format!(
        "POST /oauth2/authorize/ HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{form}",
        form.len()
    ));
    decided.header("location").unwrap_or_else(|| panic!("{}", decided.text())).to_owned()
}

#[test]
fn a_credential_is_added_authorized_in_a_browser_and_used() {
    let scene = Scene::added();
    let partner = scene.partner();
    assert_eq!((&partner["state"], &partner["standing"]), (&json!("needs_authorization"), &json!("unverified")));
    assert_eq!(partner["client_id"], scene.app.client_id());
    assert_eq!(scene.status(), 503, "nobody has authorized it");
    let (page, cookie) = scene.begin();
    for part in ["response_type=code", "code_challenge_method=S256", "code_challenge=", "state=", "redirect_uri=http"] {
        assert!(page.contains(part), "{page}");
    }
    let back = decide(&page, "allow");
    let answer = scene.come_back(&back, Some(&cookie));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(scene.status(), 200, "when the browser is answered it is in use");
    let partner = scene.partner();
    assert_eq!((&partner["state"], &partner["standing"]), (&json!("ready"), &json!("verified")));
    assert_eq!(partner["organization"]["name"], "partner");
    let ends: Timestamp = partner["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(ends > Timestamp::now());
    let told = scene.world.records.event("credential.authorize");
    assert_eq!((&told["actor"], &told["subject"]), (&json!("browser"), &json!("partner")));
    assert_eq!(told["detail"], json!({ "by": "consent", "begun_by": "ops" }));
    assert_eq!(scene.simulator.violations(), Vec::<String>::new());
    let grant = scene.grant();
    let written = [&scene.world.records.bytes()[..], partner.to_string().as_bytes()].concat();
    for secret in [&grant.access_token, &grant.refresh_token, scene.app.client_secret()] {
        assert_eq!(crate::raw::find(&written, secret.as_bytes()), None);
    }

    let Scene { simulator, app, world } = scene;
    let world = office(&simulator).in_folder(world.stop()).start();
    let scene = Scene { simulator, app, world };
    assert_eq!((scene.status(), scene.grant().refreshes), (200, 0), "after a restart, with the tokens that were kept");
}

#[test]
fn a_state_is_good_once_for_ten_minutes_and_in_the_browser_that_began() {
    let scene = Scene::added();
    let (page, cookie) = scene.begin();
    let back = decide(&page, "allow");
    for other in [None, Some("closegate-oauth=planted")] {
        let refused = scene.come_back(&back, other);
        assert_eq!(refused.status, 409);
        assert!(refused.text().contains("not begun in this browser"), "{}", refused.text());
    }
    assert_eq!(scene.come_back(&back, Some(&cookie)).status, 200, "another browser used nothing up");
    let again = scene.come_back(&back, Some(&cookie));
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!((scene.status(), scene.grant().over), (200, false), "the code was not shown twice");

    let (page, cookie) = scene.begin();
    let back = decide(&page, "allow");
    RUNTIME.block_on(make_old(&scene.world, cookie.split_once('=').unwrap().1));
    let late = scene.come_back(&back, Some(&cookie));
    assert_eq!(late.status, 409);
    assert!(late.text().contains("ten minutes"), "{}", late.text());
    assert_eq!(scene.simulator.grants().len(), 1);
}

/// Has a `state` be one of more than ten minutes ago.
async fn make_old(world: &World, state: &str) {
    let place = Place::Sqlite { path: world.folder.path().join("store.db"), otherwise: Otherwise::Refuse };
    let store = Store::new(place, Role::Visiting);
    let passing = store.take(Purpose::OAuthState, sha256(state)).await.unwrap().unwrap();
    assert!((passing.expires_at.duration_since(Timestamp::now()).as_secs() - 600).abs() < 60, "ten minutes");
    let old = Passing { expires_at: Timestamp::now() - Duration::from_secs(1), ..passing };
    store.remember(Purpose::OAuthState, sha256(state), &old).await.unwrap();
    store.close().await;
}

#[test]
fn a_declined_authorization_says_so_and_changes_nothing() {
    let scene = Scene::added();
    let (page, cookie) = scene.begin();
    let answer = scene.come_back(&decide(&page, "decline"), Some(&cookie));
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("access_denied"), "{}", answer.text());
    assert_eq!(scene.partner()["state"], "needs_authorization");
    let told = scene.world.records.event("credential.declined");
    assert_eq!((&told["subject"], &told["detail"]["error"]), (&json!("partner"), &json!("access_denied")));
    scene.authorize();
    let (page, cookie) = scene.begin();
    assert_eq!(scene.come_back(&decide(&page, "decline"), Some(&cookie)).status, 409);
    assert_eq!((&scene.partner()["state"], scene.status()), (&json!("ready"), 200), "the grant there was stays");
}

#[test]
fn the_address_of_a_browser_that_got_nowhere_is_pasted() {
    let scene = Scene::added();
    let (page, _) = scene.begin();
    let back = decide(&page, "allow");
    let paste = |name: &str| scene.api("POST", &format!("/{name}/authorize"), Some(&json!({ "redirect_url": back })));
    let wrong = paste("sales");
    assert_eq!((wrong.status, &wrong.json()["code"]), (409, &json!("wrong_state")), "an API key is not authorized");
    let pasted = paste("partner");
    assert_eq!((pasted.status, &pasted.json()["state"]), (200, &json!("ready")), "{}", pasted.text());
    assert_eq!(paste("partner").json()["code"], "authorization_refused", "it is used");
    assert_eq!(scene.status(), 200);
    let nonsense = scene.api("POST", "/partner/authorize", Some(&json!({ "redirect_url": "https://localhost/" })));
    assert_eq!(nonsense.json()["errors"][0]["field"], "redirect_url");
}

#[test]
fn a_grant_that_somebody_has_is_taken_over_and_is_theirs_no_more() {
    let scene = Scene::added();
    let had = scene.simulator.grant(&scene.app).unwrap();
    let take = |token: &str| scene.api("POST", "/partner/authorize", Some(&json!({ "refresh_token": token })));
    let taken = take(&had.refresh_token);
    assert_eq!((taken.status, &taken.json()["state"]), (200, &json!("ready")), "{}", taken.text());
    assert_eq!((scene.status(), scene.grant().refreshes), (200, 1));
    assert_ne!(scene.grant().refresh_token, had.refresh_token);
    assert_eq!(scene.world.records.event("credential.authorize")["detail"]["by"], "refresh_token");
    let wrong = take("planted-refresh-token");
    assert_eq!(wrong.json()["code"], "authorization_refused");
    assert!(!wrong.text().contains("planted"));
    assert_eq!(scene.status(), 200, "what there was stays");
}

#[test]
fn what_is_removed_is_revoked_at_close_as_far_as_close_can_be_reached() {
    let scene = Scene::added();
    scene.authorize();
    assert_eq!(scene.api("DELETE", "/partner", None).status, 204);
    assert!(scene.grant().over);
    assert_eq!((scene.status(), scene.api("GET", "/partner", None).status), (404, 404));
    assert_eq!(scene.world.records.event("credential.revoke")["detail"]["revoked"], true);

    let scene = Scene::added();
    scene.authorize();
    let Scene { simulator, world, app } = scene;
    RUNTIME.block_on(simulator.clone().stop());
    let scene = Scene { simulator, world, app };
    let removed = scene.api("DELETE", "/partner", None);
    assert_eq!((removed.status, &removed.json()["removed"]), (200, &json!("partner")));
    assert!(removed.json()["left"].as_str().unwrap().contains("could not be ended at Close"), "{}", removed.text());
    assert_eq!(scene.api("GET", "/partner", None).status, 404, "it is gone all the same");
    assert_eq!(scene.world.records.event("credential.revoke")["detail"]["revoked"], false);
    assert!(!scene.grant().over);
}

#[test]
fn one_whose_tokens_do_not_open_is_removed_all_the_same() {
    let scene = Scene::added();
    scene.authorize();
    // The end of what is sealed.
    let store = scene.world.folder().join("store.db");
    RUNTIME.block_on(async {
        let options = SqliteConnectOptions::new().filename(store);
        let mut connection = options.connect().await.unwrap();
        let change = "UPDATE cg_grants SET sealed = CAST(substr(sealed, 1, length(sealed) - 4) || x'00000000' AS BLOB)";
        sqlx::query(change).execute(&mut connection).await.unwrap();
    });
    let removed = scene.api("DELETE", "/partner", None);
    assert_eq!((removed.status, &removed.json()["removed"]), (200, &json!("partner")), "{}", removed.text());
    assert_eq!(scene.api("GET", "/partner", None).status, 404);
}

/// What was sent to Close is stored, though nobody waits for it any more.
#[test]
fn whoever_leaves_while_close_is_asked_ends_no_grant() {
    let scene = Scene::added();
    scene.authorize();
    let secret = json!({ "secret": scene.app.client_secret() });
    let by_token = |event: &Value| event["detail"]["by"] == "refresh_token";
    let rotated: (_, _, &dyn Fn(&Value) -> bool) = ("credential.rotate", "/partner/rotate", &|_| true);
    let taken_over: (_, _, &dyn Fn(&Value) -> bool) = ("credential.authorize", "/partner/authorize", &by_token);
    for (event, path, fits) in [rotated, taken_over] {
        let before = scene.grant();
        let token = json!({ "refresh_token": before.refresh_token });
        let body = if path.ends_with("rotate") { &secret } else { &token };
        scene.simulator.script(Fault::new(Trouble::HoldAnswer).under("/oauth2/token/"));
        let (mut leaving, body) = (Raw::connect(scene.world.admin), body.to_string());
        leaving.send(format!(
            "POST /api/v1/credentials{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            scene.world.admin,
            body.len()
        ));
        RUNTIME.block_on(scene.simulator.until(|simulator| simulator.held() == 1));
        drop(leaving);
        // Who came later is answered: by then it is known that the first has gone.
        assert_eq!(scene.api("GET", "/partner", None).status, 200);
        scene.simulator.release(1);
        scene.world.records.event_that(event, fits);
        let now = scene.grant();
        assert!(now.refresh_token != before.refresh_token && !now.over, "{path}");
        assert_eq!((scene.status(), scene.partner()["state"].as_str()), (200, Some("ready")), "{path}");
    }
}

#[test]
fn a_client_secret_is_shown_to_close_before_it_is_kept_and_before_it_is_rotated_in() {
    let scene = Scene::new();
    let wrong = scene.add("planted-wrong-secret");
    assert_eq!((wrong.status, &wrong.json()["code"]), (409, &json!("credential_refused")), "{}", wrong.text());
    assert_eq!(scene.api("GET", "/partner", None).status, 404);
    assert_eq!(scene.add(scene.app.client_secret()).status, 201);
    scene.authorize();
    let rotate = |secret: &str| scene.api("POST", "/partner/rotate", Some(&json!({ "secret": secret })));
    assert_eq!(rotate("planted-next-secret").json()["code"], "credential_refused");
    assert_eq!((scene.status(), scene.grant().refreshes, scene.grant().over), (200, 0, false), "nothing is spent");
    // Close makes a new secret, and the old one ends.
    scene.simulator.register(scene.app.clone().known_as(scene.app.client_id(), "planted-next-secret"));
    let rotated = rotate("planted-next-secret");
    assert_eq!((rotated.status, &rotated.json()["state"]), (200, &json!("ready")), "{}", rotated.text());
    assert_eq!((scene.status(), scene.grant().refreshes, scene.grant().over), (200, 1, false), "shown to be good");
    RUNTIME.block_on(scene.simulator.clone().stop());
    assert_eq!(rotate("planted-third-secret").json()["code"], "upstream_unreachable");
}

#[test]
fn what_is_disabled_is_authorized_and_used_once_it_is_enabled() {
    let scene = Scene::added();
    assert_eq!(scene.api("POST", "/partner/disable", None).status, 200);
    scene.authorize();
    assert_eq!((&scene.partner()["state"], scene.status()), (&json!("disabled"), 503));
    assert_eq!(scene.api("POST", "/partner/enable", None).json()["state"], "ready");
    assert_eq!(scene.status(), 200);
    scene.simulator.revoke_grants();
    assert_eq!(scene.api("POST", "/partner/verify", None).json()["verdict"], "rejected");
}

#[test]
fn a_grant_that_close_ended_is_dead_with_its_reason_until_it_is_authorized_again() {
    let scene = Scene::added();
    scene.authorize();
    scene.simulator.revoke_grants();
    let dead = || {
        let partner = scene.partner();
        partner["state"] == "dead" && partner["reason"].as_str().unwrap().contains("`invalid_grant`")
    };
    // A token this new is not renewed for a refusal alone: Close is asked about the grant by who rotates its secret.
    let rotated = scene.api("POST", "/partner/rotate", Some(&json!({ "secret": scene.app.client_secret() })));
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    while !dead() {
        std::thread::yield_now();
    }
    assert_eq!(scene.status(), 503);
    scene.authorize();
    assert_eq!((&scene.partner()["state"], scene.status()), (&json!("ready"), 200));
}

#[test]
fn one_of_the_configuration_is_authorized_and_not_removed() {
    let app = new_app();
    let simulator = close(&app);
    let world = declared(office(&simulator), &simulator, &app).start();
    let scene = Scene { simulator, app, world };
    // Its tokens are read from the store first.
    while scene.partner()["state"] == "refreshing" {
        std::thread::yield_now();
    }
    let partner = scene.partner();
    assert_eq!((&partner["state"], &partner["source"]["kind"]), (&json!("needs_authorization"), &json!("file")));
    assert_eq!(partner["redirect_uri"], "https://localhost/oauth/callback");
    let (page, _) = scene.begin();
    let back = decide(&page, "allow");
    assert!(back.starts_with("https://localhost/oauth/callback?"), "{back}");
    let pasted = scene.api("POST", "/partner/authorize", Some(&json!({ "redirect_url": back })));
    assert_eq!((pasted.status, &pasted.json()["standing"]), (200, &json!("verified")), "{}", pasted.text());
    assert_eq!(scene.status(), 200);
    let management = scene.world.management();
    assert_eq!(code(management.remove_credential(&credential("partner"), None, &by())), Code::ReadOnly);
    assert!(!scene.grant().over);
}

/// Runs a command in a folder with something on its stdin; the gateway that it asks listens there.
fn called(folder: &std::path::Path, gateway: Option<&Spawned>, arguments: &[&str], stdin: &str) -> Ended {
    let mut process = Process::start(command(folder, gateway, arguments));
    process.tell(stdin);
    let code = process.wait().code();
    Ended { code, stdout: process.stdout.text(), stderr: process.stderr.text() }
}

fn command(folder: &std::path::Path, gateway: Option<&Spawned>, arguments: &[&str]) -> std::process::Command {
    let mut command = closegate(folder);
    command.args(arguments).stdin(std::process::Stdio::piped());
    if let Some(gateway) = gateway {
        command.env("CLOSEGATE__ADMIN__ADDRESS", gateway.admin.to_string());
    }
    command
}

/// Begins `credential authorize`: the process, and where its browser would be sent.
fn begun(folder: &std::path::Path, gateway: Option<&Spawned>, decision: &str) -> (Process, String) {
    let process = Process::start(command(folder, gateway, &["credential", "authorize", "partner"]));
    let page = process.stderr.after("and agree:\n\n");
    (process, decide(&page, decision))
}

#[test]
fn the_command_line_authorizes_through_a_gateway_that_runs() {
    let app = new_app();
    let simulator = close(&app);
    let gateway = declared(office(&simulator), &simulator, &app).spawn();
    let folder = gateway.folder.path().to_owned();
    let (mut process, back) = begun(&folder, Some(&gateway), "allow");
    process.tell(&back);
    assert!(process.wait().success(), "{}", process.stderr.text());
    assert!(process.stdout.text().contains("ready"), "{}", process.stdout.text());
    assert_eq!(gateway.ask("GET /partner/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);

    // Somebody finishes it elsewhere: the command sees that.
    let (mut waiting, back) = begun(&folder, Some(&gateway), "allow");
    let pasted = call(gateway.admin, "POST", "/partner/authorize", Some(&json!({ "redirect_url": back })));
    assert_eq!(pasted.status, 200, "{}", pasted.text());
    assert!(waiting.wait().success(), "{}", waiting.stderr.text());

    let (mut declined, back) = begun(&folder, Some(&gateway), "decline");
    declined.tell(&back);
    assert_eq!(declined.wait().code(), Some(1));
    assert!(declined.stderr.text().contains("access_denied"), "{}", declined.stderr.text());
    let had = simulator.grant(&app).unwrap().refresh_token;
    let take = ["credential", "authorize", "partner", "--refresh-token-stdin"];
    let taken = called(&folder, Some(&gateway), &take, &had);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(!format!("{taken:?}").contains(&had));
}

/// A client that keeps cookies and is not sent anywhere by itself.
struct Browser {
    admin: SocketAddr,
    cookie: Option<String>,
}

impl Browser {
    fn new(admin: SocketAddr) -> Self {
        Self { admin, cookie: None }
    }

    /// Opens an address of the gateway, from where a browser says.
    fn open(&mut self, address: &str, site: &str) -> Answer {
        let target = address.strip_prefix(&format!("http://{}", self.admin)).unwrap_or_else(|| panic!("{address}"));
        let cookie = self.cookie.iter().map(|cookie| format!("Cookie: {cookie}\r\n")).collect::<String>();
        let mut client = Raw::connect(self.admin);
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\n{cookie}Sec-Fetch-Site: {site}\r\nConnection: close\r\n\r\n",
            self.admin
        ));
        let answer = client.answer();
        if let Some(set) = answer.header("set-cookie") {
            let pair = set.split(';').next().unwrap().to_owned();
            self.cookie = Some(pair).filter(|_| !set.contains("Max-Age=0"));
        }
        answer
    }

    /// Opens a link; the page of consent that it leads to.
    fn leave(&mut self, link: &str) -> String {
        let answer = self.open(link, "none");
        assert_eq!(answer.status, 302, "{}", answer.text());
        answer.header("location").unwrap().to_owned()
    }
}

/// A gateway of which the app `partner` is declared, to which Close sends browsers back.
fn with_callback(simulator: &Simulator, app: &OAuthApp) -> Spawned {
    // Nobody else is given it meanwhile: the system goes on to other ones.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let app = app.clone().returning_to(&format!("{url}/oauth/callback"));
    simulator.register(app.clone());
    let lines = format!("address = \"127.0.0.1:{port}\"\npublic_url = \"{url}\"");
    declared(office(simulator), simulator, &app).replace("admin", &lines).spawn()
}

/// `credential authorize`, and the link that it prints.
fn waiting(gateway: &Spawned) -> (Process, String) {
    let process =
        Process::start(command(gateway.folder.path(), Some(gateway), &["credential", "authorize", "partner"]));
    let link = process.stderr.after("and agree:\n\n");
    assert!(link.contains("/oauth/start/"), "{link}");
    (process, link)
}

#[test]
fn the_command_line_follows_a_browser_that_opens_its_link_to_the_end() {
    let app = new_app();
    let simulator = close(&app);
    let gateway = with_callback(&simulator, &app);
    let (mut process, link) = waiting(&gateway);
    let mut browser = Browser::new(gateway.admin);
    let page = browser.leave(&link);
    let second = Browser::new(gateway.admin).open(&link, "none");
    assert_eq!((second.status, second.header("set-cookie")), (409, None), "a link is for one browser");
    let answer = browser.open(&decide(&page, "allow"), "cross-site");
    assert_eq!((answer.status, &browser.cookie), (200, &None), "{}", answer.text());
    assert!(process.wait().success(), "{}", process.stderr.text());
    assert!(process.stdout.text().contains("ready"), "{}", process.stdout.text());
    assert_eq!(gateway.ask("GET /partner/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);

    // The link is not used, and what stands below it is pasted.
    let (mut process, _) = waiting(&gateway);
    let page = process.stderr.after("that it is sent to:\n\n");
    process.tell(&decide(&page, "allow"));
    assert!(process.wait().success(), "{}", process.stderr.text());
}

#[test]
fn the_command_line_says_why_nothing_came_of_its_link() {
    let app = new_app();
    let simulator = close(&app);
    let gateway = with_callback(&simulator, &app);
    let (mut process, link) = waiting(&gateway);
    let mut browser = Browser::new(gateway.admin);
    let back = decide(&browser.leave(&link), "decline");
    assert_eq!(browser.open(&back, "cross-site").status, 409);
    assert_eq!(process.wait().code(), Some(1));
    assert!(process.stderr.text().contains("access_denied"), "{}", process.stderr.text());

    // Nobody came back in time.
    let (mut process, link) = waiting(&gateway);
    let mut browser = Browser::new(gateway.admin);
    let back = decide(&browser.leave(&link), "allow");
    RUNTIME.block_on(age(&gateway, browser.cookie.as_ref().unwrap().split_once('=').unwrap().1));
    assert_eq!(process.wait().code(), Some(1));
    assert!(process.stderr.text().contains("within ten minutes"), "{}", process.stderr.text());
    assert_eq!(browser.open(&back, "cross-site").status, 409);
    assert!(simulator.grants().is_empty());
}

/// Somebody who began an authorization of their own has the operator's browser end it: it is taken for neither.
#[test]
fn a_browser_that_is_sent_back_with_anothers_authorization_authorizes_nothing() {
    let app = new_app();
    let simulator = close(&app);
    let gateway = with_callback(&simulator, &app);
    let (mut process, link) = waiting(&gateway);
    let theirs = call(gateway.admin, "POST", "/partner/authorize", None).json();
    let theirs = decide(theirs["authorization_url"].as_str().unwrap(), "allow");
    let mut browser = Browser::new(gateway.admin);
    assert_eq!(browser.open(&theirs, "cross-site").status, 409, "before it left");
    assert_eq!(browser.open(&link, "cross-site").status, 403, "nor does another site have it leave");
    let own = browser.leave(&link);
    assert_eq!(browser.open(&theirs, "cross-site").status, 409, "after it left");
    assert_eq!(process.wait().code(), Some(1));
    assert!(process.stderr.text().contains("another authorization"), "{}", process.stderr.text());
    assert_eq!(browser.open(&decide(&own, "allow"), "cross-site").status, 409, "its own is over as well");
    assert!(simulator.grants().is_empty(), "no code was exchanged");
    gateway.stdout.wait_for("state_mismatch", 1);
}

/// Has an authorization that is waited for be one of an hour ago.
async fn age(gateway: &Spawned, state: &str) {
    let place = Place::Sqlite { path: gateway.folder.path().join("store.db"), otherwise: Otherwise::Refuse };
    let store = Store::new(place, Role::Visiting);
    let past = Timestamp::now() - Duration::from_secs(3600);
    let flow = store.take(Purpose::OAuthState, sha256(state)).await.unwrap().unwrap();
    store.remember(Purpose::OAuthState, sha256(state), &Passing { expires_at: past, ..flow }).await.unwrap();
    let mut outcome = store.take(Purpose::OAuthOutcome, sha256(state)).await.unwrap().unwrap();
    outcome.body["until"] = json!(past);
    store.remember(Purpose::OAuthOutcome, sha256(state), &outcome).await.unwrap();
    store.close().await;
}

#[test]
fn a_copy_of_the_store_holds_no_link_and_no_state() {
    let app = new_app();
    let simulator = close(&app);
    let gateway = with_callback(&simulator, &app);
    let given = call(gateway.admin, "POST", "/partner/authorize", Some(&json!({ "link": {} }))).json();
    let (link, state) = (given["link"].as_str().unwrap(), given["state"].as_str().unwrap());
    let ticket = link.rsplit('/').next().unwrap();
    let folder = gateway.folder.path();
    let files = ["store.db", "store.db-wal"].map(|name| std::fs::read(folder.join(name)).unwrap_or_default()).concat();
    assert!(crate::raw::find(&files, b"oauth_link").is_some(), "it is there");
    for secret in [ticket, state] {
        assert_eq!(crate::raw::find(&files, secret.as_bytes()), None);
        let written = [gateway.stdout.bytes(), gateway.stderr.bytes()].concat();
        assert_eq!(crate::raw::find(&written, secret.as_bytes()), None);
    }
}

#[test]
fn the_command_line_authorizes_on_the_store_and_check_tells_the_truth() {
    let app = new_app();
    let simulator = close(&app);
    let setup = declared(office(&simulator), &simulator, &app);
    std::fs::write(setup.path().join("closegate.toml"), setup.text()).unwrap();
    let folder = setup.path().to_owned();
    let live = || run(closegate(&folder).args(["--output", "json", "check", "--live"]));
    let said = |ended: &Ended| {
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let rows = report["live"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["credential"] == "partner").unwrap()
    };
    let ended = live();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let outcome = said(&ended)["outcome"].as_str().unwrap().to_owned();
    assert!(outcome.contains("nobody has authorized it yet"), "{outcome}");
    let shown = called(&folder, None, &["credential", "show", "partner"], "");
    assert!(shown.stdout.contains("needs authorization"), "{shown:?}");

    let (mut process, back) = begun(&folder, None, "allow");
    process.tell(&back);
    assert!(process.wait().success(), "{}", process.stderr.text());
    let ended = live();
    assert_eq!((ended.code, &said(&ended)["outcome"]), (Some(0), &json!("accepted")), "{ended:?}");
    assert_eq!(simulator.grants()[0].refreshes, 0, "its token is good: nothing is renewed");
    assert_eq!(called(&folder, None, &["credential", "verify", "partner"], "").code, Some(0));
    simulator.revoke_grants();
    let ended = live();
    assert_eq!((ended.code, &said(&ended)["ok"]), (Some(1), &json!(false)), "{ended:?}");

    let had = simulator.grant(&app).unwrap().refresh_token;
    let take = ["credential", "authorize", "partner", "--refresh-token-stdin"];
    assert_eq!(called(&folder, None, &take, &had).code, Some(0));
    let gateway = setup.spawn();
    assert_eq!(gateway.ask("GET /partner/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
}

#[test]
fn the_command_line_adds_an_app_and_removes_it_with_its_grant() {
    let app = new_app();
    let simulator = close(&app);
    let setup = office(&simulator);
    std::fs::write(setup.path().join("closegate.toml"), setup.text()).unwrap();
    let call = |arguments: &[&str], stdin: &str| called(setup.path(), None, arguments, stdin);
    let at = |path: &str| format!("http://{}/oauth2/{path}/", simulator.address());
    let places =
        [("--authorization-url", at("authorize")), ("--token-url", at("token")), ("--revocation-url", at("revoke"))];
    let mut add = vec!["credential", "add", "partner", "--oauth-client-id", app.client_id()];
    add.extend(places.iter().flat_map(|(option, url)| [*option, url.as_str()]));
    let wrong = call(&add, "planted-wrong-secret");
    assert!(wrong.code == Some(1) && wrong.stderr.contains("invalid_client"), "{wrong:?}");
    let added = call(&add, app.client_secret());
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(added.stdout.contains("closegate credential authorize partner"), "{added:?}");
    let had = simulator.grant(&app).unwrap().refresh_token;
    let taken = call(&["credential", "authorize", "partner", "--refresh-token-stdin"], &had);
    assert!(taken.code == Some(0) && taken.stdout.contains("ready"), "{taken:?}");
    let removed = call(&["credential", "remove", "partner"], "");
    assert_eq!((removed.code, removed.stderr.as_str()), (Some(0), ""), "{removed:?}");
    assert!(simulator.grants()[0].over);
}
