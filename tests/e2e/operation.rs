// SPDX-License-Identifier: Apache-2.0
//! Operating a real process: reloads under load, certificates renewed, encoders that authenticate as encoders do, and
//! every layer of the configuration.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Headwater, Process, SOON, Scratch, free_port, get, program, push, request, run, until};
use crate::playlist::Playlist;

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a scratch file");
}

fn reload(origin: &Headwater) -> (u16, Value) {
    let answer = request("POST", &origin.url("/api/v1/reload"), &[], &[]);
    (answer.status, serde_json::from_str(&answer.text()).expect("JSON"))
}

/// Reloads a track's playlist part by part, and fetches and counts each part, until told to stop.
fn follow(base: &str, stop: &AtomicBool, parts: &AtomicU32) -> Result<(), String> {
    let media = format!("{base}/live/live/v0/media.m3u8");
    let mut playlist = Playlist::read(&get(&media).text())?;
    while !stop.load(Ordering::Relaxed) {
        let (segment, part) = playlist.edge();
        let answer = get(&format!("{media}?_HLS_msn={segment}&_HLS_part={part}"));
        if answer.status != 200 {
            return Err(format!("{segment}.{part}: {} {}", answer.status, answer.text()));
        }
        playlist = Playlist::read(&answer.text())?;
        let newest = get(&format!("{base}/live/live/v0/{segment}.{part}.m4s"));
        // A segment may end a part earlier than thought; its next one begins then.
        parts.fetch_add(u32::from(newest.status == 200), Ordering::Relaxed);
        if let Some((number, _)) = playlist.numbered().find(|(_, segment)| segment.gap) {
            return Err(format!("segment {number} is lost"));
        }
    }
    Ok(())
}

#[test]
fn a_reload_under_load_loses_no_byte_and_no_waiter() {
    let scratch = Scratch::new("reload");
    let path = scratch.path.join("headwater.toml");
    let with = |key: &str, window: u32| {
        format!("[channels.live]\nsegment_ms = 1000\nkeys = [\"{key}\"]\nwindow_seconds = {window}\n")
    };
    write(&path, &with("first", 60));
    let origin = Headwater::serve_file(free_port(), &path, &["--workers", "2"]);
    let mut command = Command::new(program());
    let to = origin.url("/ingest/live");
    command.args(["push", "--to", &to, "--tracks", "v0,a0", "--key", "first"]).stdout(Stdio::null());
    let pusher = Process::spawn(&mut command);
    origin.wait_channel("live", |c| c["state"] == "live" && c["tracks"].as_array().is_some_and(|t| t.len() == 2));

    let (stop, parts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (base, told, counted) = (origin.base.clone(), Arc::clone(&stop), Arc::clone(&parts));
    let viewer = std::thread::spawn(move || follow(&base, &told, &counted));
    let parked = || get(&origin.url("/metrics")).text().contains("headwater_waiters 1\n").then_some(());
    for round in 1..=4 {
        assert!(until(SOON, parked).is_some(), "the viewer waits for the next part");
        write(&path, &with(&format!("key-{round}"), 60 + round));
        origin.process.signal("HUP");
        origin.process.says("configuration reloaded", round as usize);
    }
    // A file that is wrong changes nothing, and says where.
    write(&path, "[channels.live]\nsegmnt_ms = 1000\n");
    origin.process.signal("HUP");
    origin.process.says("line 2: expected a key of [channels.live], got `segmnt_ms`; did you mean `segment_ms`?", 1);
    let (status, refused) = reload(&origin);
    assert!(status == 409 && refused["error"].as_str().is_some_and(|e| e.contains("line 2")), "{refused}");
    write(&path, &with("key-5", 90).replace("1000", "4000"));
    let (status, told) = reload(&origin);
    assert_eq!((status, &told["changed"]), (200, &json!(["channels.live.keys", "channels.live.window_seconds"])));
    assert_eq!(told["kept"][0]["key"], "channels.live.segment_ms", "{told}");

    let after = parts.load(Ordering::Relaxed);
    let goes_on = until(SOON, || (parts.load(Ordering::Relaxed) >= after + 6 || viewer.is_finished()).then_some(()));
    stop.store(true, Ordering::Relaxed);
    assert_eq!(viewer.join().expect("the viewer runs to its end"), Ok(()), "{}", origin.process.log());
    assert!(goes_on.is_some(), "parts come after the reloads as before");
    let channel = origin.channel("live");
    assert_eq!((&channel["defects"], &channel["ingest_bodies"]), (&json!({}), &json!(2)), "{channel:#}");
    for track in channel["tracks"].as_array().expect("tracks") {
        let none = json!({ "gaps": 0, "late": 0, "duplicate": 0, "missing": 0, "reordered": 0 });
        assert_eq!(track["defects"], none, "{track:#}");
    }
    assert!(!pusher.log().contains("WARN"), "{}", pusher.log());
    let knock = |key: &str| request("PUT", &origin.url(&format!("/ingest/live/x.cmfv?token={key}")), &[], &[]).status;
    assert_eq!((knock("first"), knock("key-5")), (403, 200));
    assert!(!origin.process.log().contains("key-"), "a key in the log");
}

/// An authority, and a certificate that it signed, as PEM files.
fn certificate(folder: &Path, name: &str, authority: &rcgen::CertifiedIssuer<'_, rcgen::KeyPair>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let made = parameters.signed_by(&key, authority).expect("a certificate");
    write(&folder.join(format!("{name}.pem")), &made.pem());
    write(&folder.join(format!("{name}.key")), &key.serialize_pem());
}

fn authority(folder: &Path, name: &str) -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("no name");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = rcgen::CertifiedIssuer::self_signed(parameters, key).expect("an authority");
    write(&folder.join(format!("{name}.pem")), &made.pem());
    made
}

