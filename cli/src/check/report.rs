// SPDX-License-Identifier: Apache-2.0
//! What a check found: by rule, in words for people or as one JSON object for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use headwater_manifests::rules::{Level, Rule, Tally, Verdict};
use serde_json::{Value, json};

/// What was checked, how it was judged, what it took.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) url: String,
    /// `hls` or `dash`.
    pub(crate) kind: &'static str,
    /// Version of HTTP that the first answer came by.
    pub(crate) protocol: String,
    pub(crate) seconds: f64,
    pub(crate) verdict: Verdict,
    /// Every rule that could have been judged, in the order in which it is told.
    pub(crate) rules: Vec<&'static Rule>,
    /// Objects fetched, by kind.
    pub(crate) fetched: BTreeMap<&'static str, u64>,
    /// Figures for information; no verdict rests on them.
    pub(crate) measured: BTreeMap<String, f64>,
    /// What could not be looked at, and why.
    pub(crate) notes: Vec<String>,
}

/// Notes that are told.
const NOTES_MAX: usize = 20;

/// What one part of a check brings to the whole.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) verdict: Verdict,
    pub(crate) fetched: BTreeMap<&'static str, u64>,
    pub(crate) measured: BTreeMap<String, f64>,
    pub(crate) notes: Vec<String>,
}

impl Findings {
    pub(crate) fn of(place: &str) -> Self {
        Self { verdict: Verdict::of(place), ..Self::default() }
    }

    pub(crate) fn count(&mut self, kind: &'static str) {
        *self.fetched.entry(kind).or_default() += 1;
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note.into());
        }
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.verdict.absorb(other.verdict);
        for (kind, count) in other.fetched {
            *self.fetched.entry(kind).or_default() += count;
        }
        self.measured.extend(other.measured);
        for note in other.notes {
            self.note(note);
        }
    }
}

impl Report {
    /// True if a rule whose clause says MUST was broken.
    pub(crate) fn is_broken(&self) -> bool {
        self.verdict.breaks(Level::Must)
    }

    const fn outcome(tally: Option<&Tally>) -> &'static str {
        match tally {
            None => "not-applicable",
            Some(tally) if tally.broken > 0 => "broken",
            Some(_) => "kept",
        }
    }

    /// The object that docs/reference/check.md describes.
    pub(crate) fn json(&self) -> Value {
        let rules = self.rules.iter().map(|rule| {
            let tally = self.verdict.tally(rule);
            let examples = tally.map_or(&[][..], |tally| &tally.examples).iter();
            let examples: Vec<Value> =
                examples.map(|v| json!({ "place": v.place, "expected": v.expected, "found": v.found })).collect();
            json!({
                "name": rule.name,
                "clause": rule.clause,
                "level": rule.level.as_str(),
                "says": rule.says,
                "outcome": Self::outcome(tally),
                "judged": tally.map_or(0, |t| t.judged),
                "broken": tally.map_or(0, |t| t.broken),
                "examples": examples,
            })
        });
        json!({
            "version": 1,
            "url": self.url,
            "kind": self.kind,
            "protocol": self.protocol,
            "seconds": self.seconds,
            "verdict": if self.is_broken() { "broken" } else { "kept" },
            "rules": rules.collect::<Vec<_>>(),
            "fetched": self.fetched,
            "measured": self.measured,
            "notes": self.notes,
        })
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let judged = |outcome: &str| -> Vec<(&Rule, Option<&Tally>)> {
            let all = self.rules.iter().map(|rule| (*rule, self.verdict.tally(rule)));
            all.filter(|(_, tally)| Self::outcome(*tally) == outcome).collect()
        };
        let (kept, broken, beside) = (judged("kept"), judged("broken"), judged("not-applicable"));
        writeln!(out, "{} as {} by {}, {:.0} s", self.url, self.kind.to_uppercase(), self.protocol, self.seconds)?;
        let fetched: Vec<String> = self.fetched.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        writeln!(out, "fetched {}\n", fetched.join(", "))?;
        for level in [Level::Must, Level::Should] {
            for (rule, tally) in broken.iter().filter(|(rule, _)| rule.level == level) {
                let Some(tally) = tally else { continue };
                let times = format!("{} of {}", tally.broken, tally.judged);
                writeln!(out, "broken  {:6}  {}  ({times})\n        {}", level.as_str(), rule.name, rule.says)?;
                writeln!(out, "        {}", rule.clause)?;
                for example in &tally.examples {
                    writeln!(out, "        {}: expected {}, got {}", example.place, example.expected, example.found)?;
                }
            }
        }
        for (rule, tally) in &kept {
            writeln!(out, "kept    {:6}  {}  ({})", rule.level.as_str(), rule.name, tally.map_or(0, |t| t.judged))?;
        }
        let names: Vec<&str> = beside.iter().map(|(rule, _)| rule.name).collect();
        if !names.is_empty() {
            writeln!(out, "\nnot applicable or not seen: {}", names.join(", "))?;
        }
        if !self.measured.is_empty() {
            writeln!(out, "\nmeasured, for information")?;
            for (name, value) in &self.measured {
                writeln!(out, "  {name}: {value:.3}")?;
            }
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        let of = |level: Level| broken.iter().filter(|(rule, _)| rule.level == level).count();
        let (must, should) = (of(Level::Must), of(Level::Should));
        writeln!(out, "\n{} rules kept, {must} MUST and {should} SHOULD broken", kept.len())
    }
}
