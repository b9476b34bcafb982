// SPDX-License-Identifier: Apache-2.0
//! What a DASH client reads from an MPD: which segments there are, when, and where.

use crate::harness::get;
use crate::xml::Element;

/// An MPD and what it was fetched from.
#[derive(Clone, Debug)]
pub(crate) struct Mpd {
    pub(crate) root: Element,
    base: String,
}

/// A Representation of a Period, times in its own timescale.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Representation {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) timescale: u64,
    pub(crate) initialization: String,
    /// `@duration` and `@startNumber` of a number template.
    pub(crate) duration: u64,
    start_number: u64,
    pub(crate) end_number: u64,
    pub(crate) availability_time_offset: f64,
    /// Of a timeline: (start, duration) of each segment.
    pub(crate) timeline: Vec<(u64, u64)>,
    /// Spans declared lost: (start, duration).
    pub(crate) lost: Vec<(u64, u64)>,
    media: String,
    offset: u64,
    period_start: f64,
}

impl Mpd {
    /// Fetches and reads an MPD.
    pub(crate) fn fetch(url: &str) -> Self {
        let response = get(url);
        assert_eq!(response.status, 200, "{url}: {}", response.text());
        assert_eq!(response.header("content-type"), Some("application/dash+xml"));
        Self::read(&response.text(), url)
    }

    pub(crate) fn read(text: &str, url: &str) -> Self {
        let root = Element::read(text);
        assert_eq!(root.name, "MPD");
        Self { root, base: url.to_owned() }
    }

    /// The address of what the MPD names.
    pub(crate) fn resolve(&self, path: &str) -> String {
        let host_at = self.base.find("://").expect("an absolute URL") + 3;
        let host_end = self.base[host_at..].find('/').map_or(self.base.len(), |at| host_at + at);
        if path.starts_with('/') {
            return format!("{}{path}", &self.base[..host_end]);
        }
        format!("{}/{path}", self.base.rsplit_once('/').expect("a path").0)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.root.want("type") == "dynamic"
    }

    pub(crate) fn time_shift_buffer(&self) -> f64 {
        seconds(self.root.want("timeShiftBufferDepth"))
    }

    /// Every Representation of every Period.
    pub(crate) fn representations(&self) -> Vec<Representation> {
        let mut found = Vec::new();
        for period in self.root.all("Period") {
            for set in period.all("AdaptationSet") {
                for element in set.all("Representation") {
                    found.push(Representation::read(element, set, seconds(period.want("start"))));
                }
            }
        }
        found
    }

    pub(crate) fn representation(&self, id: &str) -> Representation {
        let found = self.representations().into_iter().rfind(|r| r.id == id);
        found.unwrap_or_else(|| panic!("no Representation {id}"))
    }
}

impl Representation {
    fn read(element: &Element, set: &Element, period_start: f64) -> Self {
        let template = element.first("SegmentTemplate").expect("a SegmentTemplate");
        let number = |name: &str| template.get(name).map_or(0, |v| v.parse().expect("a number"));
        let mut timeline = Vec::new();
        for run in template.first("SegmentTimeline").into_iter().flat_map(|t| t.all("S")) {
            let repeat = run.get("r").map_or(0, |r| r.parse::<u64>().expect("no open repeat in a live timeline"));
            timeline.extend((0..=repeat).map(|i| (run.number("t") + i * run.number("d"), run.number("d"))));
        }
        let failover = template.first("FailoverContent");
        assert!(failover.is_none_or(|f| f.get("valid") == Some("false")));
        let lost = failover.into_iter().flat_map(|f| f.all("FCS")).map(|fcs| (fcs.number("t"), fcs.number("d")));
        Self {
            id: element.want("id").to_owned(),
            kind: set.want("contentType").to_owned(),
            timescale: number("timescale"),
            initialization: template.want("initialization").replace("$RepresentationID$", element.want("id")),
            duration: number("duration"),
            start_number: number("startNumber"),
            end_number: number("endNumber"),
            availability_time_offset: template
                .get("availabilityTimeOffset")
                .map_or(0.0, |v| v.parse().expect("seconds")),
            timeline,
            lost: lost.collect(),
            media: template.want("media").replace("$RepresentationID$", element.want("id")),
            offset: number("presentationTimeOffset"),
            period_start,
        }
    }

    pub(crate) fn number_path(&self, number: u64) -> String {
        self.media.replace("$Number$", &number.to_string())
    }

    pub(crate) fn time_path(&self, time: u64) -> String {
        self.media.replace("$Time$", &time.to_string())
    }

    /// When a segment's first chunk becomes available; availabilityStartTime is 1970.
    pub(crate) fn available_at(&self, number: u64) -> f64 {
        self.start_of(number + 1) - self.availability_time_offset
    }

    /// Presentation time of a segment's start in Unix seconds.
    pub(crate) fn start_of(&self, number: u64) -> f64 {
        self.period_start + ((number - self.start_number) * self.duration) as f64 / self.timescale as f64
    }

    /// The segment that a presentation time in Unix seconds falls into.
    pub(crate) fn number_at(&self, time: f64) -> u64 {
        let duration = self.duration as f64 / self.timescale as f64;
        self.start_number + ((time - self.period_start) / duration + 1e-6).floor() as u64
    }

    /// The segments of a number template that are available at `now` within the time shift buffer: first and last.
    pub(crate) fn available(&self, now: f64, time_shift_buffer: f64) -> (u64, u64) {
        // The oldest is the one that holds the buffer's first instant.
        (self.number_at(now - time_shift_buffer), self.number_at(now + self.availability_time_offset) - 1)
    }

    /// True if a presentation time is in a span declared lost.
    pub(crate) fn is_lost(&self, time: u64) -> bool {
        self.lost.iter().any(|(t, d)| (*t..t + d).contains(&time))
    }

    pub(crate) const fn presentation_time_offset(&self) -> u64 {
        self.offset
    }
}

/// An `xs:duration` of days or less.
pub(crate) fn seconds(text: &str) -> f64 {
    let mut total = 0.0;
    let mut number = String::new();
    for letter in text.strip_prefix('P').unwrap_or_else(|| panic!("{text}: not a duration")).chars() {
        match letter {
            'T' => {}
            '0'..='9' | '.' => number.push(letter),
            _ => {
                let unit = match letter {
                    'D' => 86_400.0,
                    'H' => 3_600.0,
                    'M' => 60.0,
                    'S' => 1.0,
                    _ => panic!("{text}: unit {letter}"),
                };
                total += std::mem::take(&mut number).parse::<f64>().unwrap_or_else(|e| panic!("{text}: {e}")) * unit;
            }
        }
    }
    total
}

#[test]
fn durations_are_read_in_seconds() {
    assert!((seconds("PT1M2.5S") - 62.5).abs() < 1e-9);
    assert!((seconds("P1DT1H") - 90_000.0).abs() < 1e-9);
}
