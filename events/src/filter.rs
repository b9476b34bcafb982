// SPDX-License-Identifier: Apache-2.0
//! Which events somebody wants.

use crate::event::{Kind, Kinds};

/// By type and by channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// These types.
    pub kinds: Kinds,
    /// Of these channels alone; none: of any, and of none.
    pub channels: Vec<String>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { kinds: Kinds::ALL, channels: Vec::new() }
    }
}

impl Filter {
    /// True if an event of that type and channel is wanted.
    pub fn wants(&self, kind: Kind, channel: Option<&str>) -> bool {
        let of_channel = || channel.is_some_and(|channel| self.channels.iter().any(|wanted| wanted == channel));
        self.kinds.has(kind) && (self.channels.is_empty() || of_channel())
    }
}
