// SPDX-License-Identifier: Apache-2.0
//! Queries as part of the shield's key: one form, which is its own, and which asks for the same.
#![no_main]

use headwater_shield::live::{Directives, canonical};

libfuzzer_sys::fuzz_target!(|query: &str| {
    for ignored in [&[][..], &["a".to_owned()], &["*".to_owned()]] {
        let form = canonical(query, ignored).into_owned();
        assert_eq!(Directives::read(query), Directives::read(&form));
        assert_eq!(canonical(&form, ignored), form.as_str());
    }
});
