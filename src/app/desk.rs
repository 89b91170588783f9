//! What the page tells of the gateway: where tools reach it, and under which address the page itself is found.

use std::net::SocketAddr;

use crate::admin;
use crate::admin::model::{Entrance, Place};
use crate::config::{Admin, Config};
use crate::edge::Local;

/// Where tools reach the gateway: each socket under the label of its listener.
pub(super) fn place(config: &Config, sockets: &[(String, Local)]) -> Place {
    let entrance = |(label, local): &(String, Local)| {
        let named = config.all_listeners().find(|named| named.label == label)?;
        let address = match local {
            Local::Tcp(address) => address.to_string(),
            Local::Unix(path) => format!("unix:{}", path.as_ref()?.display()),
        };
        let (tls, hosts) = (named.listener.tls.is_some(), named.listener.hosts.clone());
        Some(Entrance {
            name: label.clone(),
            address,
            tls,
            hosts: hosts.into_iter().map(|host| host.to_string()).collect(),
        })
    };
    Place {
        public_url: config.admin.public_url.as_ref().map(ToString::to_string),
        listeners: sockets.iter().filter_map(entrance).collect(),
        ..Place::default()
    }
}

/// The address of the page, as a browser on this machine or outside reaches it.
pub(super) fn page(config: &Config, listening: SocketAddr) -> String {
    if let Some(url) = &config.admin.public_url {
        return format!("{url}/");
    }
    let scheme = if config.admin.tls.is_some() { "https" } else { "http" };
    let admin = Admin { address: listening, ..config.admin.clone() };
    format!("{scheme}://{}/", admin::reachable(&admin))
}
