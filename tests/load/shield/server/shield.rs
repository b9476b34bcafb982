// SPDX-License-Identifier: Apache-2.0
//! The shield: one worker, everything else as it comes.

use super::{Ports, Site, Start};
use crate::process::{Scratch, free_port};
use crate::shield::cores::Core;

pub(super) fn start(site: &Site<'_>, scratch: Scratch, tls: bool) -> Result<Start, String> {
    let program = super::installed(&[site.program])?;
    let port = free_port();
    let ports = Ports { http: port, h2c: Some(port), tls: tls.then_some(port) };
    let origins: Vec<String> = site.origins.iter().map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
    let mut text = format!("listen = \"127.0.0.1:{port}\"\n");
    if let Some(certificate) = site.certificate.filter(|_| tls) {
        text += &format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", certificate.chain, certificate.key);
    }
    text += &format!(
        "[cache]\nmemory_bytes_max = {}\n[upstreams.main]\norigins = [{}]\n{}[routes.all]\nupstream = \"main\"\n",
        site.memory_bytes * 5 / 4,
        origins.join(", "),
        if site.origins.len() > 1 { "identical = true\n" } else { "" }
    );
    if site.follows {
        text += &format!("[follow]\nfrom = [{}]\nprefetch = \"all\"\n", origins.join(", "));
    }
    let path = scratch.write("shield.toml", &text);
    let mut command = Core::Server.command(program);
    command.args(["shield", "--workers", "1", "--config"]).arg(path).env("RUST_LOG", "error");
    Ok(Start { command, ports, scratch })
}
