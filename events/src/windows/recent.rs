// SPDX-License-Identifier: Apache-2.0
//! The rows that were told lately, to look at: `GET /events/windows`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::row::Row;
use super::table::Counts;

/// Rows kept; the oldest windows leave first.
const ROWS_MAX: usize = 10_000;

/// Rows since the process began; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    /// By end of the window, then by channel.
    rows: BTreeMap<(i64, String), Row>,
    counts: Counts,
}

impl Recent {
    /// Takes rows in place of what was told of their windows before.
    pub(super) fn take(&self, rows: impl IntoIterator<Item = Row>, counts: Counts) {
        let mut held = self.held.lock();
        held.counts = counts;
        for row in rows {
            held.rows.insert((row.window_end.0.millis(), row.channel.clone()), row);
            if held.rows.len() > ROWS_MAX {
                held.rows.pop_first();
            }
        }
    }

    /// The rows of a channel, or of all, the oldest first.
    pub fn rows(&self, channel: Option<&str>) -> Vec<Row> {
        let held = self.held.lock();
        let rows = held.rows.values().filter(|row| channel.is_none_or(|channel| row.channel == channel));
        rows.cloned().collect()
    }

    /// What became of the events.
    pub fn counts(&self) -> Counts {
        self.held.lock().counts
    }
}

/// Which rows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Of this channel alone.
    channel: Option<String>,
}

/// Windows over what was delivered.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Windows)]
pub struct Told {
    /// What became of the events.
    pub counts: Counts,
    /// The latest windows, the oldest first.
    pub windows: Vec<Row>,
}

/// Serves `GET /events/windows`.
pub fn router(recent: Recent) -> Router {
    Router::new().route("/events/windows", get(windows)).with_state(recent)
}

/// Windows over what was delivered, as they were told last.
#[utoipa::path(
    get, path = "/events/windows", params(Asked), tag = "events",
    responses((status = 200, description = "Windows, the oldest first", body = Told))
)]
pub(super) async fn windows(
    State(recent): State<Recent>,
    Query(asked): Query<Asked>,
) -> ([(HeaderName, HeaderValue); 1], Json<Told>) {
    let told = Told { counts: recent.counts(), windows: recent.rows(asked.channel.as_deref()) };
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(told))
}
