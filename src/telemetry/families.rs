//! The families of metrics: every name, type, set of labels and meaning, in one table that `docs/metrics.md` repeats.

use std::fmt::Write as _;

/// The type of a family, as Prometheus knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A family of series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family<const LABELS: usize> {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: [&'static str; LABELS],
    pub(super) help: &'static str,
}

impl<const LABELS: usize> Family<LABELS> {
    const fn counter(name: &'static str, labels: [&'static str; LABELS], help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    const fn gauge(name: &'static str, labels: [&'static str; LABELS], help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    const fn histogram(name: &'static str, labels: [&'static str; LABELS], help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, labels, help }
    }

    /// Writes the lines that precede the series.
    pub(super) fn write_head(&self, text: &mut String) {
        let Self { name, kind, help, .. } = self;
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str());
    }
}

pub(super) const REQUESTS: Family<5> = Family::counter(
    "closegate_requests_total",
    ["route", "credential", "key", "method", "status"],
    "Requests that ended, refused ones among them; status 499 is a client that left.",
);
pub(super) const ENDPOINT_REQUESTS: Family<4> = Family::counter(
    "closegate_endpoint_requests_total",
    ["credential", "endpoint", "method", "status_class"],
    "Requests that ended, by operation of Close's API.",
);
pub(super) const REQUEST_DURATION: Family<1> = Family::histogram(
    "closegate_request_duration_seconds",
    ["route"],
    "From a request's first byte to the end of its answer.",
);
pub(super) const FIRST_BYTE: Family<1> = Family::histogram(
    "closegate_upstream_first_byte_seconds",
    ["route"],
    "From sending a request upstream to the first byte of the answer.",
);
pub(super) const IN_FLIGHT: Family<1> =
    Family::gauge("closegate_in_flight_requests", ["route"], "Requests on a route that have not ended.");
pub(super) const REQUEST_BYTES: Family<2> =
    Family::counter("closegate_request_bytes_total", ["route", "key"], "Bytes of request bodies.");
pub(super) const RESPONSE_BYTES: Family<2> =
    Family::counter("closegate_response_bytes_total", ["route", "key"], "Bytes of response bodies.");
pub(super) const REFUSED: Family<2> = Family::counter(
    "closegate_refused_requests_total",
    ["route", "code"],
    "Requests that the gateway answered itself with an error, by its code.",
);
pub(super) const RETRIES: Family<2> = Family::counter(
    "closegate_upstream_retries_total",
    ["route", "reason"],
    "Requests sent upstream again, because that was safe.",
);
pub(super) const TRUNCATED: Family<1> =
    Family::counter("closegate_truncated_responses_total", ["route"], "Answers that ended early.");
pub(super) const REDACTIONS: Family<1> = Family::counter(
    "closegate_redactions_total",
    ["credential"],
    "Secrets that an upstream sent back and that were overwritten.",
);
pub(super) const LIMIT_REMAINING: Family<2> = Family::gauge(
    "closegate_rate_limit_remaining",
    ["credential", "group"],
    "Requests that a credential has left in the current window, by what its answers told.",
);
pub(super) const LIMIT_QUOTA: Family<2> = Family::gauge(
    "closegate_rate_limit_quota",
    ["credential", "group"],
    "Requests that a window takes, by what the credential's answers told.",
);
pub(super) const PACING_WAIT: Family<1> = Family::histogram(
    "closegate_pacing_wait_seconds",
    ["credential"],
    "How long requests that were held for a rate limit were held.",
);
pub(super) const CREDENTIAL_UP: Family<1> = Family::gauge(
    "closegate_credential_up",
    ["credential"],
    "1 while the credential is used, 0 while it is unreadable, found rejected, or has no grant that works.",
);
pub(super) const REJECTIONS: Family<1> = Family::counter(
    "closegate_credential_rejections_total",
    ["credential"],
    "How often Close was found to reject the credential.",
);
pub(super) const PROMOTIONS: Family<1> = Family::counter(
    "closegate_credential_promotions_total",
    ["credential"],
    "How often the credential's next secret took over.",
);
pub(super) const TOKEN_EXPIRY: Family<1> = Family::gauge(
    "closegate_credential_token_expiry_timestamp_seconds",
    ["credential"],
    "When the access token of an OAuth credential ends, in seconds since 1970.",
);
pub(super) const REFRESHES: Family<2> = Family::counter(
    "closegate_credential_refreshes_total",
    ["credential", "outcome"],
    "How often the access token of an OAuth credential was refreshed, by how that ended.",
);
pub(super) const KEY_LAST_USED: Family<1> = Family::gauge(
    "closegate_key_last_used_timestamp_seconds",
    ["key"],
    "When the last request with the key ended, in seconds since 1970.",
);
pub(super) const KEY_CREATED: Family<1> = Family::gauge(
    "closegate_key_created_timestamp_seconds",
    ["key"],
    "When the key was made, or first read from the configuration, in seconds since 1970.",
);
pub(super) const KEY_EXPIRY: Family<1> = Family::gauge(
    "closegate_key_expiry_timestamp_seconds",
    ["key"],
    "From when on the key is refused, in seconds since 1970.",
);
pub(super) const UPSTREAM_CONNECTIONS: Family<2> = Family::gauge(
    "closegate_upstream_connections",
    ["upstream", "state"],
    "Connections to an upstream: active with a request, or idle in the pool.",
);
pub(super) const CONNECTIONS: Family<1> =
    Family::gauge("closegate_connections", ["listener"], "Connections of clients.");
pub(super) const RELOADS: Family<1> = Family::counter(
    "closegate_config_reloads_total",
    ["outcome"],
    "How often the configuration was loaded again: success or failure.",
);
pub(super) const RELOADED: Family<0> = Family::gauge(
    "closegate_config_last_reload_successful",
    [],
    "1 while the configuration that was loaded last is in force, 0 when it had faults.",
);
pub(super) const RELOADED_AT: Family<0> = Family::gauge(
    "closegate_config_last_reload_success_timestamp_seconds",
    [],
    "When a configuration was loaded without a fault last, in seconds since 1970; at first the start.",
);
pub(super) const STORE_UP: Family<0> =
    Family::gauge("closegate_store_up", [], "1 while the store works, or was never needed; 0 while it is lost.");
pub(super) const DROPPED_RECORDS: Family<0> = Family::counter(
    "closegate_access_records_dropped_total",
    [],
    "Access records and events dropped because stdout was blocked or failed.",
);
pub(super) const BUILD_INFO: Family<3> =
    Family::gauge("closegate_build_info", ["version", "revision", "rustc"], "Always 1; the labels say what runs.");
pub(super) const CPU_SECONDS: Family<0> =
    Family::counter("process_cpu_seconds_total", [], "CPU time in user and system mode, in seconds.");
pub(super) const RESIDENT_MEMORY: Family<0> =
    Family::gauge("process_resident_memory_bytes", [], "Resident memory, in bytes.");
pub(super) const VIRTUAL_MEMORY: Family<0> =
    Family::gauge("process_virtual_memory_bytes", [], "Virtual memory, in bytes.");
pub(super) const START_TIME: Family<0> =
    Family::gauge("process_start_time_seconds", [], "When the process started, in seconds since 1970.");
pub(super) const THREADS: Family<0> = Family::gauge("process_threads", [], "Threads.");
pub(super) const OPEN_FDS: Family<0> = Family::gauge("process_open_fds", [], "Open file descriptors.");
pub(super) const MAX_FDS: Family<0> =
    Family::gauge("process_max_fds", [], "Most file descriptors that may be open at once.");
