// SPDX-License-Identifier: Apache-2.0
//! HTTP/2 by prior knowledge on one connection, several streams at once: just the frames that this takes (RFC 9113).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::certificate::NAME;
use super::super::client::Error;
use super::{Target, Turn};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// What the server may send ahead on the connection, and on each stream.
const WINDOW: u32 = 1 << 30;

/// An open stream.
struct Stream {
    id: u32,
    body_bytes: u64,
    compared: bool,
}

pub(super) async fn client(port: u16, streams: usize, target: &Target, turn: &Turn) -> Result<(), Error> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let fields = fields(target);
    let mut out = PREFACE.to_vec();
    // No dynamic table, no push, wide windows.
    let settings: Vec<u8> = [(1_u16, 0), (2, 0), (4, WINDOW)]
        .into_iter()
        .flat_map(|(name, value): (u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    frame(&mut out, SETTINGS, 0, 0, &settings);
    frame(&mut out, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
    let mut next = 1;
    let mut open = Vec::with_capacity(streams);
    let mut ask = |out: &mut Vec<u8>, open: &mut Vec<Stream>| {
        frame(out, HEADERS, END_STREAM | END_HEADERS, next, &fields);
        open.push(Stream { id: next, body_bytes: 0, compared: turn.count() });
        next += 2;
    };
    for _ in 0..streams {
        ask(&mut out, &mut open);
    }
    let mut buffer = vec![0; 512 * 1024];
    let (mut have, mut received) = (0, 0_u32);
    while !open.is_empty() {
        if !out.is_empty() {
            socket.write_all(&out).await?;
            out.clear();
        }
        match socket.read(&mut buffer[have..]).await? {
            0 => return Err(Error::Short { have_bytes: 0 }),
            bytes => have += bytes,
        }
        let mut at = 0;
        while let Some((kind, flags, id, payload)) = parse(&buffer[at..have]) {
            at += FRAME_HEAD_BYTES + payload.len();
            match kind {
                SETTINGS if flags & ACK == 0 => frame(&mut out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(&mut out, PING, ACK, 0, payload),
                RST_STREAM | GOAWAY => return Err(Error::Status(format!("frame {kind}: {payload:?}"))),
                DATA | HEADERS => {
                    let Some(place) = open.iter().position(|stream| stream.id == id) else {
                        return Err(Error::Framing);
                    };
                    received += if kind == DATA { u32::try_from(payload.len()).unwrap_or(0) } else { 0 };
                    take(&mut open[place], kind, flags, payload, target)?;
                    if flags & END_STREAM != 0 {
                        let stream = open.swap_remove(place);
                        if stream.body_bytes != target.size {
                            return Err(Error::Wrong { at_bytes: stream.body_bytes });
                        }
                        if !turn.over.get() {
                            ask(&mut out, &mut open);
                        }
                    }
                }
                _ => {}
            }
        }
        buffer.copy_within(at..have, 0);
        have -= at;
        if received > WINDOW / 2 {
            frame(&mut out, WINDOW_UPDATE, 0, 0, &received.to_be_bytes());
            received = 0;
        }
    }
    Ok(())
}

/// What a frame brings to its stream.
fn take(stream: &mut Stream, kind: u8, flags: u8, payload: &[u8], target: &Target) -> Result<(), Error> {
    let payload = match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => &rest[..rest.len().saturating_sub(usize::from(*padding))],
        _ => payload,
    };
    if kind == HEADERS {
        // Past changes of the table's size comes the status; 200 has an entry of its own in the static table.
        let first = payload.iter().find(|byte| **byte & 0xe0 != 0x20);
        return if first == Some(&0x88) { Ok(()) } else { Err(Error::Status(format!("fields {payload:?}"))) };
    }
    if stream.compared && !target.pattern().fits(stream.body_bytes, payload) {
        return Err(Error::Wrong { at_bytes: stream.body_bytes });
    }
    stream.body_bytes += payload.len() as u64;
    Ok(())
}

/// The request's fields, each literal or from the static table (RFC 7541).
fn fields(target: &Target) -> Vec<u8> {
    let mut fields = vec![0x82, 0x86];
    for (name, value) in [(0x04, target.path.as_str()), (0x01, NAME)] {
        fields.push(name);
        fields.push(u8::try_from(value.len()).ok().filter(|n| *n < 127).expect("short names"));
        fields.extend_from_slice(value.as_bytes());
    }
    fields
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a short frame");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The first frame, if it is whole: kind, flags, stream, payload.
fn parse(bytes: &[u8]) -> Option<(u8, u8, u32, &[u8])> {
    let head = bytes.first_chunk::<FRAME_HEAD_BYTES>()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    let payload = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length)?;
    Some((head[3], head[4], id, payload))
}
