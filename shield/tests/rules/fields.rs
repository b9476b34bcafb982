// SPDX-License-Identifier: Apache-2.0
//! Which fields pass through (RFC 9110, 7.6; RFC 9111, 3.1).

use std::time::Duration;

use headwater_shield::semantics::{fields, only_if_cached};
use http::{HeaderMap, Version};

use super::{RECEIVED, headers};

const CONNECTIONS_OWN: &str = "connection: keep-alive, secret\nsecret: 1\nkeep-alive: timeout=5\nproxy-connection: x\n\
    te: trailers\ntrailer: x\ntransfer-encoding: chunked\nupgrade: h2c\nhttp2-settings: x\nproxy-authenticate: Basic\n\
    proxy-authentication-info: x\nproxy-authorization: Basic x";

#[test]
fn what_concerns_one_connection_goes_no_further() {
    let mut found = headers(&format!("{CONNECTIONS_OWN}\nx: 1\nconnection: \nconnection: other, \"\nother: 2"));
    fields::strip_hop_by_hop(&mut found);
    assert_eq!(found, headers("x: 1"));
}

#[test]
fn the_origin_is_asked_for_the_whole_in_one_of_two_codings() {
    let asked = headers(&format!(
        "{CONNECTIONS_OWN}\nrange: bytes=0-1\nif-range: \"a\"\nif-match: \"a\"\nif-none-match: \"a\"\n\
         if-modified-since: x\nif-unmodified-since: x\nexpect: 100-continue\ncontent-length: 0\n\
         accept-encoding: br, gzip, zstd\ncookie: a=b\ncache-control: no-cache\nauthorization: Basic x"
    ));
    let sent = headers("cookie: a=b\ncache-control: no-cache\nauthorization: Basic x\naccept-encoding: gzip");
    assert_eq!(fields::for_origin(&asked), sent);
    assert_eq!(fields::for_origin(&headers("accept-encoding: br")), HeaderMap::new());
}

#[test]
fn an_answer_is_stored_with_a_date_and_without_an_age() {
    let mut found =
        headers(&format!("{CONNECTIONS_OWN}\nage: 7\nvia: 1.1 other\ncache-status: Other; hit\ndate: soon"));
    fields::for_storage(&mut found, RECEIVED.1);
    assert_eq!(found, headers("via: 1.1 other\ncache-status: Other; hit\ndate: Sun, 01 Mar 2026 12:00:00 GMT"));
    let mut dated = headers("date: Sun, 01 Mar 2020 12:00:00 GMT");
    fields::for_storage(&mut dated, RECEIVED.1);
    assert_eq!(dated, headers("date: Sun, 01 Mar 2020 12:00:00 GMT"));
}

#[test]
fn a_304_says_nothing_of_a_body() {
    let kept = "etag: \"a\"\ndate: x\ncache-control: max-age=1\nvary: origin\ncontent-location: /x\nexpires: 0\n\
        access-control-allow-origin: *";
    let mut found = headers(&format!(
        "{kept}\ncontent-length: 9\ncontent-type: video/mp4\ncontent-encoding: gzip\ncontent-range: bytes 0-1/2"
    ));
    fields::for_not_modified(&mut found);
    assert_eq!(found, headers(kept));
}

#[test]
fn age_is_said_in_whole_seconds_and_via_is_a_list() {
    let mut found = headers("age: 9\nvia: 1.0 other");
    fields::insert_age(&mut found, Duration::from_millis(2_999));
    fields::append_via(&mut found, Version::HTTP_2);
    fields::append_via(&mut found, Version::HTTP_11);
    assert_eq!(found, headers("age: 2\nvia: 1.0 other\nvia: 2 headwater\nvia: 1.1 headwater"));
}

#[test]
fn a_client_may_want_nothing_but_what_is_stored() {
    assert!(only_if_cached(&headers("cache-control: max-age=0, Only-If-Cached")));
    assert!(!only_if_cached(&headers("cache-control: x=\"only-if-cached\"")));
    assert!(!only_if_cached(&headers("")));
}
