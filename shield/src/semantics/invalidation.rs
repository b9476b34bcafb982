// SPDX-License-Identifier: Apache-2.0
//! What a change at the origin makes useless here (RFC 9111, 4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use url::Url;

/// True if an answer says that a request changed something: no safe method, no error.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// Paths with their queries that are out of date after such an answer: the target's, and what Location and
/// Content-Location name of the same host and port. `authority` is the Host of the request.
pub fn invalidated(authority: &str, path: &str, answer: &HeaderMap) -> Vec<String> {
    let mut paths = vec![path.to_owned()];
    let Ok(target) = Url::parse(&format!("http://{authority}{path}")) else { return paths };
    for value in [LOCATION, CONTENT_LOCATION].iter().filter_map(|name| answer.get(name)?.to_str().ok()) {
        let Ok(named) = target.join(value) else { continue };
        if !is_same_server(&named, &target) {
            continue;
        }
        let path = &named[url::Position::BeforePath..url::Position::AfterQuery];
        if !paths.iter().any(|p| p == path) {
            paths.push(path.to_owned());
        }
    }
    paths
}

/// One key serves both schemes, so a URL of the other scheme is the same server's where its port is.
fn is_same_server(named: &Url, target: &Url) -> bool {
    let same_port = named.port() == target.port() || named.port_or_known_default() == target.port();
    matches!(named.scheme(), "http" | "https") && named.host() == target.host() && same_port
}
