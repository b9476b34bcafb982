// SPDX-License-Identifier: Apache-2.0
//! What a shield's file and the environment may say, and how each mistake is told.

use headwater_net::config::Kind;

use super::*;

const PAIR: &str = "[upstreams.main]\norigins = [\"http://a.example:8080\", \"http://b.example:8080\"]\n\
                    [routes.live]\nprefix = \"/live/\"\nupstream = \"main\"\n";

fn read(text: &str) -> Result<Config, String> {
    Config::layered(text, &[]).map_err(|error| error.to_string())
}

#[test]
fn a_pair_of_origins_and_a_route_to_it_is_a_whole_configuration() {
    let config = read(PAIR).unwrap();
    assert_eq!(config.upstreams["main"].origins.len(), 2);
    assert_eq!(
        config.routes["live"],
        Route { prefix: "/live/".to_owned(), upstream: "main".to_owned(), ..Route::default() }
    );
    assert_eq!(config.check_alone(), Ok(()));
}

#[test]
fn an_unknown_key_is_refused_by_line_with_what_was_meant() {
    assert_eq!(
        read(&format!("{PAIR}prefx = \"/\"\n")).unwrap_err(),
        "line 6: expected a key of [routes.live], got `prefx`; did you mean `prefix`?"
    );
    assert_eq!(
        read("[cache]\nmemory_max = 1\n").unwrap_err(),
        "line 2: expected a key of [cache], got `memory_max`; did you mean `memory_bytes_max`?"
    );
}

