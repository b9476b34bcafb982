// SPDX-License-Identifier: Apache-2.0
//! A line chart as SVG: dark on white, legible at 800 pixels, no script, no font of its own.

use std::fmt::Write;

use headwater_media::UtcTime;

use crate::unit::Unit;

const SIZE: (i64, i64) = (800, 300);
/// Where lines are drawn: left, top, right, bottom.
const AREA: (i64, i64, i64, i64) = (78, 62, 772, 252);
/// Far enough apart in brightness to be told apart in grey too.
const COLOURS: [&str; 6] = ["#1b4f8f", "#c2571a", "#2c7a3f", "#8a3fa0", "#8c6d00", "#444444"];
/// Bands that are drawn.
const BANDS_MAX: usize = 200;

/// A line: a value for each column, none where nothing was told.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<Option<u64>>,
}

/// A time that is shaded.
pub(super) struct Band {
    pub(super) begin_ms: i64,
    pub(super) end_ms: i64,
    pub(super) label: String,
}

/// What is drawn.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) unit: Unit,
    /// The first column, seconds since 1970.
    pub(super) begin: i64,
    /// Seconds of a column.
    pub(super) width: i64,
    pub(super) lines: Vec<Line>,
    pub(super) bands: &'a [Band],
}

/// Text of others within XML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No character that XML cannot hold.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Steps of 1, 2 or 5 times a power of ten, so that there are about five.
fn step(span: u64) -> u64 {
    let mut step = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = step.saturating_mul(factor);
            if span / step <= 5 {
                return step;
            }
        }
        step = step.saturating_mul(10);
    }
}

/// Seconds between times that are written.
fn time_step(span: i64) -> i64 {
    const STEPS: [i64; 16] = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200];
    // Past half a day in whole days.
    let days = (span / (8 * 86_400) + 1).saturating_mul(86_400);
    STEPS.into_iter().find(|step| span / step <= 8).unwrap_or(days)
}

impl Chart<'_> {
    fn span(&self) -> i64 {
        let columns = self.lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
        i64::try_from(columns).unwrap_or(i64::MAX).saturating_mul(self.width).max(1)
    }

    /// The scale: its lowest and highest value, and the step of its lines.
    fn scale(&self) -> (u64, u64, u64) {
        let values = || self.lines.iter().flat_map(|line| line.points.iter().flatten().copied());
        let (least, most) = (values().min().unwrap_or(0), values().max().unwrap_or(0).max(1));
        // Ratios lie near the whole: they are drawn from where they begin.
        if self.unit == Unit::Permille {
            let step = step((1_000 - least.min(990)).max(10));
            return (least.min(990) / step * step, 1_000, step);
        }
        let step = step(most);
        (0, most.div_ceil(step).saturating_mul(step), step)
    }

    /// Tenths of a pixel from the left.
    fn x(&self, ms: i128) -> i64 {
        let (left, right) = (i128::from(AREA.0) * 10, i128::from(AREA.2) * 10);
        let span = i128::from(self.span()) * 1_000;
        let at = left + (ms - i128::from(self.begin) * 1_000) * (right - left) / span;
        i64::try_from(at.clamp(left, right)).unwrap_or(AREA.0 * 10)
    }

    pub(super) fn svg(&self) -> String {
        let (low, high, step) = self.scale();
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" \
             font-family=\"system-ui,sans-serif\" font-size=\"12\" fill=\"#222222\">\n\
             <rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n\
             <text x=\"16\" y=\"24\" font-size=\"16\" font-weight=\"600\">{2}</text>\n",
            SIZE.0,
            SIZE.1,
            escape(self.title),
        );
        self.bands(&mut out);
        self.values(&mut out, low, high, step);
        self.times(&mut out);
        for (at, line) in self.lines.iter().enumerate() {
            self.line(&mut out, line, COLOURS[at % COLOURS.len()], low, high);
        }
        self.legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn bands(&self, out: &mut String) {
        let (begin, end) =
            (self.begin.saturating_mul(1_000), self.begin.saturating_add(self.span()).saturating_mul(1_000));
        let seen = self.bands.iter().filter(|band| band.begin_ms < end && band.end_ms >= begin);
        for band in seen.take(BANDS_MAX) {
            let (left, right) = (self.x(band.begin_ms.into()), self.x(band.end_ms.into()));
            let _ = writeln!(
                out,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#d33a2c\" fill-opacity=\"0.16\"><title>{}</title></rect>",
                tenths(left),
                AREA.1,
                tenths((right - left).max(20)),
                AREA.3 - AREA.1,
                escape(&band.label),
            );
        }
    }

    fn values(&self, out: &mut String, low: u64, high: u64, step: u64) {
        let mut value = low;
        while value <= high {
            let y = y(value, low, high);
            let (line, text) = (tenths(y), tenths(y + 40));
            let colour = if value == low { "#666666" } else { "#dddddd" };
            let _ = writeln!(
                out,
                "<path d=\"M{} {line}H{}\" stroke=\"{colour}\"/>\n<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
                AREA.0,
                AREA.2,
                AREA.0 - 8,
                self.unit.show(value),
            );
            let Some(next) = value.checked_add(step) else { break };
            value = next;
        }
    }

    fn times(&self, out: &mut String) {
        let step = time_step(self.span());
        let first = self.begin.div_euclid(step).saturating_add(i64::from(self.begin.rem_euclid(step) > 0)) * step;
        let mut at = first;
        while at <= self.begin.saturating_add(self.span()) {
            let x = tenths(self.x(i128::from(at) * 1_000));
            let written = UtcTime::from_nanos(at.saturating_mul(1_000_000_000)).rfc3339_millis();
            let label = match step {
                ..60 => written.get(11..19),
                60..86_400 => written.get(11..16),
                _ => written.get(5..10),
            };
            let _ = writeln!(
                out,
                "<path d=\"M{x} {}v5\" stroke=\"#666666\"/>\n<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                AREA.3,
                AREA.3 + 19,
                label.unwrap_or_default(),
            );
            at += step;
        }
        let day = UtcTime::from_nanos(self.begin.saturating_mul(1_000_000_000)).rfc3339_millis();
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555555\">UTC, {}</text>",
            AREA.2,
            AREA.3 + 39,
            day.get(..10).unwrap_or_default(),
        );
    }

    /// A path with a break wherever nothing was told; a value alone is a dot.
    fn line(&self, out: &mut String, line: &Line, colour: &str, low: u64, high: u64) {
        let mut path = String::new();
        let mut pen_down = false;
        for (column, point) in line.points.iter().enumerate() {
            let Some(value) = point else {
                pen_down = false;
                continue;
            };
            let middle = i128::from(self.begin) * 1_000 + (column as i128 * 2 + 1) * i128::from(self.width) * 500;
            let _ = write!(
                path,
                "{}{} {}",
                if pen_down { "L" } else { "M" },
                tenths(self.x(middle)),
                tenths(y(*value, low, high)),
            );
            let alone = !pen_down && line.points.get(column + 1).is_none_or(Option::is_none);
            if alone {
                path.push_str("h0.1");
            }
            pen_down = true;
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\" \
             stroke-linecap=\"round\"/>"
        );
    }

    fn legend(&self, out: &mut String) {
        let room = (SIZE.0 - 32) / i64::try_from(self.lines.len().max(1)).unwrap_or(1);
        // Names have the room that there is: about seven pixels a letter.
        let letters = usize::try_from((room - 34) / 7).unwrap_or(4).max(4);
        let mut x = 16;
        for (at, line) in self.lines.iter().enumerate() {
            let mut name: String = line.name.chars().take(letters).collect();
            if line.name.chars().nth(letters).is_some() {
                name.pop();
                name.push('…');
            }
            let _ = writeln!(
                out,
                "<path d=\"M{x} 41h18\" stroke=\"{}\" stroke-width=\"3\"/>\n<text x=\"{}\" y=\"45\">{}</text>",
                COLOURS[at % COLOURS.len()],
                x + 24,
                escape(&name),
            );
            x += 34 + 7 * i64::try_from(name.chars().count()).unwrap_or(0);
        }
        if !self.bands.is_empty() {
            let _ = writeln!(
                out,
                "<rect x=\"{}\" y=\"13\" width=\"14\" height=\"14\" fill=\"#d33a2c\" fill-opacity=\"0.16\"/>\n\
                 <text x=\"{}\" y=\"24\" text-anchor=\"end\">incident</text>",
                AREA.2 - 66,
                AREA.2,
            );
        }
    }
}

