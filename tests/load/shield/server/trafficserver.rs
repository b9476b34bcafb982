// SPDX-License-Identifier: Apache-2.0
//! Traffic Server: one event thread, everything in its memory cache, readers while a writer is at work, parents.

use super::{Ports, Site, Start, installed};
use crate::process::{Scratch, free_port};
use crate::shield::cores::Core;

pub(super) fn start(site: &Site<'_>, scratch: Scratch) -> Result<Start, String> {
    let program = installed(&["/usr/bin/traffic_server", "/usr/local/bin/traffic_server"])?;
    let port = free_port();
    // A connection that begins as HTTP/2 does is spoken to so.
    let ports = Ports { http: port, h2c: Some(port), tls: site.certificate.map(|_| free_port()) };
    let folder = scratch.folder();
    for name in ["etc", "cache", "log", "run", "data"] {
        std::fs::create_dir_all(folder.join(name)).map_err(|e| e.to_string())?;
    }
    let at = |name: &str| folder.join(name).display().to_string();
    let root = scratch.write(
        "runroot.yaml",
        &format!(
            "prefix: /usr\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nlibdir: /usr/lib/trafficserver\n\
             libexecdir: /usr/lib/trafficserver/modules\nincludedir: /usr/include\ndatadir: {data}\n\
             sysconfdir: {etc}\nlocalstatedir: {run}\nruntimedir: {run}\nlogdir: {log}\ncachedir: {cache}\n",
            data = at("data"),
            etc = at("etc"),
            run = at("run"),
            log = at("log"),
            cache = at("cache"),
        ),
    );
    scratch.write("etc/records.config", &records(site, &ports, &scratch));
    // It knows parents by their names alone, ports apart, and asks none for a bare address; where there is no choice of
    // parents, an address needs no look-up.
    let name = if site.origins.len() > 1 { "origin0.example" } else { "127.0.0.1" };
    scratch.write("etc/remap.config", &format!("map / http://{name}:{}/\n", site.origins[0]));
    scratch.write("etc/hosts", "127.0.0.1 origin0.example origin1.example\n");
    scratch.write("etc/storage.config", &format!("{} {}M\n", at("cache"), (site.memory_bytes >> 20) * 3 / 2 + 256));
    scratch.write("etc/parent.config", &parents(site));
    scratch.write("etc/plugin.config", "");
    scratch.write(
        "etc/ip_allow.yaml",
        "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n",
    );
    if let Some(certificate) = site.certificate {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        scratch.write("etc/ssl_multicert.config", &format!("dest_ip=* ssl_cert_name={chain} ssl_key_name={key}\n"));
    }
    let mut command = Core::Server.command(program);
    command.arg(format!("--run-root={}", root.display()));
    Ok(Start { command, ports, scratch })
}

fn records(site: &Site<'_>, ports: &Ports, scratch: &Scratch) -> String {
    let mut listens = format!("{}:ip-in=127.0.0.1:proto=http2;http", ports.http);
    if let Some(port) = ports.tls {
        listens += &format!(" {port}:ip-in=127.0.0.1:ssl");
    }
    let seconds = site.answer_within.as_secs();
    let parents = i32::from(site.origins.len() > 1);
    let hosts = scratch.folder().join("etc/hosts");
    format!(
        "CONFIG proxy.config.http.server_ports STRING {listens}
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.cache.threads_per_disk INT 4
CONFIG proxy.config.cache.ram_cache.size INT {memory}
CONFIG proxy.config.cache.ram_cache_cutoff INT 134217728
CONFIG proxy.config.cache.min_average_object_size INT 32768
CONFIG proxy.config.cache.enable_read_while_writer INT 1
CONFIG proxy.config.http.background_fill_active_timeout INT 0
CONFIG proxy.config.http.background_fill_completed_threshold FLOAT 0.0
CONFIG proxy.config.http.cache.max_open_read_retries INT 600
CONFIG proxy.config.http.cache.open_read_retry_time INT 50
CONFIG proxy.config.http.cache.open_write_fail_action INT 5
CONFIG proxy.config.http.cache.max_open_write_retries INT 1
CONFIG proxy.config.http.cache.required_headers INT 2
CONFIG proxy.config.http.wait_for_cache INT 2
CONFIG proxy.config.http.insert_age_in_response INT 1
CONFIG proxy.config.http.insert_response_via_str INT 0
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 300
CONFIG proxy.config.http.transaction_no_activity_timeout_in INT 300
CONFIG proxy.config.http.transaction_no_activity_timeout_out INT {seconds}
CONFIG proxy.config.http.connect_attempts_timeout INT {seconds}
CONFIG proxy.config.http.connect_attempts_max_retries INT 1
CONFIG proxy.config.http.connect_attempts_rr_retries INT 1
CONFIG proxy.config.hostdb.host_file.path STRING {hosts}
CONFIG proxy.config.http.parent_proxy.self_detect INT 0
CONFIG proxy.config.http.parent_proxy.per_parent_connect_attempts INT 1
CONFIG proxy.config.http.parent_proxy.total_connect_attempts INT 3
CONFIG proxy.config.http.parent_proxy.fail_threshold INT 2
CONFIG proxy.config.http.parent_proxy.retry_time INT 10
CONFIG proxy.config.http.parent_proxy.connect_attempts_timeout INT {seconds}
CONFIG proxy.config.http.parent_proxy.mark_down_hostdb INT {parents}
CONFIG proxy.config.net.connections_throttle INT 18000
CONFIG proxy.config.net.listen_backlog INT 4096
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.reverse_proxy.enabled INT 1
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.diags.output.status STRING E
CONFIG proxy.config.diags.output.note STRING E
CONFIG proxy.config.http.slow.log.threshold INT 0
",
        memory = site.memory_bytes * 5 / 4,
        hosts = hosts.display(),
    )
}

fn parents(site: &Site<'_>) -> String {
    if site.origins.len() < 2 {
        return String::new();
    }
    let parents: Vec<String> =
        site.origins.iter().enumerate().map(|(at, port)| format!("origin{at}.example:{port}")).collect();
    format!(
        "dest_domain=. parent=\"{}\" round_robin=false parent_is_proxy=false go_direct=false \
         parent_retry=both max_simple_retries=1 simple_server_retry_responses=\"404\" \
         max_unavailable_server_retries=1 unavailable_server_retry_responses=\"500,502,503,504\"\n",
        parents.join(";")
    )
}
