// SPDX-License-Identifier: Apache-2.0
//! The query as part of the key: delivery directives (rfc8216bis, 6.2.5) in one order and form whatever order they came
//! in, parameters that the route ignores left out, everything else as it came.
//!
//! What asks for the same part must have the same key, or a thousand players cause a thousand requests. What may mean
//! something else must not: a malformed or contradictory directive stays as it is, for the origin to refuse.

use std::borrow::Cow;

/// Names with this prefix are HLS's own.
const RESERVED: &str = "_HLS_";

/// What a playlist request asks for beyond the playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// The media sequence number to wait for.
    pub msn: Option<u64>,
    /// The part of it to wait for.
    pub part: Option<u64>,
    /// A delta update is welcome.
    pub skip: bool,
}

impl Directives {
    /// Reads a query; `None` if it contradicts itself or has a number that is none: such a request is not held for.
    pub fn read(query: &str) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in query.split('&').map(split) {
            let number = match name {
                "_HLS_msn" => &mut read.msn,
                "_HLS_part" => &mut read.part,
                "_HLS_skip" => {
                    read.skip = matches!(value, Some("YES" | "v2"));
                    continue;
                }
                _ => continue,
            };
            let asked = value.and_then(decimal)?.parse().ok()?;
            if number.replace(asked).is_some_and(|before| before != asked) {
                return None;
            }
        }
        (read.part.is_none() || read.msn.is_some()).then_some(read)
    }

    /// True if the origin answers only once something is there.
    pub fn is_blocking(&self) -> bool {
        self.msn.is_some()
    }
}

/// The query in the one form that is part of the key and is sent on. `ignored` are names that are left out; `*` stands
/// for all but HLS's own. Directives come last, by name; the same twice counts once; numbers lose leading zeros.
pub fn canonical<'a>(query: &'a str, ignored: &[String]) -> Cow<'a, str> {
    if is_canonical(query, ignored) {
        return Cow::Borrowed(query);
    }
    let mut kept: Vec<(&str, Option<&str>)> = Vec::new();
    let mut directives = Vec::new();
    for (name, value) in query.split('&').filter(|parameter| !parameter.is_empty()).map(split) {
        if name.starts_with(RESERVED) {
            directives.push((name, form(name, value)));
        } else if !is_ignored(name, ignored) {
            kept.push((name, value));
        }
    }
    // Stable: values that contradict each other stay in their order, as it may decide which one counts.
    directives.sort_by_key(|(name, _)| *name);
    directives.dedup();
    let mut text = String::with_capacity(query.len());
    for (name, value) in kept.into_iter().chain(directives) {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    Cow::Owned(text)
}

fn is_canonical(query: &str, ignored: &[String]) -> bool {
    if query.is_empty() {
        return true;
    }
    let mut before: Option<(&str, Option<&str>)> = None;
    query.split('&').map(split).all(|(name, value)| {
        if !name.starts_with(RESERVED) {
            return before.is_none() && !(name.is_empty() && value.is_none()) && !is_ignored(name, ignored);
        }
        let directive = (name, value);
        let follows = before.is_none_or(|before| before.0 < name || (before.0 == name && before != directive));
        before = Some(directive);
        follows && form(name, value) == value
    })
}

fn is_ignored(name: &str, ignored: &[String]) -> bool {
    ignored.iter().any(|entry| entry == "*" || entry == name)
}

/// The one way to write a directive's value.
fn form<'a>(name: &str, value: Option<&'a str>) -> Option<&'a str> {
    match name {
        "_HLS_msn" | "_HLS_part" => value.map(|value| decimal(value).unwrap_or(value)),
        _ => value,
    }
}

/// Decimal digits without leading zeros; `None` for anything else.
fn decimal(text: &str) -> Option<&str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let zeros = text.bytes().take_while(|byte| *byte == b'0').count();
    Some(&text[zeros.min(text.len() - 1)..])
}

