// SPDX-License-Identifier: Apache-2.0
//! The `Date` of a response (RFC 9110, 6.6.1), written once a second and thread.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

struct Written {
    second: u64,
    text: String,
}

thread_local! {
    static WRITTEN: RefCell<Written> = const { RefCell::new(Written { second: 0, text: String::new() }) };
}

/// Appends the field and its line's end.
pub(super) fn write(out: &mut Vec<u8>) {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with_borrow_mut(|written| {
        if written.second != second || written.text.is_empty() {
            let time = UNIX_EPOCH + std::time::Duration::from_secs(second);
            *written = Written { second, text: format!("date: {}\r\n", httpdate::fmt_http_date(time)) };
        }
        out.extend_from_slice(written.text.as_bytes());
    });
}
