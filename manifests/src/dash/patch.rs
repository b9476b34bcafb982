// SPDX-License-Identifier: Apache-2.0
//! MPD patches (ISO/IEC 23009-1, 5.15): from the timeline MPD of one publish time to that of a later one.
//!
//! Only single `S` elements are added, removed and replaced. Replacing a whole SegmentTimeline is valid, but dash.js and
//! shaka then stop updating; replacing an attribute is valid too, but dash.js keeps the new value as text and adds to it
//! as such. Whatever else differs is not patched: the player reloads the MPD. `Representation@bandwidth` alone may differ
//! and stays what the player has loaded.

use bytes::Bytes;
use dash_mpd::{MPD, S};
use quick_xml::Writer;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::name::QName;

use super::mpd::Document;

const NAMESPACE: &str = "urn:mpeg:dash:schema:mpd-patch:2020";

/// The patch that makes `from` into `to`; `None` when they differ in more than their timelines' ends (a new Period or
/// track, a loss, another time shift buffer, the end of the channel), or a timeline has nothing in common.
pub fn between(from: &Document, to: &Document) -> Option<Bytes> {
    let (from, to) = (from.model(), to.model());
    if outline(from) != outline(to) {
        return None;
    }
    let mut writer = Writer::new(Vec::with_capacity(1_024));
    write_head(&mut writer, from, to).ok()?;
    for (path, old, new) in timelines(from, to) {
        let steps = steps(old, new)?;
        for step in steps {
            write_step(&mut writer, &path, &step).ok()?;
        }
    }
    writer.write_event(Event::End(BytesEnd::new("Patch"))).ok()?;
    Some(writer.into_inner().into())
}

/// A patch that fits no earlier MPD: whoever gets it drops it and loads the whole MPD (ISO/IEC 23009-1, 5.15.3).
pub fn misfit(to: &Document) -> Bytes {
    let mut writer = Writer::new(Vec::with_capacity(256));
    // Writing into a Vec does not fail.
    let _ = writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    let _ = writer.write_event(Event::Empty(root(to.model(), to.model())));
    writer.into_inner().into()
}

/// All of an MPD that a patch cannot change.
fn outline(mpd: &MPD) -> MPD {
    let mut mpd = mpd.clone();
    mpd.publishTime = None;
    for location in &mut mpd.PatchLocation {
        location.content.clear();
    }
    for representation in mpd.periods.iter_mut().flat_map(|p| &mut p.adaptations).flat_map(|a| &mut a.representations) {
        representation.bandwidth = None;
        if let Some(timeline) = representation.SegmentTemplate.as_mut().and_then(|t| t.SegmentTimeline.as_mut()) {
            timeline.segments.clear();
        }
    }
    mpd
}

/// Each Representation's path and its timelines before and after. The outlines agree, so the two walks do.
fn timelines<'a>(from: &'a MPD, to: &'a MPD) -> Vec<(String, &'a [S], &'a [S])> {
    let mut found = Vec::new();
    for (old_period, new_period) in from.periods.iter().zip(&to.periods) {
        for (old_set, new_set) in old_period.adaptations.iter().zip(&new_period.adaptations) {
            for (old, new) in old_set.representations.iter().zip(&new_set.representations) {
                let path = format!(
                    "/MPD/Period[@id='{}']/AdaptationSet[@id='{}']/Representation[@id='{}']/SegmentTemplate/SegmentTimeline",
                    old_period.id.as_deref().unwrap_or_default(),
                    old_set.id.as_deref().unwrap_or_default(),
                    old.id.as_deref().unwrap_or_default(),
                );
                found.push((path, segments(old), segments(new)));
            }
        }
    }
    found
}

fn segments(representation: &dash_mpd::Representation) -> &[S] {
    let timeline = representation.SegmentTemplate.as_ref().and_then(|t| t.SegmentTimeline.as_ref());
    timeline.map_or(&[], |t| &t.segments)
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    RemoveFirst,
    /// Position from 1.
    Replace(usize, S),
    Append(S),
}

fn end_of(run: &S) -> u64 {
    let repeat = u64::try_from(run.r.unwrap_or(0)).unwrap_or(0);
    run.t.unwrap_or(0).saturating_add(run.d.saturating_mul(repeat.saturating_add(1)))
}

