// SPDX-License-Identifier: Apache-2.0
//! Capacity for an event, from what is assumed of it: each number with the formula that gave it.
//!
//! Pure integer arithmetic: the same assumptions give the same plan, and a number that does not fit is the largest.

mod advice;
mod assumptions;
mod figures;
mod words;

use serde::{Deserialize, Serialize};

pub use advice::{Lifetime, Limit};
pub use assumptions::{Assumptions, Error, Region, Rendition};

use crate::unit::Unit;

/// What an event needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it follows from.
    pub assumptions: Assumptions,
    /// Every number.
    pub figures: Vec<Figure>,
    /// By region.
    pub regions: Vec<RegionNeeds>,
    /// How long caches may keep what.
    pub lifetimes: Vec<Lifetime>,
    /// Bounds for the configuration.
    pub limits: Vec<Limit>,
}

/// A number of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is called in files: `shield.bits_per_second`.
    pub key: String,
    /// In words.
    pub about: String,
    /// The number.
    pub value: u64,
    /// What it counts.
    pub unit: Unit,
    /// How it came about, with the numbers put in.
    pub formula: String,
}

/// What a region needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionNeeds {
    /// The region.
    pub name: String,
    /// Its caches that ask shields.
    pub edges: u64,
    /// Viewers there.
    pub viewers: u64,
    /// Sent to viewers there, bits per second.
    pub bits_per_second: u64,
    /// Sent by each edge, bits per second.
    pub edge_bits_per_second: u64,
    /// Requests of its edges to shields, a second.
    pub shield_requests_per_second: u64,
}

impl Plan {
    /// What is needed under these assumptions.
    ///
    /// # Errors
    /// [`Error`] for an assumption that cannot be.
    pub fn of(assumptions: &Assumptions) -> Result<Self, Error> {
        assumptions.check()?;
        let needs = figures::Needs::of(assumptions);
        Ok(Self {
            assumptions: assumptions.clone(),
            figures: figures::figures(assumptions, &needs),
            regions: figures::regions(assumptions, &needs),
            lifetimes: advice::lifetimes(assumptions),
            limits: advice::limits(assumptions, &needs),
        })
    }

    /// The figure of that key.
    pub fn figure(&self, key: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.key == key)
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        words::text(self)
    }

    /// As a page.
    pub fn markdown(&self) -> String {
        words::markdown(self)
    }
}

#[cfg(test)]
mod tests;
