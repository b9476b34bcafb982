// SPDX-License-Identifier: Apache-2.0
//! What of events needs three brokers, or longer than others should wait for: `make test-cluster`.

use headwater_events::config;
use headwater_tests::broker::Broker;

use crate::kafka::{away, config, hundred_thousand};

#[test]
fn one_of_three_brokers_may_be_killed_under_load() {
    let mut broker = Broker::three();
    let config = config::Kafka { replicas: 3, ..config(broker.bootstrap()) };
    hundred_thousand(&mut broker, &config, |broker| away(broker, 1, 12));
}

#[test]
fn a_broker_that_is_away_for_half_a_minute_loses_nothing() {
    let mut broker = Broker::single();
    let config = config(broker.bootstrap());
    hundred_thousand(&mut broker, &config, |broker| away(broker, 0, 30));
}
