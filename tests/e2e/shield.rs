// SPDX-License-Identifier: Apache-2.0
//! The shield as its users meet it: in front of an origin that nobody here wrote (ffmpeg's live output and recordings
//! behind nginx), in front of twins that die, and within `serve`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Headwater, Process, SOON, Scratch, free_port, get, program, project, push, request, until};

/// nginx over a folder, as anybody would have it.
pub(crate) struct Nginx {
    pub(crate) base: String,
    _process: Process,
}

impl Nginx {
    pub(crate) fn over(folder: &Path) -> Self {
        let (port, at) = (free_port(), folder.display());
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/.pid; error_log {at}/.error;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; types {{ application/vnd.apple.mpegurl m3u8; application/dash+xml mpd;\n\
             video/mp4 mp4; video/iso.segment m4s; }}\n\
             client_body_temp_path {at}/.b; proxy_temp_path {at}/.p; fastcgi_temp_path {at}/.f;\n\
             uwsgi_temp_path {at}/.u; scgi_temp_path {at}/.s;\n\
             server {{ listen 127.0.0.1:{port}; root {at}; add_header Access-Control-Allow-Origin *;\n\
             location ~ \\.(m3u8|mpd)$ {{ add_header Access-Control-Allow-Origin *; add_header Cache-Control max-age=1; }}\n\
             location ~ \\.(mp4|m4s)$ {{ add_header Access-Control-Allow-Origin *; add_header Cache-Control max-age=3600; }}\n\
             }} }}\n"
        );
        let config = folder.join(".nginx.conf");
        std::fs::write(&config, text).expect("a scratch file");
        let nginx = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].iter().find(|p| Path::new(p).exists());
        let mut command = Command::new(nginx.expect("nginx is installed: scripts/setup.sh test"));
        command.arg("-c").arg(&config).stdout(Stdio::null());
        let process = Process::spawn(&mut command);
        let up = until(SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        assert!(up.is_some(), "nginx is not listening: {}", process.log());
        Self { base: format!("http://127.0.0.1:{port}"), _process: process }
    }
}

/// `headwater shield` in front of origins.
pub(crate) fn shield(origins: &[&str], upstream: &str, more: &str) -> Headwater {
    let (port, file) = (free_port(), Scratch::new("shield"));
    let urls: Vec<String> = origins.iter().map(|origin| format!("{origin:?}")).collect();
    let text = format!(
        "{more}\n[upstreams.main]\norigins = [{}]\nhealth_path = \"/\"\n{upstream}\n[routes.all]\nupstream = \"main\"\n",
        urls.join(", ")
    );
    let path = file.path.join("shield.toml");
    std::fs::write(&path, text).expect("a scratch file");
    let mut command = Command::new(program());
    command.args(["shield", "--listen", &format!("127.0.0.1:{port}"), "--config"]).arg(&path).stdout(Stdio::null());
    let process = Process::spawn(&mut command);
    let up = until(SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    assert!(up.is_some(), "the shield is not listening: {}", process.log());
    Headwater { process, base: format!("http://127.0.0.1:{port}"), addresses: serde_json::Value::Null }
}

/// ffmpeg's live output of the sample ladder into a folder, as HLS.
pub(crate) fn live_hls(folder: &Path) -> Process {
    let mut command = ladder();
    command
        .args(["-map", "0:v", "-map", "3:a", "-map", "1:v", "-map", "3:a", "-map", "2:v", "-map", "3:a", "-c", "copy"]);
    command.args(["-f", "hls", "-hls_time", "1", "-hls_list_size", "8", "-hls_delete_threshold", "8"]);
    command.args(["-hls_segment_type", "fmp4", "-hls_flags", "delete_segments+independent_segments+temp_file"]);
    command.args(["-var_stream_map", "v:0,a:0 v:1,a:1 v:2,a:2", "-master_pl_name", "master.m3u8", "v%v.m3u8"]);
    Process::spawn(command.current_dir(folder).stdout(Stdio::null()))
}

/// And as DASH; `time` is where players learn what time it is.
pub(crate) fn live_dash(folder: &Path, time: Option<&str>) -> Process {
    let mut command = ladder();
    command.args(["-map", "0:v", "-map", "1:v", "-map", "2:v", "-map", "3:a", "-c", "copy"]);
    command.args(["-f", "dash", "-seg_duration", "1", "-window_size", "8", "-extra_window_size", "8"]);
    command.args(["-adaptation_sets", "id=0,streams=v id=1,streams=a"]);
    if let Some(time) = time {
        command.args(["-utc_timing_url", time]);
    }
    Process::spawn(command.arg("manifest.mpd").current_dir(folder).stdout(Stdio::null()))
}

fn ladder() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]);
    for name in ["v0.cmfv", "v1.cmfv", "v2.cmfv", "a0.cmfa"] {
        let file = project("cli/assets/ladder").join(name);
        command.args(["-re", "-stream_loop", "-1", "-i"]).arg(file);
    }
    command
}

/// The files of a folder that are served, by name.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.') && !name.ends_with(".tmp")).collect();
    names.sort();
    names
}

