// SPDX-License-Identifier: Apache-2.0
//! The rules that a manifest keeps or breaks, judged from its text: our own in the running origin, anybody's from outside.
//!
//! A rule is a value with a name that never changes, the clause it comes from and whether the clause says MUST. Judging
//! adds to a [`Verdict`] what was looked at and what was wrong, in words: what was expected, what came. Nothing here
//! fetches, waits or reads a clock.

pub mod dash;
pub mod hls;

use std::collections::BTreeMap;

/// Violations of one rule whose words are kept; the others are counted.
pub const EXAMPLES_MAX: usize = 4;

/// What a clause demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Breaking it breaks players.
    Must,
    /// There may be reasons not to.
    Should,
}

impl Level {
    /// `MUST` or `SHOULD`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        }
    }
}

/// A rule. Named by what is wrong when it is broken, or by what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable, in kebab case: a metric's label and a report's key.
    pub name: &'static str,
    /// Where it stands.
    pub clause: &'static str,
    /// How strongly.
    pub level: Level,
    /// What holds when it is kept.
    pub says: &'static str,
}

impl Rule {
    /// A rule whose clause says MUST.
    pub const fn must(name: &'static str, clause: &'static str, says: &'static str) -> Self {
        Self { name, clause, level: Level::Must, says }
    }

    /// A rule whose clause says SHOULD.
    pub const fn should(name: &'static str, clause: &'static str, says: &'static str) -> Self {
        Self { name, clause, level: Level::Should, says }
    }
}

/// A rule broken once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: &'static Rule,
    /// In which manifest or object.
    pub place: String,
    /// What the rule wants here.
    pub expected: String,
    /// What came.
    pub found: String,
}

/// How often a rule was judged, and how.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Which.
    pub rule: &'static Rule,
    /// How often it applied.
    pub judged: u64,
    /// How often it was broken.
    pub broken: u64,
    /// The first [`EXAMPLES_MAX`] violations.
    pub examples: Vec<Violation>,
}

/// What was judged so far, by rule.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    place: String,
    tallies: BTreeMap<&'static str, Tally>,
}

impl Verdict {
    /// Nothing judged; what is judged from here on is of `place`.
    pub fn of(place: &str) -> Self {
        Self { place: place.to_owned(), tallies: BTreeMap::new() }
    }

    /// What is judged from here on is of `place`.
    pub fn at(&mut self, place: &str) -> &mut Self {
        place.clone_into(&mut self.place);
        self
    }

    /// Judges a rule; `words` says what was expected and what came, and is asked only when it does not hold.
    pub fn judge<E: Into<String>, F: Into<String>>(
        &mut self,
        rule: &'static Rule,
        holds: bool,
        words: impl FnOnce() -> (E, F),
    ) {
        let tally = self.tallies.entry(rule.name).or_insert(Tally { rule, judged: 0, broken: 0, examples: Vec::new() });
        tally.judged += 1;
        if holds {
            return;
        }
        tally.broken += 1;
        if tally.examples.len() < EXAMPLES_MAX {
            let (expected, found) = words();
            let (place, expected, found) = (self.place.clone(), expected.into(), found.into());
            tally.examples.push(Violation { rule, place, expected, found });
        }
    }

    /// Adds what another verdict found.
    pub fn absorb(&mut self, other: Self) {
        for (name, theirs) in other.tallies {
            let ours = self.tallies.entry(name).or_insert(Tally {
                rule: theirs.rule,
                judged: 0,
                broken: 0,
                examples: Vec::new(),
            });
            ours.judged += theirs.judged;
            ours.broken += theirs.broken;
            let room = EXAMPLES_MAX.saturating_sub(ours.examples.len());
            ours.examples.extend(theirs.examples.into_iter().take(room));
        }
    }

    /// Every rule that was judged, by name.
    pub fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.values()
    }

    /// The tally of a rule, if it was judged.
    pub fn tally(&self, rule: &Rule) -> Option<&Tally> {
        self.tallies.get(rule.name)
    }

    /// The violations whose words were kept.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.tallies.values().flat_map(|tally| &tally.examples)
    }

    /// True if a rule of this level was broken.
    pub fn breaks(&self, level: Level) -> bool {
        self.tallies.values().any(|tally| tally.broken > 0 && tally.rule.level == level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static RULE: Rule = Rule::must("a-rule", "here", "something holds");

    #[test]
    fn a_verdict_counts_all_and_keeps_the_words_of_a_few() {
        let mut verdict = Verdict::of("a.m3u8");
        for n in 0..10 {
            verdict.judge(&RULE, n % 2 == 0, || ("even", n.to_string()));
        }
        let mut whole = Verdict::default();
        whole.absorb(verdict.clone());
        whole.absorb(verdict);
        let tally = whole.tally(&RULE).unwrap();
        assert_eq!((tally.judged, tally.broken, tally.examples.len()), (20, 10, EXAMPLES_MAX));
        assert_eq!((tally.examples[0].place.as_str(), tally.examples[0].found.as_str()), ("a.m3u8", "1"));
        assert!(whole.breaks(Level::Must) && !whole.breaks(Level::Should));
    }
}
