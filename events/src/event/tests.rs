// SPDX-License-Identifier: Apache-2.0
//! Reading events that anybody may have written.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::example;

fn kinds() -> impl Strategy<Value = Kind> {
    (0..Kind::ALL.len()).prop_map(|at| Kind::ALL[at])
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Event::from_json(&bytes);
    }

    #[test]
    fn an_event_with_bytes_changed_is_read_or_refused(
        kind in kinds(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = example(kind).to_json().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // What is read is an event: it can be written and read again.
        if let Ok(event) = Event::from_json(&bytes) {
            prop_assert_eq!(Event::from_json(event.to_json().as_bytes()).unwrap(), event);
        }
        let cut = cut.index(bytes.len());
        prop_assert!(Event::from_json(&bytes[..cut]).is_err());
    }

    #[test]
    fn fields_of_a_later_version_are_ignored(kind in kinds(), name in "[a-z]{1,12}_later", value in any::<i64>()) {
        let mut event: Value = serde_json::from_str(&example(kind).to_json()).unwrap();
        event[&name] = json!(value);
        event["data"][&name] = json!({ "deep": [value] });
        prop_assert_eq!(Event::from_json(event.to_string().as_bytes()).unwrap(), example(kind));
    }

    #[test]
    fn a_type_that_is_none_is_named_in_the_error(name in "[a-z.]{1,20}") {
        prop_assume!(Kind::named(&name).is_none());
        let mut event: Value = serde_json::from_str(&example(Kind::Health).to_json()).unwrap();
        event["type"] = json!(name);
        let error = Event::from_json(event.to_string().as_bytes()).unwrap_err().to_string();
        prop_assert_eq!(error, format!("expected a type of Headwater's in the attribute type, got {name}"));
    }
}

#[test]
fn another_version_of_cloudevents_is_refused() {
    let mut event: Value = serde_json::from_str(&example(Kind::Health).to_json()).unwrap();
    event["specversion"] = json!("0.3");
    let error = Event::from_json(event.to_string().as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "expected 1.0 in the attribute specversion, got 0.3");
}

#[test]
fn ids_differ_where_events_do() {
    let ids: std::collections::BTreeSet<String> = Kind::ALL.iter().map(|kind| example(*kind).id).collect();
    assert_eq!(ids.len(), Kind::ALL.len());
}
