// SPDX-License-Identifier: Apache-2.0
//! What a file and the environment may say, and how each mistake is told.

use headwater_net::config::Kind;

use super::*;

fn layered(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Config::layered(text, &variables).map_err(|error| error.to_string())
}

#[test]
fn an_unknown_key_is_refused_by_line_with_what_was_meant() {
    let text = "listen = \"127.0.0.1:1\"\n[defaults]\nsegmnt_ms = 1\n";
    assert_eq!(
        layered(text, &[]).unwrap_err(),
        "line 3: expected a key of [defaults], got `segmnt_ms`; did you mean `segment_ms`?"
    );
    let deep = "[channels.news]\n\nwindow = 1\n";
    assert_eq!(
        layered(deep, &[]).unwrap_err(),
        "line 3: expected a key of [channels.news], got `window`; did you mean `window_seconds`?"
    );
    assert_eq!(layered("zzz = 1\n", &[]).unwrap_err(), "line 1: expected a key of the file, got `zzz`");
}

#[test]
fn a_wrong_type_is_refused_by_line_and_key_and_no_secret_is_repeated() {
    let error = layered("\n[defaults]\nsegment_ms = \"long\"\n", &[]).unwrap_err();
    assert!(error.starts_with("line 3: segment_ms: invalid type: string \"long\""), "{error}");
    let error = layered("[defaults]\nkeys = [\"s3cret\", 5]\n", &[]).unwrap_err();
    assert!(error.starts_with("line 2: keys: ") && !error.contains("s3cret"), "{error}");
    assert!(layered("channels =\n", &[]).unwrap_err().starts_with("line 1"));
}

#[test]
fn the_environment_overrides_every_kind_of_key() {
    let config = layered(
        "channels_max = 3\n[defaults]\nsegment_ms = 4000\n[channels.news]\npart_ms = 100\n",
        &[
            ("HEADWATER_LISTEN", "127.0.0.1:9"),
            ("HEADWATER_CHANNELS_FROM_PUSH", "true"),
            ("HEADWATER_DATA_DIR", "kept"),
            ("HEADWATER_DEFAULTS__SEGMENT_MS", "1000"),
            ("HEADWATER_DEFAULTS__KEYS", "one, two"),
            ("HEADWATER_CHANNELS__SPORT__PART_MS", "500"),
            ("HEADWATER_TLS__CERTIFICATE", "chain.pem"),
            ("PATH", "bin"),
        ][..6],
    )
    .unwrap();
    assert_eq!((config.listen.port(), config.channels_max, config.channels_from_push), (9, 3, true));
    assert_eq!(config.data_dir.as_deref(), Some(std::path::Path::new("kept")));
    assert_eq!(config.defaults.keys, ["one", "two"]);
    let (news, sport) = (&config.channels["news"], &config.channels["sport"]);
    assert_eq!((news.segment_ms, news.part_ms, sport.segment_ms, sport.part_ms), (1_000, 100, 1_000, 500));
}

#[test]
fn a_wrong_variable_is_refused_by_name() {
    for (variable, value, expected) in [
        ("HEADWATER_DEFAULTS__SEGMNT_MS", "1", "did you mean `segment_ms`?"),
        ("HEADWATER_LISTN", "1", "did you mean `listen`?"),
        ("HEADWATER_CHANNELS_MAX", "many", "expected a whole number, got \"many\""),
        ("HEADWATER_CHANNELS_MAX", "-1", "expected"),
        ("HEADWATER_LISTEN", "here", "invalid socket address"),
        ("HEADWATER_LISTEN__PORT", "1", "port"),
        ("HEADWATER_DEFAULTS", "1", "a key below this table"),
        ("HEADWATER_TLS__CERTIFICATE", "chain.pem", "missing field `key`"),
        ("HEADWATER_DEFAULTS__SEGMENT_MS", "1", "expected 200 to 20000 milliseconds"),
    ] {
        let error = layered("", &[(variable, value)]).unwrap_err();
        assert!(error.starts_with(variable) && error.contains(expected), "{error}");
    }
}

#[test]
fn what_others_set_is_no_key() {
    let foreign = [
        ("HEADWATER_SERVICE_HOST", "10.0.0.1"),
        ("HEADWATER_PORT", "tcp://10.0.0.1:80"),
        ("HEADWATER_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("HEADWATER_EU_SERVICE_PORT_HTTP", "80"),
        ("HEADWATER_CONFIG", "file"),
        ("PATH", "bin"),
    ];
    assert_eq!(layered("", &foreign), Ok(Config::default()));
}

/// Every path to a value, `*` for any name.
fn paths(keys: &[Key], under: &str, all: &mut Vec<String>) {
    for key in keys {
        let path = format!("{under}{}", key.name);
        assert!(key.doc.ends_with('.'), "{path}: expected a sentence, got {:?}", key.doc);
        match &key.kind {
            Kind::Table(keys) => paths(keys, &format!("{path}."), all),
            Kind::Named(keys) => paths(keys, &format!("{path}.*."), all),
            _ => all.push(path),
        }
    }
}

#[test]
fn every_key_is_known_with_a_sentence() {
    let mut all = Vec::new();
    paths(Config::keys(), "", &mut all);
    for path in ["listen", "data_dir", "tls.client_ca", "api.tokens", "defaults.cadence", "channels.*.keys"] {
        assert!(all.iter().any(|known| known == path), "{path} is not among {all:?}");
    }
    // What is serialised is known, and the other way round.
    let written = serde_json::to_value(Config::default()).unwrap();
    let names: Vec<&String> = written.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), Config::keys().len(), "{names:?}");
}

#[test]
fn an_idle_time_that_would_break_encoders_is_refused() {
    let error = Config::parse("[http]\nidle_seconds = 30\n").unwrap_err().to_string();
    assert!(error.contains("expected at least 60 seconds") && error.ends_with("got 30"), "{error}");
    assert!(Config::parse("[http]\nidle_seconds = 100\n[channels.long]\nsegment_ms = 20000\n").is_err());
    let ingest = Ingest { body_idle_seconds: 5, ..Ingest::default() };
    assert_eq!(ingest.body_idle(Duration::from_secs(6)), Duration::from_secs(24));
}

#[test]
fn a_value_out_of_range_is_refused_by_line_and_key() {
    let error = Config::parse("[channels.news]\nsegment_ms = 1\n").unwrap_err().to_string();
    assert_eq!(error, "line 2: expected 200 to 20000 milliseconds in channels.news.segment_ms, got 1");
    assert!(Config::parse("[channels.\"a/b\"]\n").is_err());
    assert!(Config::parse("[api]\ntokens = [\"\"]\n").is_err());
}

#[test]
fn a_channel_has_what_the_defaults_say_and_it_does_not() {
    let text = "[channels.news]\npart_ms = 500\n[defaults]\nsegment_ms = 1000\nkeys = [\"k\"]\n";
    let config = Config::parse(text).unwrap();
    let news = &config.channels["news"];
    assert_eq!((news.segment_ms, news.part_ms, &news.keys), (1_000, 500, &vec!["k".to_owned()]));
}
