// SPDX-License-Identifier: Apache-2.0
//! How far somebody has followed and dealt with what came: what to go on from after a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::follow::{Follow, Position};
use crate::log::{Log, Offset};

/// The last that was dealt with. Of a log whoever follows it keeps this; of Kafka its consumer group does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    log: Option<u64>,
    /// By topic and partition, as long as the group was not told.
    #[serde(skip)]
    kafka: BTreeMap<(String, i32), i64>,
}

impl Positions {
    /// What stood at `position` is dealt with.
    pub fn pass(&mut self, position: Position) {
        match position {
            Position::Log(Offset(offset)) => self.log = Some(offset),
            Position::Kafka { topic, partition, offset } => {
                self.kafka.insert((topic, partition), offset);
            }
        }
    }

    /// The event of a log to go on from: the oldest there is where nothing is known.
    pub fn next(&self, log: &Log) -> Offset {
        self.log.map_or_else(|| log.first(), |last| Offset(last.saturating_add(1)))
    }

    /// Tells a consumer group, if one is followed.
    pub fn tell(&mut self, follow: &Follow) {
        for ((topic, partition), offset) in std::mem::take(&mut self.kafka) {
            follow.done(&Position::Kafka { topic, partition, offset });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_a_log_survives_in_writing() {
        let log = Log::memory();
        let mut positions = Positions::default();
        assert_eq!(positions.next(&log), Offset(0));
        positions.pass(Position::Log(Offset(5)));
        let read: Positions = serde_json::from_str(&serde_json::to_string(&positions).unwrap()).unwrap();
        assert_eq!(read.next(&log), Offset(6));
    }

    #[test]
    fn a_group_is_told_the_last_of_each_partition() {
        let (_sender, follow) = Follow::channel();
        let mut positions = Positions::default();
        for (partition, offset) in [(0, 1), (1, 7), (0, 2)] {
            positions.pass(Position::Kafka { topic: "t".into(), partition, offset });
        }
        positions.tell(&follow);
        assert_eq!(positions, Positions::default());
        #[cfg(feature = "kafka")]
        assert_eq!(follow.feedback().take(), BTreeMap::from([(("t".into(), 0), 2), (("t".into(), 1), 7)]));
    }
}
