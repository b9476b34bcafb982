// SPDX-License-Identifier: Apache-2.0
//! Squid: an accelerator that keeps everything in memory and collapses misses. It has no HTTP/2.

use super::{Ports, Site, Start, installed};
use crate::process::{Scratch, free_port};
use crate::shield::cores::Core;

pub(super) fn start(site: &Site<'_>, scratch: Scratch) -> Result<Start, String> {
    let program = installed(&["/usr/sbin/squid", "/usr/local/squid/sbin/squid"])?;
    let ports = Ports { http: free_port(), h2c: None, tls: None };
    // Started by root it goes on as another user.
    let _ = std::process::Command::new("chmod").arg("0777").arg(scratch.folder()).status();
    let path = scratch.write("squid.conf", &text(site, &ports, &scratch));
    let mut command = Core::Server.command(program);
    command.args(["-N", "-f"]).arg(path);
    Ok(Start { command, ports, scratch })
}

fn text(site: &Site<'_>, ports: &Ports, scratch: &Scratch) -> String {
    let folder = scratch.folder().display();
    let seconds = site.answer_within.as_secs();
    let megabytes = (site.memory_bytes >> 20) * 5 / 4;
    let mut peers = String::new();
    for (at, port) in site.origins.iter().enumerate() {
        peers += &format!(
            "cache_peer 127.0.0.1 parent {port} 0 no-query no-digest originserver name=origin{at} \
             connect-timeout=1 connect-fail-limit=2\n"
        );
    }
    format!(
        "http_port 127.0.0.1:{port} accel defaultsite=shield.example no-vhost
{peers}http_access allow all
never_direct allow all
cache_mem {megabytes} MB
maximum_object_size_in_memory 64 MB
maximum_object_size 64 MB
memory_cache_mode always
collapsed_forwarding on
quick_abort_min -1 KB
read_timeout {seconds} seconds
connect_timeout 1 seconds
retry_on_error on
client_persistent_connections on
server_persistent_connections on
pconn_lifetime 0 seconds
client_idle_pconn_timeout 300 seconds
max_filedescriptors 20000
access_log none
cache_log {folder}/cache.log
cache_store_log none
coredump_dir {folder}
pid_filename {folder}/pid
pinger_enable off
icp_port 0
via off
visible_hostname squid
shutdown_lifetime 0 seconds
",
        port = ports.http
    )
}
