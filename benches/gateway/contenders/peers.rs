//! The other proxies, each configured to do no more than what is compared: 401 without the key, else the credential
//! goes in; one worker, TLS 1.3 with the origin's certificate checked, connections kept, no log.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Contender, Place, injected, presented};
use crate::Result;

/// A peer that listens on a port of loopback.
pub(super) fn command(peer: Contender, place: &Place<'_>, port: u16) -> Result<Command> {
    let mut command = peer.executable()?;
    let folder = place.folder;
    match peer {
        Contender::Nginx => {
            let file = written(folder, "nginx.conf", nginx(place, port))?;
            command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(file);
        }
        Contender::HaproxyH1 | Contender::HaproxyH2 => {
            let protocol = if peer == Contender::HaproxyH1 { "http/1.1" } else { "h2" };
            let file = written(folder, "haproxy.cfg", haproxy(place, port, protocol))?;
            command.arg("-db").arg("-q").arg("-f").arg(file);
        }
        Contender::Envoy => {
            let file = written(folder, "envoy.yaml", envoy(place, port))?;
            command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(file);
        }
        Contender::Caddy => {
            let file = written(folder, "Caddyfile", caddy(place, port))?;
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            command.env("GOMAXPROCS", "1").env("HOME", folder).env("XDG_DATA_HOME", folder);
        }
        Contender::Pingora => {
            let (listen, origin) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", place.origin));
            command.args([listen, origin]).arg(folder.join("ca.pem")).args([presented(), injected()]);
        }
        Contender::Closegate(_) | Contender::Upto(_) => return Err("closegate is no peer of its own".into()),
    }
    Ok(command)
}

fn written(folder: &Path, name: &str, text: String) -> Result<std::path::PathBuf> {
    let file = folder.join(name);
    fs::write(&file, text)?;
    Ok(file)
}

fn nginx(place: &Place<'_>, port: u16) -> String {
    let folder = place.folder.display();
    let (origin, presented, injected) = (place.origin, presented(), injected());
    format!(
        r#"daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    client_body_buffer_size 128k;
    map $http_authorization $known {{
        default 0;
        "{presented}" 1;
    }}
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            if ($known = 0) {{ return 401; }}
            proxy_pass https://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost;
            proxy_set_header Authorization "{injected}";
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_session_reuse on;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {folder}/ca.pem;
        }}
    }}
}}
"#
    )
}

fn haproxy(place: &Place<'_>, port: u16, protocol: &str) -> String {
    let folder = place.folder.display();
    let (origin, presented, injected) = (place.origin, presented(), injected());
    format!(
        r#"global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend tools
    bind 127.0.0.1:{port} backlog 4096
    acl known req.hdr(authorization) -m str "{presented}"
    http-request deny deny_status 401 unless known
    http-request set-header Authorization "{injected}"
    http-request set-header Host localhost
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin} ssl verify required verifyhost localhost ca-file {folder}/ca.pem sni str(localhost) alpn {protocol} ssl-min-ver TLSv1.3
"#
    )
}

fn envoy(place: &Place<'_>, port: u16) -> String {
    let folder = place.folder.display();
    let (origin, presented, injected) = (place.origin, presented(), injected());
    format!(
        r#"static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: tools
          codec_type: HTTP1
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/", headers: [{{ name: authorization, string_match: {{ exact: "{presented}" }} }}] }}
                route: {{ cluster: origin, host_rewrite_literal: localhost, timeout: 0s }}
                request_headers_to_add:
                - {{ header: {{ key: authorization, value: "{injected}" }}, append_action: OVERWRITE_IF_EXISTS_OR_ADD }}
              - match: {{ prefix: "/" }}
                direct_response: {{ status: 401 }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: origin
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {origin} }} }} }}
    circuit_breakers: {{ thresholds: [{{ max_connections: 4096, max_pending_requests: 4096, max_requests: 4096 }}] }}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
          validation_context:
            trusted_ca: {{ filename: "{folder}/ca.pem" }}
            match_typed_subject_alt_names: [{{ san_type: DNS, matcher: {{ exact: localhost }} }}]
"#
    )
}

fn caddy(place: &Place<'_>, port: u16) -> String {
    let folder = place.folder.display();
    let (origin, presented, injected) = (place.origin, presented(), injected());
    format!(
        r#"{{
    admin off
    auto_https off
    persist_config off
    log default {{
        output discard
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    @known header Authorization "{presented}"
    handle @known {{
        reverse_proxy https://127.0.0.1:{origin} {{
            header_up Authorization "{injected}"
            header_up Host localhost
            transport http {{
                tls_server_name localhost
                tls_trust_pool file {folder}/ca.pem
                versions 1.1
                keepalive_idle_conns_per_host 512
            }}
        }}
    }}
    handle {{
        respond 401
    }}
}}
"#
    )
}
