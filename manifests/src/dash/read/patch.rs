// SPDX-License-Identifier: Apache-2.0
//! MPD patches of any origin (ISO/IEC 23009-1, 5.15), as far as they change timelines, and their application.

use headwater_media::UtcTime;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::walk::{self, Attributes};
use super::{BYTES_MAX, ENTRIES_MAX, Error, Mpd, Run};

/// A patch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// `@mpdId`.
    pub mpd_id: Option<String>,
    /// `@originalPublishTime`.
    pub original_publish_time: Option<UtcTime>,
    /// `@publishTime`.
    pub publish_time: Option<UtcTime>,
    /// In order.
    pub operations: Vec<Operation>,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// `add`, `remove` or `replace`.
    pub kind: String,
    /// `@sel`.
    pub selector: String,
    /// `add@pos`.
    pub position: Option<String>,
    /// The `S` elements it brings.
    pub runs: Vec<Run>,
}

/// Reads a patch.
///
/// # Errors
/// [`Error`] for a text that is none, or beyond the bounds.
pub fn parse(bytes: &[u8]) -> Result<Patch, Error> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::TooLong { max: BYTES_MAX, bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| Error::Malformed { at_bytes: e.valid_up_to() as u64 })?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut patch: Option<Patch> = None;
    let (mut depth, mut entries) = (0_usize, 0_usize);
    loop {
        let event = reader.read_event().map_err(|_| Error::Malformed { at_bytes: reader.error_position() })?;
        let (element, empty) = match &event {
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                continue;
            }
            Event::Eof if depth > 0 => return Err(Error::Malformed { at_bytes: reader.buffer_position() }),
            Event::Eof => break,
            _ => continue,
        };
        entries += 1;
        if entries > ENTRIES_MAX {
            return Err(Error::TooMany { max: ENTRIES_MAX });
        }
        let attributes = Attributes::of(element);
        let name = element.local_name();
        match (depth, name.as_ref(), &mut patch) {
            (0, "Patch", None) => {
                let time = |name: &str| attributes.text(name).and_then(|t| UtcTime::parse(&t));
                patch = Some(Patch {
                    mpd_id: attributes.text("mpdId"),
                    original_publish_time: time("originalPublishTime"),
                    publish_time: time("publishTime"),
                    operations: Vec::new(),
                });
            }
            (0, ..) => return Err(Error::NotMpd),
            (1, kind, Some(patch)) => patch.operations.push(Operation {
                kind: kind.to_owned(),
                selector: attributes.text("sel").unwrap_or_default(),
                position: attributes.text("pos"),
                runs: Vec::new(),
            }),
            (2, "S", Some(patch)) => {
                if let Some(operation) = patch.operations.last_mut() {
                    operation.runs.push(walk::run(&attributes));
                }
            }
            _ => {}
        }
        depth += usize::from(!empty);
    }
    patch.ok_or(Error::NotMpd)
}

impl Patch {
    /// Changes the timelines of `mpd` as the patch says. `None` if it says something that is not understood here: a
    /// selector other than by ids, or a change to more than single `S` elements, times and locations.
    pub fn apply(&self, mpd: &mut Mpd) -> Option<()> {
        for operation in &self.operations {
            if ["/MPD/@publishTime", "/MPD/PatchLocation"].iter().any(|own| operation.selector.starts_with(own)) {
                continue;
            }
            let (period, rest) = step(operation.selector.strip_prefix("/MPD/Period")?)?;
            let (set, rest) = step(rest.strip_prefix("/AdaptationSet")?)?;
            let (representation, rest) = step(rest.strip_prefix("/Representation")?)?;
            let rest = rest.strip_prefix("/SegmentTemplate/SegmentTimeline")?;
            let period = mpd.periods.iter_mut().find(|p| p.id.as_deref() == Some(period))?;
            let mut found = period.representations.iter_mut();
            let found = found.find(|r| r.id == representation && r.set.as_deref() == Some(set))?;
            change(operation, rest, found.template.as_mut()?.timeline.as_mut()?)?;
        }
        mpd.publish_time = self.publish_time;
        Some(())
    }
}

/// Reads `[@id='x']` and what follows it.
fn step(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("[@id=")?;
    let quote = rest.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    let (id, rest) = rest[1..].split_once(quote)?;
    Some((id, rest.strip_prefix(']')?))
}

fn change(operation: &Operation, element: &str, timeline: &mut Vec<Run>) -> Option<()> {
    if element.is_empty() {
        match (operation.kind.as_str(), operation.position.as_deref()) {
            ("add", None) => timeline.extend(&operation.runs),
            ("add", Some("prepend")) => drop(timeline.splice(0..0, operation.runs.iter().copied())),
            ("replace", _) => timeline.clone_from(&operation.runs),
            _ => return None,
        }
        return Some(());
    }
    let number: usize = element.strip_prefix("/S[")?.strip_suffix(']')?.parse().ok()?;
    let index = number.checked_sub(1).filter(|index| *index < timeline.len())?;
    match operation.kind.as_str() {
        "remove" => drop(timeline.remove(index)),
        "replace" => drop(timeline.splice(index..=index, operation.runs.iter().copied())),
        "add" if operation.position.as_deref() == Some("after") => {
            drop(timeline.splice(index + 1..index + 1, operation.runs.iter().copied()));
        }
        "add" if operation.position.as_deref() == Some("before") => {
            drop(timeline.splice(index..index, operation.runs.iter().copied()));
        }
        _ => return None,
    }
    Some(())
}
