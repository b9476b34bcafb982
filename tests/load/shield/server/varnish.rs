// SPDX-License-Identifier: Apache-2.0
//! Varnish: malloc storage, streaming fills that collapse, a fallback director with probes, a retry on the second origin.
//! It has no TLS.

use super::{Ports, Site, Start, installed};
use crate::process::{Scratch, free_port};
use crate::shield::cores::Core;

pub(super) fn start(site: &Site<'_>, scratch: Scratch) -> Result<Start, String> {
    let program = installed(&["/usr/sbin/varnishd", "/usr/local/sbin/varnishd"])?;
    let port = free_port();
    let ports = Ports { http: port, h2c: Some(port), tls: None };
    let vcl = scratch.write("default.vcl", &text(site));
    let mut command = Core::Server.command(program);
    command.args(["-F", "-j", "none", "-n"]).arg(scratch.folder().join("work"));
    command.args(["-a", &format!("127.0.0.1:{port},HTTP")]).arg("-f").arg(vcl);
    command.args(["-s", &format!("malloc,{}m", (site.memory_bytes >> 20) * 5 / 4)]);
    // One pool for one core; a thread for each answer that is being written.
    for parameter in [
        "thread_pools=1",
        "thread_pool_min=200",
        "thread_pool_max=6000",
        "thread_queue_limit=10000",
        "feature=+http2",
        "timeout_idle=300",
        "listen_depth=4096",
        "default_grace=0",
        "max_retries=2",
    ] {
        command.args(["-p", parameter]);
    }
    Ok(Start { command, ports, scratch })
}

fn text(site: &Site<'_>) -> String {
    let seconds = site.answer_within.as_secs();
    let several = site.origins.len() > 1;
    let probe = if several {
        ".probe = { .url = \"/healthz\"; .interval = 1s; .timeout = 500ms; .window = 4; .threshold = 3; .initial = 4; }"
    } else {
        ""
    };
    let mut backends = String::new();
    for (at, port) in site.origins.iter().enumerate() {
        backends += &format!(
            "backend origin{at} {{ .host = \"127.0.0.1\"; .port = \"{port}\"; .connect_timeout = 500ms; \
             .first_byte_timeout = {seconds}s; .between_bytes_timeout = {seconds}s; {probe} }}\n"
        );
    }
    let failover = if several {
        "sub vcl_init { new group = directors.fallback(); group.add_backend(origin0); group.add_backend(origin1); }
sub vcl_backend_fetch {
  if (bereq.retries == 0) { set bereq.backend = group.backend(); } else { set bereq.backend = origin1; }
}
sub vcl_backend_error { if (bereq.retries == 0) { return (retry); } }
"
    } else {
        ""
    };
    let retry = if several { "if (beresp.status >= 500 && bereq.retries == 0) { return (retry); }" } else { "" };
    format!(
        "vcl 4.1;
import directors;
{backends}{failover}sub vcl_backend_response {{ {retry} set beresp.do_stream = true; }}
"
    )
}