#[test]
fn a_recording_behind_nginx_is_the_same_through_a_shield_whole_and_in_ranges() {
    let folder = Scratch::new("recording");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(project("cli/assets/ladder/v1.cmfv"));
    command.args([
        "-c",
        "copy",
        "-f",
        "hls",
        "-hls_time",
        "2",
        "-hls_playlist_type",
        "vod",
        "-hls_segment_type",
        "fmp4",
    ]);
    let made = command.arg("vod.m3u8").current_dir(&folder.path).status().expect("ffmpeg runs");
    assert!(made.success());
    let nginx = Nginx::over(&folder.path);
    let shield = shield(&[&nginx.base], "", "");
    let names = files(&folder.path);
    assert!(names.len() >= 4, "{names:?}");
    for round in ["miss", "hit"] {
        for name in &names {
            let direct = std::fs::read(folder.path.join(name)).expect("a file");
            let through = shield.get(&format!("/{name}"));
            assert!(through.status == 200 && through.body == direct, "{name}: {round}");
            let status = through.header("cache-status").unwrap_or("").to_owned();
            assert_eq!(status.contains("hit"), round == "hit", "{name}: {round}: {status}");
            let (first, last) = (direct.len() / 3, direct.len() / 2);
            let range = format!("bytes={first}-{last}");
            let part = request("GET", &shield.url(&format!("/{name}")), &[("range", &range)], &[]);
            assert!(part.status == 206 && part.body == direct[first..=last], "{name}: {range}");
            let tag = through.header("etag").expect("nginx tags files").to_owned();
            let again = request("GET", &shield.url(&format!("/{name}")), &[("if-none-match", &tag)], &[]);
            assert_eq!(again.status, 304, "{name}");
        }
    }
    let probed = crate::harness::run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_packets",
            "-show_entries",
            "stream=nb_read_packets",
            "-of",
            "csv=p=0",
            &shield.url("/vod.m3u8"),
        ],
        SOON,
    );
    let packets = probed.lines().next().and_then(|line| line.trim().trim_end_matches(',').parse::<u32>().ok());
    assert!(packets.is_some_and(|packets| packets > 50), "{probed}");
}

#[test]
fn live_output_of_ffmpeg_behind_nginx_is_the_same_through_a_shield() {
    for (form, manifest) in [("hls", "v0.m3u8"), ("dash", "manifest.mpd")] {
        let folder = Scratch::new("live");
        let _encoder = if form == "hls" { live_hls(&folder.path) } else { live_dash(&folder.path, None) };
        let nginx = Nginx::over(&folder.path);
        let shield = shield(&[&nginx.base], "", "");
        let ready = || (get(&format!("{}/{manifest}", nginx.base)).status == 200).then_some(());
        assert!(until(SOON, ready).is_some(), "{form}: ffmpeg writes {manifest}");
        // Followed for a while, every segment that is there is the same, and the playlist never goes back.
        let (mut newest, mut compared) = (0, 0);
        let done = until(SOON, || {
            let text = shield.get(&format!("/{manifest}")).text();
            if form == "hls" {
                let sequence = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
                let sequence: u64 = sequence.and_then(|number| number.parse().ok()).expect("a sequence number");
                assert!(sequence >= newest, "{newest} and then {sequence}");
                newest = sequence;
            }
            for name in files(&folder.path).iter().filter(|name| name.ends_with(".m4s")) {
                let through = shield.get(&format!("/{name}"));
                // It may be deleted, or still be written, at this very moment.
                let Ok(direct) = std::fs::read(folder.path.join(name)) else { continue };
                if through.status == 200 && through.body == direct {
                    compared += 1;
                }
            }
            (compared > 60 && (form == "dash" || newest >= 2)).then_some(())
        });
        assert!(done.is_some(), "{form}: {compared} segments were the same, media sequence {newest}");
    }
}

#[test]
fn a_twin_killed_in_the_middle_of_a_stream_is_noticed_by_nobody() {
    const CONFIGURATION: &str = "[channels.news]\nsegment_ms = 1000\n";
    let mut first = Headwater::serve(CONFIGURATION, &[]);
    let second = Headwater::serve(CONFIGURATION, &[]);
    let _encoders = (push(&first, "news", "v0,a0"), push(&second, "news", "v0,a0"));
    for origin in [&first, &second] {
        origin.wait_channel("news", |state| state["state"] == "live");
    }
    let shield = shield(&[&first.base, &second.base], "identical = true", "");
    let viewer = crate::abuse::Viewer::begin(&shield);
    assert!(until(SOON, || (viewer.parts() > 10).then_some(())).is_some(), "{}", shield.process.log());
    first.process.kill();
    let seen = viewer.parts();
    let goes_on = until(SOON, || (viewer.parts() > seen + 20).then_some(()));
    assert!(goes_on.is_some(), "the viewer saw {seen} parts and then {}: {}", viewer.parts(), shield.process.log());
    viewer.end();
}

#[test]
fn serve_has_a_shield_of_its_own_over_the_same_channels() {
    let port = free_port();
    let origin = Headwater::serve("[channels.news]\nsegment_ms = 1000\n", &["--shield", &format!("127.0.0.1:{port}")]);
    let _encoder = push(&origin, "news", "v0,a0");
    origin.wait_channel("news", |state| state["state"] == "live");
    let base = format!("http://127.0.0.1:{port}");
    let playlist = until(SOON, || {
        let playlist = get(&format!("{base}/live/news/v0/media.m3u8"));
        playlist.text().contains(".m4s\n").then_some(playlist)
    });
    let playlist = playlist.unwrap_or_else(|| panic!("a segment through the shield: {}", origin.process.log())).text();
    let segment = playlist.lines().rfind(|line| line.ends_with(".m4s") && !line.starts_with('#')).expect("a segment");
    let path = format!("/live/news/v0/{segment}");
    let (direct, through) = (origin.get(&path), get(&format!("{base}{path}")));
    assert!(direct.status == 200 && direct.body == through.body, "{path}: {}", through.status);
    assert!(get(&format!("{base}{path}")).header("cache-status").is_some_and(|status| status.contains("hit")));
}
