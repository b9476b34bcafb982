// SPDX-License-Identifier: Apache-2.0
//! HAProxy: one thread, its `cache`, retries on another origin. It has no collapsing: each miss asks the origin.

use super::{Ports, Site, Start, installed};
use crate::process::Scratch;
use crate::shield::cores::Core;

pub(super) fn start(site: &Site<'_>, scratch: Scratch) -> Result<Start, String> {
    let program = installed(&["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"])?;
    let ports = Ports::free(site.certificate.is_some());
    let path = scratch.write("haproxy.cfg", &text(site, &ports));
    let mut command = Core::Server.command(program);
    command.arg("-db").arg("-f").arg(path);
    Ok(Start { command, ports, scratch })
}

fn text(site: &Site<'_>, ports: &Ports) -> String {
    let milliseconds = site.answer_within.as_millis();
    // Beyond 4095 MB or half of the whole it refuses to start.
    let megabytes = (site.memory_bytes >> 20).min(4_095);
    let object = (site.memory_bytes / 2).min(64 << 20);
    let mut binds = format!("  bind 127.0.0.1:{} backlog 4096\n", ports.http);
    if let Some(port) = ports.h2c {
        binds += &format!("  bind 127.0.0.1:{port} proto h2\n");
    }
    if let Some((port, certificate)) = ports.tls.zip(site.certificate) {
        binds += &format!("  bind 127.0.0.1:{port} ssl crt {} ssl-min-ver TLSv1.3\n", certificate.both.display());
    }
    let check = if site.origins.len() > 1 {
        "check inter 1s fall 2 rise 2 observe layer7 error-limit 10 on-error mark-down"
    } else {
        ""
    };
    let mut servers = String::new();
    for (at, port) in site.origins.iter().enumerate() {
        servers += &format!("  server origin{at} 127.0.0.1:{port} {check}\n");
    }
    format!(
        "global
  nbthread 1
  maxconn 12000
  no strict-limits
  tune.http.maxhdr 101
defaults
  mode http
  option http-keep-alive
  http-reuse aggressive
  timeout connect 500ms
  timeout client 300s
  timeout http-keep-alive 300s
  timeout server {milliseconds}ms
  timeout check 500ms
cache objects
  total-max-size {megabytes}
  max-object-size {object}
  max-age 3600
frontend edge
{binds}  http-request cache-use objects
  http-response cache-store objects
  default_backend origins
backend origins
  balance roundrobin
  retries 3
  retry-on conn-failure empty-response response-timeout 500 502 503 504
  option redispatch 1
  option httpchk GET /healthz
{servers}"
    )
}
