// SPDX-License-Identifier: Apache-2.0
//! Attribute lists (rfc8216bis, 4.2): `NAME=value,NAME="value"`.

/// The attributes of one tag, in order.
#[derive(Debug)]
pub(super) struct Attributes<'a>(Vec<Attribute<'a>>);

#[derive(Clone, Copy, Debug)]
struct Attribute<'a> {
    name: &'a str,
    value: &'a str,
    quoted: bool,
}

impl<'a> Attributes<'a> {
    /// Reads a list; `None` if it is malformed anywhere.
    pub(super) fn parse(list: &'a str) -> Option<Self> {
        let mut attributes = Vec::new();
        let mut rest = list.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let name = name.trim();
            let legal = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || !name.bytes().all(legal) {
                return None;
            }
            let (value, quoted, tail) = match after.strip_prefix('"') {
                Some(text) => text.split_once('"').map(|(value, tail)| (value, true, tail))?,
                None => {
                    let end = after.find(',').unwrap_or(after.len());
                    (after[..end].trim(), false, &after[end..])
                }
            };
            attributes.push(Attribute { name, value, quoted });
            rest = match tail.trim_start().strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if tail.trim().is_empty() => "",
                None => return None,
            };
        }
        Some(Self(attributes))
    }

    /// The value of `name`, quoted or not; of repeated ones the last.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|attribute| attribute.name == name).map(|attribute| attribute.value)
    }

    /// True if `name` is `YES`.
    pub(super) fn is_yes(&self, name: &str) -> bool {
        self.value(name) == Some("YES")
    }

    /// The list for m3u8-rs: without empty values, at which it gives up a tag, and `quoted` names in quotes.
    pub(super) fn rewritten(&self, quoted: &[&str]) -> String {
        let mut list = String::new();
        for attribute in self.0.iter().filter(|attribute| !attribute.value.is_empty()) {
            let quote = if attribute.quoted || quoted.contains(&attribute.name) { "\"" } else { "" };
            let comma = if list.is_empty() { "" } else { "," };
            list.push_str(&format!("{comma}{}={quote}{}{quote}", attribute.name, attribute.value));
        }
        list
    }
}
