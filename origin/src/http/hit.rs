// SPDX-License-Identifier: Apache-2.0
//! What a viewer fetches and is here already, answered as it is read: playlists, headers, parts and whole segments.
//!
//! It decides nothing of its own: what it does not answer, [`live::handle`] does, and for what it answers the bytes are
//! the same. Conditions, ranges, what is waited for and what is refused it leaves alone.

use bytes::Bytes;
use headwater_manifests::hls::directives::Directives;
use headwater_media::path::{Freshness, LivePath, Object};
use headwater_net::gzip;
use headwater_net::h1::{Answer, Head};
use http::header::{ACCEPT_ENCODING, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};

use super::{live, respond};
use crate::Origin;
use crate::channel::State;
use crate::cmsd::STATIC;
use crate::edge::{Form, Rendered};
use crate::metrics::{ClassLabel, ServedLabel};
use crate::store::{Media, Name, Tagged};

/// Writes the answer to a request under `/live/` if nothing stands between it and its bytes.
pub(super) fn hit(origin: &Origin, head: &Head<'_>, answer: &mut Answer<'_>) -> bool {
    write(origin, head, answer).is_some()
}

fn write(origin: &Origin, head: &Head<'_>, answer: &mut Answer<'_>) -> Option<()> {
    let path = LivePath::parse(head.path())?;
    let plain = *head.method() != Method::OPTIONS
        && head.field(IF_NONE_MATCH.as_str()).is_none()
        && head.field(RANGE.as_str()).is_none();
    if !plain || origin.context.shutdown.is_started() {
        return None;
    }
    let channel = origin.channel(path.channel)?;
    let view = channel.view();
    let query = head.query().unwrap_or("");
    let found = match path.object {
        Object::Multivariant | Object::MultivariantPlain if view.settled && !view.ladder.is_empty() => {
            let plain = path.object == Object::MultivariantPlain;
            Found::Text(view.multivariant(plain), Freshness::Playlist)
        }
        Object::Media(track) | Object::Plain(track) | Object::IFrames(track) => {
            let form = match path.object {
                Object::Plain(_) => Form::Plain,
                Object::IFrames(_) => Form::IFrames,
                _ => Form::Full,
            };
            let snapshot = channel.edge(track)?.snapshot();
            if !snapshot.is_listed() {
                return None;
            }
            let (form, freshness) = live::at_once(&snapshot, form, Directives::parse(query).ok()?)?;
            Found::Text(snapshot.playlist(form), freshness)
        }
        Object::Header(track, generation) => Found::Media(channel.header(track, generation)?),
        Object::Part(track, number, part) => Found::Media(channel.edge(track)?.store.find(number)?.part(part)?),
        Object::Segment(track, number) => match channel.edge(track)?.store.find(number)?.media(Name::Number) {
            Media::Whole(whole) => Found::Media(whole),
            Media::Growing(..) => return None,
        },
        _ => return None,
    };
    let target = view.targets.map_or(live::TARGET_UNKNOWN, |targets| targets.target().to_std());
    let media_type = path.object.media_type();
    answer.status(StatusCode::OK);
    let cmsd = origin.config.load().http.cmsd;
    let body = match found {
        Found::Text(rendered, freshness) => {
            respond::describe(answer, media_type, freshness, target);
            if cmsd {
                answer.field(&STATIC, origin.texts.of(media_type, view.state == State::Ended));
            }
            text(&rendered, head, answer)
        }
        Found::Media(object) => {
            respond::describe(answer, media_type, Freshness::Media, target);
            respond::describe_media(answer, object.tag);
            if cmsd {
                answer.field(&STATIC, &object.said);
            }
            object.bytes
        }
    };
    let class = live::class(path.object, query);
    let metrics = &origin.context.metrics;
    metrics.served.get_or_create(&ServedLabel { class, status: StatusCode::OK.as_u16() }).inc();
    let sent = if *head.method() == Method::HEAD { 0 } else { body.len() as u64 };
    metrics.served_bytes.get_or_create(&ClassLabel { class }).inc_by(sent);
    answer.body(body);
    Some(())
}

enum Found {
    Text(std::sync::Arc<Rendered>, Freshness),
    Media(Tagged),
}

/// The rest of a text's fields, and its bytes in the coding that is admitted.
fn text(rendered: &Rendered, head: &Head<'_>, answer: &mut Answer<'_>) -> Bytes {
    let admitted = head.field(ACCEPT_ENCODING.as_str()).and_then(|value| std::str::from_utf8(value).ok());
    if !admitted.is_some_and(gzip::admitted) {
        respond::describe_text(answer, rendered.tag.clone());
        return rendered.body.clone();
    }
    respond::describe_zipped(answer);
    respond::describe_text(answer, respond::zipped_tag(&rendered.tag));
    rendered.gzip().clone()
}
