// SPDX-License-Identifier: Apache-2.0
//! Peers that do the same job in the same minutes: ffmpeg's HLS muxer, and nginx with files. Absent ones are said.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::origin::Server;
use crate::process::{Process, Scratch, free_port};

/// What a peer spent, in words.
pub(crate) fn said(spent: Option<f64>) -> String {
    spent.map_or_else(|| "not here".to_owned(), |spent| format!("{spent:.1}"))
}

/// ffmpeg copying the pictures of the sample ladder into fMP4 segments and playlists, in real time.
pub(crate) struct Muxer {
    pub(crate) process: Process,
    _scratch: Scratch,
}

impl Muxer {
    pub(crate) fn start() -> Option<Self> {
        let scratch = Scratch::new("muxer");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "quiet"]);
        let ladder = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/assets/ladder");
        for name in ["v0", "v1", "v2"] {
            command.args(["-re", "-stream_loop", "-1", "-i", &format!("{ladder}/{name}.cmfv")]);
        }
        command.args(["-map", "0:v", "-map", "1:v", "-map", "2:v", "-c", "copy", "-f", "hls", "-hls_time", "1"]);
        command.args(["-hls_segment_type", "fmp4", "-hls_flags", "delete_segments", "-hls_list_size", "10"]);
        command.args(["-var_stream_map", "v:0 v:1 v:2", "-master_pl_name", "master.m3u8", "v%v.m3u8"]);
        let process = Process::start(command.current_dir(scratch.folder()).stderr(Stdio::null())).ok()?;
        Some(Self { process, _scratch: scratch })
    }
}

/// nginx with one worker, serving files as its manual advises.
pub(crate) struct Nginx {
    process: Process,
    port: u16,
    _scratch: Scratch,
}

impl Nginx {
    /// Starts it on these files; `None` if it is not installed.
    pub(crate) async fn start(files: &[(&str, &[u8])]) -> Option<Self> {
        let scratch = Scratch::new("nginx");
        let folder = scratch.folder().display();
        for (name, bytes) in files {
            std::fs::write(scratch.folder().join(name), bytes).expect("a scratch file");
        }
        let port = free_port();
        // One process does all, so that its CPU is the whole.
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=100;\n\
             client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n\
             uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
        );
        let config = scratch.folder().join("nginx.conf");
        std::fs::write(&config, text).expect("a scratch file");
        let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].iter().find(|p| std::path::Path::new(p).exists())?;
        let process = Process::start(Command::new(program).arg("-c").arg(&config).stderr(Stdio::null())).ok()?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Self { process, port, _scratch: scratch })
    }

    pub(crate) fn server(&self) -> Server<'_> {
        Server { port: self.port, process: &self.process }
    }
}
