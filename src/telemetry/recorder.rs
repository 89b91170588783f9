//! The exporter's recorder, before anything is counted: every family is described.

use metrics::{Key, Level, Metadata, Recorder as _, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::families::{self as family, Family, Kind};

/// A recorder that knows all families that it keeps, and what was built.
pub(super) fn described() -> PrometheusRecorder {
    let recorder = PrometheusBuilder::new().build_recorder();
    describe_all(&recorder);
    let build = [env!("CARGO_PKG_VERSION"), REVISION, RUSTC].map(SharedString::const_str);
    recorder.register_gauge(&key(&family::BUILD_INFO, build), &METADATA).set(1.0);
    recorder
}

/// What the recorder calls a series of a family.
pub(super) fn key<const LABELS: usize>(family: &Family<LABELS>, values: [SharedString; LABELS]) -> Key {
    let pairs = family.labels.into_iter().zip(values);
    Key::from_parts(family.name, pairs.map(|(name, value)| metrics::Label::new(name, value)).collect::<Vec<_>>())
}

fn describe_all(recorder: &PrometheusRecorder) {
    describe(recorder, &family::REQUESTS);
    describe(recorder, &family::ENDPOINT_REQUESTS);
    describe(recorder, &family::IN_FLIGHT);
    describe(recorder, &family::REQUEST_BYTES);
    describe(recorder, &family::RESPONSE_BYTES);
    describe(recorder, &family::REFUSED);
    describe(recorder, &family::RETRIES);
    describe(recorder, &family::TRUNCATED);
    describe(recorder, &family::REDACTIONS);
    describe(recorder, &family::REJECTIONS);
    describe(recorder, &family::PROMOTIONS);
    describe(recorder, &family::REFRESHES);
    describe(recorder, &family::UPSTREAM_CONNECTIONS);
    describe(recorder, &family::CONNECTIONS);
    describe(recorder, &family::RELOADS);
    describe(recorder, &family::RELOADED);
    describe(recorder, &family::RELOADED_AT);
    describe(recorder, &family::STORE_UP);
    describe(recorder, &family::DROPPED_RECORDS);
    describe(recorder, &family::BUILD_INFO);
}

fn describe<const LABELS: usize>(recorder: &PrometheusRecorder, family: &Family<LABELS>) {
    let (name, help) = (family.name.into(), family.help.into());
    match family.kind {
        Kind::Counter => recorder.describe_counter(name, None, help),
        Kind::Gauge => recorder.describe_gauge(name, None, help),
        Kind::Histogram => recorder.describe_histogram(name, None, help),
    }
}

/// The recorder takes one with each series, and reads nothing of it.
pub(super) const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// What the build script found out; a build without it does not know.
const REVISION: &str = match option_env!("CLOSEGATE_BUILD_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
const RUSTC: &str = match option_env!("CLOSEGATE_BUILD_RUSTC") {
    Some(rustc) => rustc,
    None => "unknown",
};
