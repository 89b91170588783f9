//! What each step of a request costs by itself: `cargo bench --bench hot_path`.
//!
//! The steps are the gateway's own, of a rehearsal of the configuration below: what a request carries is what a script with
//! a Close client sends, and what a step takes was made by the steps before it, outside of what is measured. Under
//! `cargo test` each of them is taken once.

use std::hint::black_box;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use closegate::app::Rehearsal;
use closegate::config::{self, Config, Environment, Sources};
use closegate::id::{CredentialId, CredentialName, KeyName};
use closegate::keys::Admission;
use closegate::net::{self, Connector};
use closegate::proxy::{Found, Inbound, Permit, Shown, Steps};
use closegate::telemetry::{Access, Answerer, Client, Core, Options, Record, Retries, Telemetry};
use closegate::vault::{Circumstances, Holdings, Redactor, Supply, Vault};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request};

/// Without its keys: what is looked up is not alone.
const CONFIGURATION: &str = r#"
[credentials.sales]
api_key = { file = "credential" }
[routes.sales]
credential = "sales"
allow = ["* /api/v1/**"]
deny = ["* /api/v1/export/**"]
[routes.partner]
credential = "sales"
"#;

/// What each key may do; its limits are so wide that nothing reaches them here, where requests take their places in turn.
const KEY: &str = r#"
routes = ["sales", "partner"]
scopes = ["read", "write"]
allow = ["GET,POST /api/v1/lead"]
deny = ["* /api/v1/lead/merge"]
rate = "1000000/s"
concurrency = 10000
daily_quota = 1000000000
"#;

/// How many there are.
const KEYS: usize = 64;

/// The shape of an API key.
const CREDENTIAL: &str = "api_7b8KOSMa0OevK9qJvT6F9s.benchbenchbenchbenchbe";

/// What a request asks for.
const TARGET: &str = "/sales/api/v1/lead/?_limit=100&_fields=id,display_name";

/// The gateway that does not run, and its credential.
struct Bench {
    rehearsal: Rehearsal,
    vault: Arc<Vault>,
    credential: CredentialId,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("credential"), CREDENTIAL).expect("a file");
        let config = configuration(folder.path());
        let rehearsal = Rehearsal::of(&config).unwrap_or_else(|faults| panic!("{faults:?}"));
        let vault = vault(&config);
        let name = CredentialName::parse("sales").expect("a name");
        let credential = vault.find(&name).expect("the credential");
        Self { rehearsal, vault, credential }
    }

    /// A request as the codec hands it over.
    fn parts(&self) -> Parts {
        self.parts_of(0)
    }

    /// The same of another key.
    fn parts_of(&self, key: usize) -> Parts {
        let text = Rehearsal::text_of(&KeyName::parse(&format!("key-{key}")).expect("a name"));
        let request = Request::get(TARGET)
            .header("host", "127.0.0.1:8080")
            .header("authorization", format!("Basic {}", STANDARD.encode(format!("{text}:"))))
            .header("user-agent", "python-requests/2.32.3")
            .header("accept", "application/json")
            .header("accept-encoding", "gzip, deflate")
            .header("connection", "keep-alive")
            .header("x-tz-offset", "2");
        request.body(()).expect("a request").into_parts().0
    }

    fn steps(&self) -> Steps<'_> {
        self.rehearsal.steps()
    }

    fn read(&self) -> (Parts, Shown) {
        self.shown(self.parts())
    }

    fn shown(&self, parts: Parts) -> (Parts, Shown) {
        let shown = self.steps().read(&parts);
        (parts, shown)
    }

    fn inbound(&self) -> Inbound {
        self.sanitised(self.parts())
    }

    fn sanitised(&self, parts: Parts) -> Inbound {
        let (parts, shown) = self.shown(parts);
        self.steps().sanitise(parts, shown).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    fn found(&self) -> (Found, Inbound) {
        self.led(self.inbound())
    }

    fn led(&self, inbound: Inbound) -> (Found, Inbound) {
        let caller = self.steps().identify(&inbound);
        let found = self.steps().resolve(&inbound, caller).unwrap_or_else(|refusal| panic!("{refusal}"));
        (found, inbound)
    }

    fn permit(&self) -> (Permit, Inbound) {
        self.permitted(self.inbound())
    }

    fn permitted(&self, inbound: Inbound) -> (Permit, Inbound) {
        let (found, inbound) = self.led(inbound);
        let permit = self.steps().authorise(found, &inbound).unwrap_or_else(|refusal| panic!("{refusal}"));
        (permit, inbound)
    }

    /// Gets ready what the vault has, and makes the request of it.
    fn inject(&self, (permit, inbound): (Permit, Inbound)) -> (Request<()>, Redactor) {
        let authorization = self.vault.authorization(self.credential).expect("a credential that may be sent");
        self.steps().inject(inbound, &permit, authorization).unwrap_or_else(|refusal| panic!("{refusal}"))
    }
}