#[test]
fn certificates_are_renewed_and_a_wrong_pair_keeps_the_old_one() {
    let scratch = Scratch::new("renewal");
    let at = |file: &str| scratch.path.join(file);
    let (old, new) = (authority(&scratch.path, "old-ca"), authority(&scratch.path, "new-ca"));
    certificate(&scratch.path, "server", &old);
    let path = at("headwater.toml");
    write(
        &path,
        &format!("[tls]\ncertificate = {:?}\nkey = {:?}\n[channels.news]\n", at("server.pem"), at("server.key")),
    );
    let origin = Headwater::serve_file(free_port(), &path, &[]);
    let url = origin.base.replace("http://127.0.0.1", "https://localhost");
    let trusts = |ca: &str| {
        let (ca, url) = (at(ca), format!("{url}/healthz"));
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "--cacert"]).arg(ca).arg(url).status().expect("curl runs").success()
    };
    assert!(trusts("old-ca.pem") && !trusts("new-ca.pem"));
    let before = std::fs::read(at("server.key")).expect("the key");
    certificate(&scratch.path, "server", &new);
    let after = std::fs::read(at("server.key")).expect("the key");
    std::fs::write(at("server.key"), before).expect("a scratch file");
    origin.process.signal("HUP");
    origin.process.says("expected a certificate chain and the key that belongs to it", 1);
    assert!(trusts("old-ca.pem"), "the pair does not fit: the old one stays");
    std::fs::write(at("server.key"), after).expect("a scratch file");
    origin.process.signal("HUP");
    origin.process.says("configuration reloaded", 1);
    assert!(trusts("new-ca.pem") && !trusts("old-ca.pem"));
    let old_tls = ["-sk", "--tlsv1.0", "--tls-max", "1.1", &format!("{url}/healthz")];
    assert!(!Command::new("curl").args(old_tls).status().expect("curl runs").success(), "TLS 1.1 is refused");
}