fn split(parameter: &str) -> (&str, Option<&str>) {
    parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ignored(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn one_question_has_one_form() {
        for (query, names, form) in [
            ("", &[][..], ""),
            ("_HLS_msn=5&_HLS_part=1", &[], "_HLS_msn=5&_HLS_part=1"),
            ("_HLS_part=1&_HLS_msn=5", &[], "_HLS_msn=5&_HLS_part=1"),
            ("_HLS_skip=YES&_HLS_part=01&_HLS_msn=0005", &[], "_HLS_msn=5&_HLS_part=1&_HLS_skip=YES"),
            ("_HLS_part=0&_HLS_msn=000", &[], "_HLS_msn=0&_HLS_part=0"),
            ("_HLS_msn=5&_HLS_msn=5", &[], "_HLS_msn=5"),
            ("_HLS_msn=6&b=2&_HLS_msn=5&a=1", &[], "b=2&a=1&_HLS_msn=6&_HLS_msn=5"),
            ("_HLS_msn=5&session=9", &["session"], "_HLS_msn=5"),
            ("a=1&session=9&b=2", &["session"], "a=1&b=2"),
            ("a=1&x&_HLS_msn=5&b", &["*"], "_HLS_msn=5"),
            ("sessions=9", &["session"], "sessions=9"),
            ("a&&b=&", &[], "a&b="),
            ("_HLS_msn=+5&_HLS_part=x", &[], "_HLS_msn=+5&_HLS_part=x"),
            ("_HLS_msn&_HLS_part=-1", &[], "_HLS_msn&_HLS_part=-1"),
            ("_HLS_msn=", &[], "_HLS_msn="),
        ] {
            assert_eq!(canonical(query, &ignored(names)), form, "{query}");
        }
    }

    #[test]
    fn directives_are_read_in_any_order_and_nonsense_is_none() {
        let read = Directives::read("_HLS_skip=v2&x=1&_HLS_part=02&_HLS_msn=9").unwrap();
        assert_eq!(read, Directives { msn: Some(9), part: Some(2), skip: true });
        assert!(read.is_blocking() && !Directives::read("a=1").unwrap().is_blocking());
        for nonsense in
            ["_HLS_part=1", "_HLS_msn=-1", "_HLS_msn", "_HLS_msn=1&_HLS_msn=2", "_HLS_msn=99999999999999999999"]
        {
            assert_eq!(Directives::read(nonsense), None, "{nonsense}");
        }
    }

    fn parameter() -> impl Strategy<Value = String> {
        let name = prop_oneof!["_HLS_(msn|part|skip|x)", "[ab_]{0,2}", "tok"];
        (name, prop::option::of("(0{0,2}[0-9]{0,2}|YES|[=x%-]{0,2})"))
            .prop_map(|(name, value)| value.map_or(name.clone(), |value| format!("{name}={value}")))
    }

    proptest! {
        #[test]
        fn the_form_is_a_fixed_point_and_says_the_same(parameters in prop::collection::vec(parameter(), 0..6), all in any::<bool>()) {
            let query = parameters.join("&");
            let ignored = ignored(if all { &["*"] } else { &["tok"] });
            let form = canonical(&query, &ignored).into_owned();
            prop_assert_eq!(Directives::read(&query), Directives::read(&form));
            let again = canonical(&form, &ignored);
            prop_assert!(matches!(again, Cow::Borrowed(_)), "{} is not its own form", form);
        }

        #[test]
        fn the_order_of_directives_does_not_matter(msn in any::<u32>(), part in 0u8..9, shuffle in 0usize..6) {
            let all = [format!("_HLS_msn={msn}"), format!("_HLS_part={part}"), "_HLS_skip=YES".to_owned()];
            let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            let query = orders[shuffle].map(|at| all[at].as_str()).join("&");
            prop_assert_eq!(canonical(&query, &[]), all.join("&"));
        }

        #[test]
        fn any_text_is_taken(query in "\\PC{0,60}") {
            let _ = (canonical(&query, &["a".to_owned()]), Directives::read(&query));
        }
    }
}