fn configuration(folder: &std::path::Path) -> Config {
    let file = folder.join("closegate.toml");
    // Texts of which nobody knows the digest: in a rehearsal each has a stand-in.
    let keys: String = (0..KEYS).map(|n| format!("[keys.key-{n}]\nhash = \"sha256:{n:064x}\"\n{KEY}")).collect();
    std::fs::write(&file, format!("{CONFIGURATION}{keys}")).expect("a file");
    let sources = Sources { file: Some(file), environment: Environment::default(), folder: folder.to_owned() };
    config::load(&sources).unwrap_or_else(|faults| panic!("{faults}")).config
}

fn vault(config: &Config) -> Arc<Vault> {
    let options = net::Options {
        ca: None,
        place: None,
        proxy: None,
        connect_timeout: Duration::from_secs(1),
        tls_timeout: Duration::from_secs(1),
    };
    let connector = Arc::new(Connector::new(options).expect("the system's roots"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let circumstances = Circumstances::default();
    let reading = Holdings::read(&config.credentials, Arc::new(Supply::default()), &circumstances);
    let (holdings, _) = runtime.block_on(reading).unwrap_or_else(|faults| panic!("{faults:?}"));
    let telemetry = telemetry();
    let meters = |name: &CredentialName| telemetry.credential_meters(telemetry.credential(name.as_str()));
    // Nobody watches over the credential: it stays as it was read.
    Vault::open(holdings, meters, connector).0
}

fn telemetry() -> Arc<Telemetry> {
    Telemetry::new(Options { max_key_series: 10, access: Access::Json }, io::sink())
}

/// Who asks, where it leads, whether it may, how much.
fn decide(criterion: &mut Criterion) {
    let bench = Bench::new();
    let steps = bench.steps();
    criterion.bench_function("sanitise", |bencher| {
        let sanitise = |(parts, shown)| steps.sanitise(parts, shown);
        bencher.iter_batched(|| bench.read(), sanitise, BatchSize::SmallInput);
    });
    criterion.bench_function("authenticate: read and digest", |bencher| {
        let parts = bench.parts();
        bencher.iter(|| steps.read(black_box(&parts)));
    });
    criterion.bench_function("authenticate: look up", |bencher| {
        let inbound = bench.inbound();
        bencher.iter(|| steps.identify(black_box(&inbound)));
    });
    criterion.bench_function("resolve", |bencher| {
        let inbound = bench.inbound();
        let caller = || steps.identify(&inbound);
        bencher.iter_batched(caller, |caller| steps.resolve(&inbound, caller), BatchSize::SmallInput);
    });
    criterion.bench_function("authorise", |bencher| {
        let inbound = bench.inbound();
        bencher.iter_batched(|| bench.found().0, |found| steps.authorise(found, &inbound), BatchSize::SmallInput);
    });
    criterion.bench_function("admit", |bencher| {
        let permit = |key| bench.permitted(bench.sanitised(bench.parts_of(key))).0;
        let permits: Vec<Permit> = (0..KEYS).map(permit).collect();
        let mut turns = permits.iter().cycle();
        bencher.iter(|| match steps.admit(black_box(turns.next().expect("a cycle has no end"))) {
            Ok(Admission::Given(slot)) => drop(slot),
            Ok(Admission::Awaited(_)) => panic!("it waits for a part of its day"),
            Err(refusal) => panic!("{refusal}"),
        });
    });
    criterion.bench_function("inject", |bencher| {
        bencher.iter_batched(|| bench.permit(), |permitted| bench.inject(permitted), BatchSize::SmallInput);
    });
}

/// The search for the credential, in what does not hold it.
fn redact(criterion: &mut Criterion) {
    let bench = Bench::new();
    let redactor = || bench.inject(bench.permit()).1;
    criterion.bench_function("redact: headers", |bencher| {
        let mut headers = answer();
        let mut redactor = redactor();
        bencher.iter(|| redactor.scrub_headers(black_box(&mut headers)));
    });
    let mut bodies = criterion.benchmark_group("redact: body");
    for length in [1024, 64 * 1024] {
        let body = body(length);
        bodies.throughput(Throughput::Bytes(body.len() as u64));
        bodies.bench_function(format!("{length} bytes"), |bencher| {
            let scrub = |mut redactor: Redactor| {
                let scrubbed = redactor.scrub(black_box(body.clone()));
                (scrubbed, redactor.finish())
            };
            bencher.iter_batched(redactor, scrub, BatchSize::SmallInput);
        });
    }
    bodies.finish();
}

/// Headers as Close sends them.
fn answer() -> HeaderMap {
    let response = http::Response::builder()
        .header("content-type", "application/json")
        .header("content-length", "1024")
        .header("date", "Fri, 27 Nov 2026 12:00:00 GMT")
        .header("ratelimit", "limit=160, remaining=159, reset=1")
        .header("trace-id", "0af7651916cd43dd8448eb211c80319c")
        .header("vary", "Accept-Encoding");
    response.body(()).expect("a response").into_parts().0.headers
}

/// Leads, one after the other, as JSON.
fn body(length: usize) -> Bytes {
    let lead = r#"{"id": "lead_70jZ5hiVt5X31MZ3vJ0R9GJ3aZ1YPBxQ", "display_name": "Wayne Enterprises (Sample)", "status_label": "Potential"}, "#;
    Bytes::from(lead.bytes().cycle().take(length).collect::<Vec<u8>>())
}

/// Counting a request and writing its record.
fn record(criterion: &mut Criterion) {
    let telemetry = telemetry();
    let core = telemetry.core();
    let record = finished(&telemetry, &core);
    criterion.bench_function("record", |bencher| {
        bencher.iter_custom(|times| {
            let mut lasted = Duration::ZERO;
            let mut left = times;
            while left > 0 {
                let some = left.min(RECORDS);
                let begun = Instant::now();
                for _ in 0..some {
                    core.begin(record.route);
                    core.finish(black_box(&record));
                }
                lasted += begun.elapsed();
                left -= some;
                // A buffer that is full takes none: they would be counted as dropped, which is cheaper.
                telemetry.flush();
            }
            lasted
        });
    });
    assert!(telemetry.render().contains("closegate_access_records_dropped_total 0\n"), "records were dropped");
}

/// Records between two writes; less than a buffer holds.
const RECORDS: u64 = 500;

fn finished(telemetry: &Telemetry, core: &Core) -> Record {
    Record {
        started: Instant::now(),
        began: Some(telemetry.route("sales")),
        request_id: core.request_id(),
        client: Client::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        key: telemetry.key("bench"),
        route: telemetry.route("sales"),
        credential: telemetry.credential("sales"),
        method: Some(Method::GET),
        target: Some(PathAndQuery::from_static(TARGET)),
        endpoint: Some("/api/v1/lead/"),
        scope: Some("read"),
        status: 200,
        code: None,
        origin: Answerer::Upstream,
        attempts: 1,
        paced: Duration::ZERO,
        upstream_first_byte: Some(Duration::from_micros(81_234)),
        request_bytes: 0,
        response_bytes: 1024,
        user_agent: Some(HeaderValue::from_static("python-requests/2.32.3")),
        traceparent: None,
        upstream_trace_id: Some(HeaderValue::from_static("0af7651916cd43dd8448eb211c80319c")),
        retries: Retries::default(),
        redactions: 0,
        truncated: false,
    }
}

criterion_group!(hot_path, decide, redact, record);
criterion_main!(hot_path);
