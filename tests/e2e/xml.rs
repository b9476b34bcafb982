// SPDX-License-Identifier: Apache-2.0
//! As much of XML as an MPD needs, and patches as RFC 5261 has them: it shares nothing with what writes them.

/// An element. Text is what stands directly in it, trimmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    pub(crate) text: String,
}

impl Element {
    /// Reads a document's root; panics with the place where it is not well-formed.
    pub(crate) fn read(text: &str) -> Self {
        let mut open: Vec<Self> = vec![Self::default()];
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let (tag, after) = after.split_once('>').unwrap_or_else(|| panic!("an open tag at {rest}"));
            let here = open.last_mut().unwrap_or_else(|| panic!("text after the root: {rest}"));
            here.text.push_str(before.trim());
            rest = after;
            if tag.starts_with(['?', '!']) {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                let closed = open.pop().expect("the root's parent stays");
                assert_eq!(closed.name, name, "closed in the wrong order");
                open.last_mut().unwrap_or_else(|| panic!("{name} was not open")).children.push(closed);
                continue;
            }
            let element = Self::opened(tag.trim_end_matches('/'));
            if tag.ends_with('/') {
                here.children.push(element);
            } else {
                open.push(element);
            }
        }
        assert_eq!(open.len(), 1, "not closed: {:?}", open.last().map(|e| &e.name));
        open.remove(0).children.pop().expect("a root element")
    }

    fn opened(tag: &str) -> Self {
        let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        let mut element = Self { name: name.to_owned(), ..Self::default() };
        while let Some((name, after)) = rest.trim().split_once("=\"") {
            let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("an open quote in {tag}"));
            let value = value.replace("&apos;", "'").replace("&quot;", "\"").replace("&lt;", "<").replace("&amp;", "&");
            element.attributes.push((name.trim().to_owned(), value));
            rest = after;
        }
        element
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// An attribute that must be there.
    pub(crate) fn want(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("{} without {name}: {:?}", self.name, self.attributes))
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.want(name).parse().unwrap_or_else(|e| panic!("{}@{name}: {e}", self.name))
    }

    /// Children of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |c| c.name == name)
    }

    pub(crate) fn first(&self, name: &str) -> Option<&Self> {
        self.all(name).next()
    }

    /// Descendants of a name, in document order.
    pub(crate) fn deep(&self, name: &str) -> Vec<&Self> {
        let mut found = Vec::new();
        for child in &self.children {
            if child.name == name {
                found.push(child);
            }
            found.extend(child.deep(name));
        }
        found
    }

    /// Removes an attribute everywhere below.
    pub(crate) fn forget(&mut self, name: &str) {
        self.attributes.retain(|(n, _)| n != name);
        for child in &mut self.children {
            child.forget(name);
        }
    }

    /// Applies the operations of a `Patch` to this `MPD`, in their order; panics where a selector finds nothing.
    pub(crate) fn apply(&mut self, patch: &Self) {
        for operation in &patch.children {
            let selector = operation.want("sel");
            let steps: Vec<&str> = selector.trim_start_matches('/').split('/').collect();
            assert_eq!(steps[0], self.name, "{selector}");
            let (last, path) = steps[1..].split_last().unwrap_or_else(|| panic!("{selector} is the root"));
            let mut parent = &mut *self;
            for step in path {
                let at = parent.place(step);
                parent = &mut parent.children[at];
            }
            match (operation.name.as_str(), last.strip_prefix('@')) {
                ("replace", Some(name)) => {
                    let known = parent.attributes.iter_mut().find(|(n, _)| n == name);
                    known.unwrap_or_else(|| panic!("{selector} finds nothing")).1.clone_from(&operation.text);
                }
                ("replace", None) => {
                    let at = parent.place(last);
                    parent.children.splice(at..=at, operation.children.iter().cloned());
                }
                ("remove", None) => {
                    let at = parent.place(last);
                    parent.children.remove(at);
                }
                ("add", None) => {
                    let at = parent.place(last);
                    parent.children[at].children.extend(operation.children.iter().cloned());
                }
                (other, _) => panic!("{other} {selector}: not an operation of this origin"),
            }
        }
    }

    /// Where the child is that a step like `S[1]`, `Period[@id='0']` or `SegmentTimeline` selects.
    fn place(&self, step: &str) -> usize {
        let (name, condition) = step.split_once('[').unwrap_or((step, ""));
        let condition = condition.trim_end_matches(']');
        let mut named = self.children.iter().enumerate().filter(|(_, c)| c.name == name);
        let found = if let Some((attribute, value)) = condition.strip_prefix('@').and_then(|c| c.split_once('=')) {
            named.find(|(_, c)| c.get(attribute) == Some(value.trim_matches('\'')))
        } else {
            let position: usize = if condition.is_empty() { 1 } else { condition.parse().expect("a position") };
            named.nth(position - 1)
        };
        found.unwrap_or_else(|| panic!("{step} finds nothing in {}", self.name)).0
    }
}

#[test]
fn a_patch_is_applied_step_by_step() {
    let mut mpd = Element::read("<?xml version=\"1.0\"?><MPD a=\"1\"><P id=\"x\"><S t=\"1\"/><S t=\"2\"/></P></MPD>");
    let patch = "<Patch><replace sel=\"/MPD/@a\">2</replace><remove sel=\"/MPD/P[@id='x']/S[1]\"/>\
        <replace sel=\"/MPD/P[@id='x']/S[1]\"><S t=\"3\"/></replace><add sel=\"/MPD/P[@id='x']\"><S t=\"4\"/></add></Patch>";
    mpd.apply(&Element::read(patch));
    assert_eq!(mpd, Element::read("<MPD a=\"2\"><P id=\"x\"><S t=\"3\"/><S t=\"4\"/></P></MPD>"));
}