#[test]
fn with_a_client_authority_pushes_need_its_certificate_and_viewers_none() {
    let scratch = Scratch::new("clients");
    let at = |file: &str| scratch.path.join(file).to_str().expect("a path").to_owned();
    let (ca, others) = (authority(&scratch.path, "ca"), authority(&scratch.path, "others"));
    certificate(&scratch.path, "server", &ca);
    certificate(&scratch.path, "encoder", &ca);
    certificate(&scratch.path, "stranger", &others);
    let origin = Headwater::serve(
        &format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\n[channels.news]\nkeys = [\"k\"]\n",
            at("server.pem"),
            at("server.key"),
            at("ca.pem")
        ),
        &[],
    );
    let url = origin.base.replace("http://127.0.0.1", "https://localhost");
    let curl = |more: &[&str]| {
        let authority = at("ca.pem");
        let mut arguments = vec!["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &authority];
        arguments.extend_from_slice(more);
        let output = Command::new("curl").args(&arguments).output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let point = format!("{url}/ingest/news/v0.cmfv?token=k");
    let put = ["-X", "PUT", "--data-binary", "", &point];
    let shows = |name: &str| [at(&format!("{name}.pem")), at(&format!("{name}.key"))];
    let with = |[certificate, key]: &[String; 2]| {
        curl(&[&["--cert", certificate.as_str(), "--key", key.as_str()], &put[..]].concat())
    };
    assert_eq!(curl(&put), "403", "no certificate");
    assert_eq!(with(&shows("encoder")), "200");
    assert_eq!(with(&shows("stranger")), "000", "the handshake fails");
    assert_eq!(curl(&[&format!("{url}/api/v1/channels")]), "200", "viewers need none");
}

#[test]
fn encoders_authenticate_by_digest() {
    let origin = Headwater::serve("[channels.news]\nkeys = [\"old\", \"s3cret\"]\n", &[]);
    let url = origin.url("/ingest/news/v0.cmfv");
    let curl = |user: &str| {
        let code = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--digest", "-u", user, "-T", "/dev/null", &url];
        run("curl", &code, SOON)
    };
    assert_eq!((curl("anybody:s3cret").as_str(), curl("anybody:wrong").as_str()), ("200", "403"));
    // ffmpeg answers the challenge by itself, with the MD5 that is all it knows.
    let to = origin.base.replace("http://", "http://encoder:s3cret@") + "/ingest/news/Streams(v0.cmfv)";
    let input = "-nostdin -loglevel error -re -f lavfi -i testsrc2=size=160x90:rate=25 -t 4 -c:v libx264 -preset ultrafast \
                 -tune zerolatency -threads 1 -g 25 -pix_fmt yuv420p -f mp4 -movflags \
                 +cmaf+delay_moov+skip_trailer+frag_discont+frag_every_frame";
    let mut command = Command::new("ffmpeg");
    command.args(input.split_whitespace()).arg(to).stdout(Stdio::null());
    let mut encoder = Process::spawn(&mut command);
    origin.wait_channel("news", |c| c["state"] == "live");
    assert_eq!(encoder.wait(SOON), Some(0), "{}", encoder.log());
    let metrics = get(&origin.url("/metrics")).text();
    assert!(metrics.contains("defect=\"unauthorised\"} "), "it was challenged: {metrics}");
}

#[test]
fn flags_override_variables_and_variables_the_file() {
    let scratch = Scratch::new("layers");
    let path = scratch.path.join("headwater.toml");
    write(&path, "channels_max = 1\nmemory_bytes_max = 1000000\n[defaults]\nsegment_ms = 4000\n[channels.news]\n");
    let check = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(program());
        command.args(["serve", "--check-config", "--config"]).arg(&path).args(arguments);
        command.env_clear().envs(variables.iter().copied());
        let output = command.output().expect("it runs");
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.success(), said)
    };
    let listen = [("HEADWATER_LISTEN", "127.0.0.1:7001")];
    assert_eq!(
        check(&listen, &[]),
        (true, "the configuration is in order: 1 channels, listening on 127.0.0.1:7001\n".into())
    );
    assert!(check(&listen, &["--listen", "127.0.0.1:7002"]).1.contains("127.0.0.1:7002"));
    let (ok, said) = check(&[("HEADWATER_DEFAULTS__SEGMENT_M", "1")], &[]);
    assert!(!ok && said.contains("did you mean `segment_ms`?"), "{said}");
    write(&path, "[defaults]\nsegmnt_ms = 4000\n");
    let (ok, said) = check(&[], &[]);
    let place = format!("in {}: line 2: ", path.display());
    assert!(!ok && said.contains(&place) && said.contains("did you mean `segment_ms`?"), "{said}");
}

#[test]
fn a_channel_of_the_api_takes_pushes_and_survives_the_process() {
    let scratch = Scratch::new("api");
    let data_dir = ["--data-dir", scratch.path.to_str().expect("a path")];
    let port = free_port();
    let mut origin = Headwater::serve_on(port, "", &data_dir);
    let put =
        request("PUT", &origin.url("/api/v1/channels/sport"), &[], b"{\"segment_ms\":1000,\"window_seconds\":60}");
    assert_eq!(put.status, 201, "{}", put.text());
    let pusher = push(&origin, "sport", "v0");
    origin.wait_channel("sport", |c| c["state"] == "live" && c["segment_duration"] == 1.0);
    drop(pusher);
    origin.process.kill();
    let origin = Headwater::serve_on(port, "", &data_dir);
    assert_eq!(origin.channel("sport")["source"], "api");
    let page = get(&origin.url("/api/v1/"));
    assert!(page.status == 200 && page.text().contains("openapi.json") && !page.text().contains("https://"));
    assert_eq!(request("DELETE", &origin.url("/api/v1/channels/sport"), &[], &[]).status, 200);
    let forgotten = until(Duration::from_secs(5), || (!scratch.path.join("channels/sport").exists()).then_some(()));
    assert!(forgotten.is_some(), "its settings and numbering are forgotten");
}
