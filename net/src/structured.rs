// SPDX-License-Identifier: Apache-2.0
//! Structured fields as they are written (RFC 9651).

/// A string: between quotes, in printable ASCII. A byte that it cannot hold is percent-encoded.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_string_is_printable_whatever_it_is_made_of() {
        assert_eq!(super::string("origin-a"), "\"origin-a\"");
        assert_eq!(super::string("a\\b \"ü\"\n"), r#""a\\b \"%C3%BC\"%0A""#);
    }
}