/// The steps from `old` to `new`, in the order in which they apply: what expired leaves the front, the first and the last
/// run that remain may be shorter or longer, and what is new is appended.
fn steps(old: &[S], new: &[S]) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    if old == new {
        return Some(steps);
    }
    let (Some(first), false) = (new.first(), old.is_empty()) else {
        // Nothing was listed: all is appended. Everything left: only a reload says so.
        steps.extend(new.iter().cloned().map(Step::Append));
        return old.is_empty().then_some(steps);
    };
    let gone = old.iter().take_while(|run| end_of(run) <= first.t.unwrap_or(0)).count();
    let kept = &old[gone..];
    if kept.is_empty() || kept.len() > new.len() {
        return None;
    }
    steps.extend((0..gone).map(|_| Step::RemoveFirst));
    for (index, (before, after)) in kept.iter().zip(new).enumerate() {
        if before == after {
            continue;
        }
        let at_an_end = index == 0 || index + 1 == kept.len();
        if !at_an_end || before.d != after.d || before.t > after.t {
            return None;
        }
        steps.push(Step::Replace(index + 1, after.clone()));
    }
    steps.extend(new[kept.len()..].iter().cloned().map(Step::Append));
    Some(steps)
}

fn write_head(writer: &mut Writer<Vec<u8>>, from: &MPD, to: &MPD) -> std::io::Result<()> {
    let publish = date_time(to);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.write_event(Event::Start(root(from, to)))?;
    write_operation(writer, "replace", "/MPD/@publishTime", |writer| {
        writer.write_event(Event::Text(BytesText::new(&publish)))
    })?;
    for (index, location) in to.PatchLocation.iter().enumerate() {
        let ttl = location.ttl.unwrap_or_default().to_string();
        write_operation(writer, "replace", &format!("/MPD/PatchLocation[{}]", index + 1), |writer| {
            writer
                .write_event(Event::Start(BytesStart::new("PatchLocation").with_attributes([("ttl", ttl.as_str())])))?;
            writer.write_event(Event::Text(BytesText::new(&location.content)))?;
            writer.write_event(Event::End(BytesEnd::new("PatchLocation")))
        })?;
    }
    Ok(())
}

fn root(from: &MPD, to: &MPD) -> BytesStart<'static> {
    BytesStart::new("Patch").with_attributes([
        ("xmlns", NAMESPACE),
        ("mpdId", to.id.as_deref().unwrap_or_default()),
        ("originalPublishTime", date_time(from).as_str()),
        ("publishTime", date_time(to).as_str()),
    ])
}

/// As the MPD prints it: dash.js and shaka compare the instants.
fn date_time(mpd: &MPD) -> String {
    mpd.publishTime.map_or_else(String::new, |t| t.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

fn write_step(writer: &mut Writer<Vec<u8>>, path: &str, step: &Step) -> std::io::Result<()> {
    match step {
        Step::RemoveFirst => writer.write_event(Event::Empty(operation_start("remove", &format!("{path}/S[1]")))),
        Step::Replace(position, run) => {
            write_operation(writer, "replace", &format!("{path}/S[{position}]"), |writer| write_run(writer, run))
        }
        Step::Append(run) => write_operation(writer, "add", path, |writer| write_run(writer, run)),
    }
}

fn write_run(writer: &mut Writer<Vec<u8>>, run: &S) -> std::io::Result<()> {
    let (time, duration, repeat) = (run.t.unwrap_or(0).to_string(), run.d.to_string(), run.r.unwrap_or(0).to_string());
    let attributes = [("t", time.as_str()), ("d", duration.as_str()), ("r", repeat.as_str())];
    writer.write_event(Event::Empty(BytesStart::new("S").with_attributes(attributes)))
}

fn write_operation(
    writer: &mut Writer<Vec<u8>>,
    operation: &str,
    selector: &str,
    content: impl FnOnce(&mut Writer<Vec<u8>>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    writer.write_event(Event::Start(operation_start(operation, selector)))?;
    content(writer)?;
    writer.write_event(Event::End(BytesEnd::new(operation)))
}

/// Not every player's parser unescapes attributes, and the selector's quotes need no escape in one that `"` delimits.
fn operation_start<'a>(operation: &'a str, selector: &str) -> BytesStart<'a> {
    let value = quick_xml::escape::partial_escape(selector).replace('"', "&quot;").into();
    BytesStart::new(operation).with_attributes([Attribute { key: QName("sel"), value }])
}