/// Tenths of a pixel from the top.
fn y(value: u64, low: u64, high: u64) -> i64 {
    let (top, bottom) = (i128::from(AREA.1) * 10, i128::from(AREA.3) * 10);
    let span = i128::from(high.saturating_sub(low).max(1));
    let at = bottom - (i128::from(value) - i128::from(low)) * (bottom - top) / span;
    i64::try_from(at.clamp(top, bottom)).unwrap_or(AREA.3 * 10)
}

fn tenths(value: i64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(lines: Vec<Line>, bands: &[Band]) -> String {
        Chart { title: "Sent", unit: Unit::BitsPerSecond, begin: 1_795_291_200, width: 10, lines, bands }.svg()
    }

    fn line(name: &str, points: &[Option<u64>]) -> Line {
        Line { name: name.to_owned(), points: points.to_vec() }
    }

    #[test]
    fn ticks_are_round_and_times_are_utc() {
        let svg = chart(vec![line("a", &[Some(0), Some(730_000_000), Some(10)])], &[]);
        for label in
            ["0 b/s", "200 Mb/s", "400 Mb/s", "600 Mb/s", "800 Mb/s", "20:00:00", "20:00:30", "UTC, 2026-11-21"]
        {
            assert!(svg.contains(&format!(">{label}<")), "{label} is not in\n{svg}");
        }
    }

    #[test]
    fn a_line_breaks_where_nothing_was_told() {
        let svg = chart(vec![line("a", &[Some(1), Some(2), None, Some(3), None])], &[]);
        let path = svg.lines().find(|line| line.contains("stroke-linejoin")).unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count(), path.matches("h0.1").count()), (2, 1, 1));
    }

    #[test]
    fn text_of_others_stays_text() {
        let odd = "</text><script>alert('1')</script>\u{0}";
        let bands = [Band { begin_ms: 1_795_291_200_000, end_ms: 1_795_291_205_000, label: odd.to_owned() }];
        let svg = chart(vec![line(odd, &[Some(1)])], &bands);
        assert!(!svg.contains("<script") && !svg.contains('\u{0}'), "{svg}");
    }

    #[test]
    fn any_numbers_can_be_drawn() {
        for values in [vec![], vec![None], vec![Some(u64::MAX), Some(0)], vec![Some(0)]] {
            for begin in [i64::MIN / 1_000, 0, i64::MAX / 1_000] {
                for width in [1, 3_600, i64::MAX / 4_000] {
                    for unit in [Unit::Permille, Unit::Milliseconds] {
                        let lines = vec![line("a", &values)];
                        let svg = Chart { title: "t", unit, begin, width, lines, bands: &[] }.svg();
                        assert!(svg.len() < 20_000, "{}", svg.len());
                    }
                }
            }
        }
    }
}
