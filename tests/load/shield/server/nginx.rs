// SPDX-License-Identifier: Apache-2.0
//! nginx: `proxy_cache` with its files in memory, read by sendfile through a cache of open files; one fill at a time.

use super::{Ports, Site, Start, installed};
use crate::process::Scratch;
use crate::shield::cores::Core;

pub(super) fn start(site: &Site<'_>, scratch: Scratch) -> Result<Start, String> {
    let program = installed(&["/usr/sbin/nginx", "/usr/local/sbin/nginx"])?;
    let ports = Ports::free(site.certificate.is_some());
    let path = scratch.write("nginx.conf", &text(site, &ports, &scratch));
    let mut command = Core::Server.command(program);
    command.arg("-c").arg(path);
    Ok(Start { command, ports, scratch })
}

/// Without `tcp_nopush`, against the manual: with it an answer over loopback waits for a delayed acknowledgement, 40 ms.
fn text(site: &Site<'_>, ports: &Ports, scratch: &Scratch) -> String {
    let folder = scratch.folder().display();
    let seconds = site.answer_within.as_secs();
    let megabytes = site.memory_bytes >> 20;
    let mut listens = format!("listen 127.0.0.1:{} backlog=4096;", ports.http);
    if let Some(port) = ports.h2c {
        listens += &format!(" listen 127.0.0.1:{port} http2;");
    }
    if let Some((port, certificate)) = ports.tls.zip(site.certificate) {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        listens += &format!(" listen 127.0.0.1:{port} ssl; ssl_certificate {chain}; ssl_certificate_key {key};");
    }
    let mut origins = String::new();
    for (at, port) in site.origins.iter().enumerate() {
        let role = if at > 0 {
            "backup"
        } else if site.origins.len() > 1 {
            "max_fails=2 fail_timeout=10s"
        } else {
            "max_fails=0"
        };
        origins += &format!("server 127.0.0.1:{port} {role}; ");
    }
    // Cached files belong to whom runs this, so that a worker of another user finds its folder.
    let user = if scratch.folder().starts_with("/dev/shm") { "user root;" } else { "" };
    format!(
        "daemon off; {user} worker_processes 1; pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; ssl_protocols TLSv1.3;
  keepalive_requests 1000000000; keepalive_timeout 300s;
  open_file_cache max=20000 inactive=300s; open_file_cache_valid 300s;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=objects:32m max_size={megabytes}m inactive=1h use_temp_path=off;
  upstream origin {{ {origins} keepalive 64; }}
  server {{
    {listens}
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;
      proxy_cache objects; proxy_cache_key $request_uri; proxy_cache_revalidate on;
      proxy_cache_lock on; proxy_cache_lock_timeout 30s; proxy_cache_lock_age 30s;
      proxy_connect_timeout 1s; proxy_read_timeout {seconds}s;
      proxy_next_upstream error timeout http_500 http_502 http_503 http_504; proxy_next_upstream_tries 2;
    }}
  }}
}}
"
    )
}
