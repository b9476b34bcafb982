// SPDX-License-Identifier: Apache-2.0
//! What the shield knows of the playlists that pass through it: how far they are, whether they go on, what comes next.
//!
//! Pure: no clock, no socket, no task. The playlists may be any origin's; nothing here renders one.

mod dash;
pub mod directives;
mod hls;
pub mod marks;
pub mod next;
pub mod progress;
mod recent;
pub mod stalls;

pub use directives::{Directives, canonical};
pub use marks::{Marks, Verdict};
pub use next::{Expected, behind, expected};
pub use progress::{Position, Progress, Step, scan};
pub use stalls::{Pace, Stalls};
