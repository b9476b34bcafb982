// SPDX-License-Identifier: Apache-2.0
//! Reads server-sent events (HTML, 9.2.5) from bytes as they come. Nothing that comes makes it hold more than a bound.

/// Bytes of one line, and of one event's data.
const BYTES_MAX: usize = 1 << 20;

/// A block of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// An event.
    Event {
        /// Its type; empty where the stream does not say.
        name: String,
        /// Its lines.
        data: Vec<u8>,
        /// The last `id` there was.
        id: Option<String>,
    },
    /// Nothing but a place: whoever resumes does so behind it.
    Place(Option<String>),
    /// An event was larger than is taken, and is left out.
    TooBig,
}

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    /// The line is longer than is taken.
    is_long: bool,
    /// The last byte was a carriage return: a line feed next is of the same line's end.
    after_return: bool,
    is_begun: bool,
    id: Option<String>,
    name: String,
    data: Vec<u8>,
    has_data: bool,
    has_fields: bool,
    is_too_big: bool,
}

impl Reader {
    /// Takes bytes, and gives what they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut rest = bytes;
        if rest.is_empty() {
            return blocks;
        }
        if std::mem::take(&mut self.after_return) && rest.starts_with(b"\n") {
            rest = &rest[1..];
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.extend(&rest[..end]);
            let is_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_return {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
            blocks.extend(self.end_line());
        }
        self.extend(rest);
        blocks
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.is_long || self.line.len() + bytes.len() > BYTES_MAX {
            self.is_long = true;
            self.line.clear();
            return;
        }
        self.line.extend_from_slice(bytes);
    }

    fn end_line(&mut self) -> Option<Block> {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_long) {
            self.is_too_big = true;
            return None;
        }
        if !std::mem::replace(&mut self.is_begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            return self.end_block();
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon {
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (&line[..], &b""[..]),
        };
        match name {
            b"data" => self.add(value),
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.id = Some(String::from_utf8_lossy(value).into_owned());
                self.has_fields = true;
            }
            // Comments, `retry` (pauses are our own), and what later versions add.
            _ => {}
        }
        // What is kept of a line is a copy; its room is used again.
        line.clear();
        self.line = line;
        None
    }

    fn add(&mut self, value: &[u8]) {
        if self.data.len() + value.len() + 1 > BYTES_MAX {
            self.is_too_big = true;
            return;
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    fn end_block(&mut self) -> Option<Block> {
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        let (has_data, has_fields) = (std::mem::take(&mut self.has_data), std::mem::take(&mut self.has_fields));
        if std::mem::take(&mut self.is_too_big) {
            return Some(Block::TooBig);
        }
        if has_data {
            return Some(Block::Event { name, data, id: self.id.clone() });
        }
        has_fields.then(|| Block::Place(self.id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> Block {
        Block::Event { name: name.to_owned(), data: data.as_bytes().to_vec(), id: id.map(str::to_owned) }
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let text = "\u{feff}: hello\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\r\n\revent: e\rdata\rdata\n\nid: 9\n\n";
        let expected = [
            event("", "first", Some("1")),
            event("", "second", Some("")),
            event("", " third", Some("")),
            event("e", "\n", Some("")),
            Block::Place(Some("9".to_owned())),
        ];
        assert_eq!(Reader::default().push(text.as_bytes()), expected);
    }

    #[test]
    fn an_event_beyond_the_bound_is_left_out_and_the_next_is_read() {
        let mut reader = Reader::default();
        let mut blocks = reader.push(b"data: ");
        for _ in 0..3 {
            blocks.extend(reader.push(&vec![b'x'; BYTES_MAX / 2]));
            assert!(reader.line.len() <= BYTES_MAX);
        }
        blocks.extend(reader.push(b"\nid: 5\n\ndata: next\n\n"));
        for _ in 0..3 {
            blocks.extend(reader.push(&[&b"data: "[..], &vec![b'y'; BYTES_MAX / 2], b"\n"].concat()));
        }
        blocks.extend(reader.push(b"\n"));
        assert_eq!(blocks, [Block::TooBig, event("", "next", Some("5")), Block::TooBig]);
    }

    proptest! {
        #[test]
        fn a_stream_reads_alike_however_it_is_cut(
            text in "([a-z: ]|data|id|event|\r\n|\n|\r){0,60}",
            cuts in proptest::collection::vec(0_usize..8, 1..20),
        ) {
            let whole = Reader::default().push(text.as_bytes());
            let (mut reader, mut blocks, mut rest) = (Reader::default(), Vec::new(), text.as_bytes());
            for cut in cuts.iter().cycle().take(200) {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                blocks.extend(reader.push(now));
                rest = later;
            }
            blocks.extend(reader.push(rest));
            prop_assert_eq!(blocks, whole);
        }

        #[test]
        fn no_bytes_harm(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            Reader::default().push(&bytes);
        }
    }
}
