//! HTTP/2 towards the upstream: one connection for many requests, and each of them as safe as on a connection of its own.

mod bodies;
mod choice;
mod origin;
mod reuse;

use std::net::SocketAddr;

use crate::faults::head;
use crate::world::{Setup, gateway};

/// A gateway that speaks HTTP/2 to an upstream in clear text.
fn speaking_h2(upstream: SocketAddr) -> Setup {
    gateway(upstream).key("\"sales\"").set("upstream", "http = \"h2\"")
}

/// A POST with nothing to send.
fn empty_post() -> String {
    head("POST", "/sales/api/v1/lead/", "Content-Length: 0\r\n")
}