#[test]
fn a_variable_overrides_the_file_by_the_name_it_has_within_an_origin() {
    let variables = [
        ("HEADWATER_SHIELD__CACHE__MEMORY_BYTES_MAX", "2000000"),
        ("HEADWATER_SHIELD__UPSTREAMS__MAIN__ORIGINS", "http://c.example, https://d.example"),
        ("HEADWATER_SHIELD__ROUTES__LIVE__LIVE", "false"),
        ("HEADWATER_LISTEN", "127.0.0.1:1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::layered(PAIR, &variables).unwrap();
    assert_eq!(config.cache.memory_bytes_max, 2_000_000);
    assert_eq!(config.upstreams["main"].origins, ["http://c.example", "https://d.example"]);
    assert!(!config.routes["live"].live);
    assert_eq!(config.listen.port(), 8_081);
    let wrong = [("HEADWATER_SHIELD__CACHE__MEMORY_BYTES_MAX".to_owned(), "1".to_owned())];
    assert_eq!(
        Config::layered(PAIR, &wrong).unwrap_err().to_string(),
        "HEADWATER_SHIELD__CACHE__MEMORY_BYTES_MAX: expected 1048576 bytes or more in cache.memory_bytes_max, got 1"
    );
}

#[test]
fn every_mistake_is_told_by_its_line() {
    for (text, expected) in [
        ("admin_listen = \"0.0.0.0:8081\"\n", "line 1: expected another address than listen in admin_listen"),
        ("[api]\ntokens = [\"\"]\n", "line 2: expected text of at least one character in api.tokens"),
        ("[http]\nhead_seconds = 0\n", "line 2: expected 1 second or more in http.head_seconds, got 0"),
        ("[http]\nidle_seconds = \"x\"\n", "line 2: idle_seconds: invalid type"),
        ("[limits]\nconcurrent_max = 0\n", "line 2: expected 1 or more in limits.concurrent_max, got 0"),
        ("[cache]\nkeys_max = 0\n", "line 2: expected 1 or more in cache.keys_max, got 0"),
        ("[upstreams.main]\norigins = []\n", "line 2: expected an origin at least in upstreams.main.origins, got none"),
        (
            "[upstreams.main]\norigins = [\"a.example\"]\n",
            "line 2: expected http:// or https:// and an authority, or here",
        ),
        ("[upstreams.main]\norigins = [\"http://a.example/x\"]\n", "got \"http://a.example/x\""),
        ("[upstreams.main]\norigins = [\"http://u:p@a.example\"]\n", "line 2: expected http://"),
        ("[upstreams.main]\norigins = [\"http://a.example:70000\"]\n", "line 2: expected http://"),
        (
            "[upstreams.main]\norigins = [\"here\"]\nfall = 0\n",
            "line 3: expected 1 or more in upstreams.main.fall, got 0",
        ),
        (
            "[upstreams.main]\norigins = [\"here\"]\nhealth_path = \"up\"\n",
            "line 3: expected a path that begins with /",
        ),
        (
            "[routes.live]\nupstream = \"mian\"\n",
            "expected the name of one of [upstreams] in routes.live.upstream, got \"mian\"",
        ),
        (
            "[follow]\nfrom = [\"a.example/events\"]\n",
            "line 2: expected http:// or https:// and an authority, and a path",
        ),
        ("[follow]\nfrom = [\"http://a/events?x\"]\n", "line 2: expected http:// or https:// and an authority"),
        ("[follow]\nfrom = [\"http://a\", \"http://a\"]\n", "line 2: expected each feed once in follow.from"),
        ("[follow]\nkafka = true\n", "line 2: expected the brokers of events.kafka beside it in follow.kafka"),
        ("[follow]\nprefetch = \"some\"\n", "line 2: prefetch: unknown variant"),
        ("[follow]\nprefetches_max = 0\n", "line 2: expected 1 or more in follow.prefetches_max, got 0"),
        ("[siblings]\nothers = [\"http://b.example\"]\n", "expected this shield's own address"),
        (
            "[siblings]\nown = \"http://b.example\"\nothers = [\"http://b.example\"]\n",
            "line 3: expected the others alone",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    for (line, expected) in [
        ("hosts = [\"a.example:80\"]", "line 6: expected hosts without a port in routes.live.hosts"),
        ("edges = [\"192.0.2.1/24\"]", "line 6: expected networks as 192.0.2.0/24 in routes.live.edges"),
        ("upstream_prefix = \"/x/\"", "line 6: expected nothing, or a path as /live"),
        ("edge_certificate = true", "line 6: expected tls.client_ca beside it"),
        ("hold_ms = 60001", "line 6: expected 0 to 60000 milliseconds in routes.live.hold_ms, got 60001"),
        ("[routes.other]\nprefix = \"/live/\"\nupstream = \"main\"", "line 7: expected another prefix or other hosts"),
    ] {
        let error = read(&format!("{PAIR}{line}\n")).unwrap_err();
        assert!(error.starts_with(expected), "{line}: {error}");
    }
}

#[test]
fn a_shield_alone_needs_routes_and_origins_elsewhere() {
    let error = |text: &str| read(text).unwrap().check_alone().unwrap_err().to_string();
    assert!(error("").starts_with("expected a route at least"));
    assert!(
        error("[upstreams.main]\norigins = [\"here\"]\n[routes.all]\nupstream = \"main\"\n")
            .contains("no origin in this process")
    );
}

#[test]
fn the_example_states_the_defaults_and_every_key() {
    let text = reference::example();
    assert_eq!(read(&text).unwrap(), Config::default());
    let uncommented: String = text
        .lines()
        .map(|l| l.strip_prefix("# ").filter(|l| l.contains(" = ") || l.starts_with('[')).unwrap_or(l))
        .fold(String::new(), |all, l| all + l + "\n");
    let whole = read(&uncommented).unwrap();
    assert_eq!(whole.routes["live"].upstream, "main");
    let said = serde_json::to_value(&whole).unwrap();
    for key in Config::keys() {
        assert!(!said[&key.name].is_null(), "{} is not in the example", key.name);
        let Kind::Named(keys) = &key.kind else { continue };
        let (name, table) = said[&key.name].as_object().unwrap().iter().next().unwrap();
        for inner in keys {
            assert!(!table[&inner.name].is_null(), "{}.{name}.{} is not in the example", key.name, inner.name);
        }
    }
}

#[test]
fn every_key_has_a_sentence() {
    fn sentences(keys: &[Key]) {
        for key in keys {
            assert!(key.doc.ends_with('.'), "{}: expected a sentence, got {:?}", key.name, key.doc);
            sentences(key.below());
        }
    }
    sentences(Config::keys());
    assert_eq!(serde_json::to_value(Config::default()).unwrap().as_object().unwrap().len(), Config::keys().len());
}
