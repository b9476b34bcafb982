// SPDX-License-Identifier: Apache-2.0
//! What an operator says of a server: one TOML file, overridden by the environment; every key known, a wrong one refused
//! by name and line.
//!
//! The comments on the keys are their documentation: the example file and the reference page are written from them.

pub mod beside;
mod http;
mod keys;
mod layers;
pub mod reference;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Table;

pub use http::Http;
pub use keys::{Key, Kind, nearest};
pub use layers::{Error, Place, meant, read};

/// A configuration: what a file may say, and what holds of it.
pub trait Configuration: Default + Serialize + DeserializeOwned {
    /// What the names of its variables begin with.
    const PREFIX: &'static str;
    /// Variables that begin so and are no keys of the file.
    const OTHERS: &'static [&'static str] = &[];

    /// The keys of the file.
    fn keys() -> &'static [Key];

    /// Fills in what one table takes from another where it does not say itself.
    fn inherit(_: &mut Table) {}

    /// Values of the tables below the one at `path`, where that is one of tables by any name and they do not say
    /// otherwise; or of the one at `path` itself, where that is absent by default.
    fn defaults_below(_path: &str) -> Option<Value> {
        None
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Value`] for the first value outside its range.
    fn check(&self) -> Result<(), Error>;
}
