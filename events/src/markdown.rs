// SPDX-License-Identifier: Apache-2.0
//! Text of others in pages of ours: names and reasons come from configuration and from the wire.

use std::fmt::Write;

/// Text that stays text, within its cell of a table: no mark, no HTML, no line of its own.
pub(crate) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '\\' | '*' | '`' | '[' | ']' => {
                let _ = write!(out, "\\{c}");
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_neither_mark_nor_html() {
        let odd = "a|b\n<script>&[x](y) **z** `c`\\";
        assert_eq!(cell(odd), "a\\|b &lt;script&gt;&amp;\\[x\\](y) \\*\\*z\\*\\* \\`c\\`\\\\");
    }
}
