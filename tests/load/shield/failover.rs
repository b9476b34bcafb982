// SPDX-License-Identifier: Apache-2.0
//! Two origins that serve the same bytes under the same validators; something happens to the preferred one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::Rig;
use super::client::{Connection, Want};
use super::origin::{Fault, Origin};
use super::server::{Server, Site};
use super::table::Table;
use crate::figures::Sorted;

/// One request each.
const EVERY: Duration = Duration::from_micros(2_500);
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(6);
const SIZE: u64 = 100_000;
/// One request in so many is for an object that was there before.
const REPEATED: u64 = 5;
const WAIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
enum Trouble {
    Killed,
    Hung,
    Errors,
    Cut,
}

impl Trouble {
    const ALL: [Self; 4] = [Self::Killed, Self::Hung, Self::Errors, Self::Cut];

    fn said(self) -> &'static str {
        match self {
            Self::Killed => "the preferred origin is killed",
            Self::Hung => "the preferred origin hangs: accepts and says nothing",
            Self::Errors => "the preferred origin answers 500, its health check 200",
            Self::Cut => "the preferred origin closes half-way through each body",
        }
    }

    async fn befall(self, origin: &Origin) {
        match self {
            Self::Killed => origin.kill(),
            Self::Hung => origin.hang(),
            Self::Errors => origin.fault(Fault::Errors).await,
            Self::Cut => origin.fault(Fault::Cut).await,
        }
    }
}

pub(crate) async fn run(rig: &Rig) {
    for trouble in Trouble::ALL {
        let said = format!(
            "400 requests/s for objects of 100 KB, one in {REPEATED} asked for before; {} s of it after the event.",
            AFTER.as_secs()
        );
        let columns = ["failed", "of", "worst ms", "p99 ms", "worst before ms"];
        let table = Table::new(&format!("Failover: {}", trouble.said()), &said, &columns);
        for kind in rig.servers(&[]) {
            let origins = [Origin::start().await, Origin::start().await];
            let site = Site {
                answer_within: Duration::from_secs(2),
                ..Site::of(&rig.program, &[origins[0].port, origins[1].port])
            };
            match Server::start(kind, &site).await {
                Ok(server) => table.row(kind.name(), &through(&server, &origins[0], trouble).await),
                Err(why) => table.absent(kind.name(), &why),
            }
        }
    }
}

/// When each request was due, how long its answer took from then, and whether it was right.
#[derive(Default)]
struct Log {
    requests: RefCell<Vec<(Instant, f64, bool)>>,
    idle: RefCell<Vec<Connection>>,
    why: RefCell<Option<String>>,
}

async fn through(server: &Server, preferred: &Origin, trouble: Trouble) -> Vec<String> {
    // Health checks need a moment to find both origins good.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = Rc::new(Log::default());
    let began = Instant::now();
    let mut event = None;
    let mut tasks = Vec::new();
    let mut number = 0_u64;
    loop {
        let due = began + EVERY * u32::try_from(number).expect("in range");
        if due > began + BEFORE + AFTER {
            break;
        }
        tokio::time::sleep_until(due).await;
        if event.is_none() && due >= began + BEFORE {
            event = Some(Instant::now());
            trouble.befall(preferred).await;
        }
        let object = if number.is_multiple_of(REPEATED) { number / 2 } else { number };
        let path = format!("/object/{SIZE}/{}-{object}.m4s", server.kind.name());
        tasks.push(tokio::task::spawn_local(one(server.ports.http, path, due, Rc::clone(&log))));
        number += 1;
    }
    for task in tasks {
        task.await.expect("a request");
    }
    if let Some(why) = log.why.take() {
        eprintln!("{}: {why}", server.kind.name());
    }
    let event = event.unwrap_or(began);
    let requests = log.requests.take();
    // Those that were under way when it happened count as after it.
    let ended = |due: Instant, took: f64| due + Duration::from_secs_f64(took / 1e3);
    let (after, before): (Vec<_>, Vec<_>) =
        requests.into_iter().partition(|(due, took, _)| ended(*due, *took) >= event);
    let failed = before.iter().chain(&after).filter(|(.., right)| !right).count();
    let times = Sorted::new(after.iter().map(|(_, took, _)| *took).collect());
    let calm = Sorted::new(before.iter().map(|(_, took, _)| *took).collect());
    vec![
        failed.to_string(),
        after.len().to_string(),
        format!("{:.0}", times.at(1.0)),
        format!("{:.1}", times.at(0.99)),
        format!("{:.0}", calm.at(1.0)),
    ]
}

async fn one(port: u16, path: String, due: Instant, log: Rc<Log>) {
    let idle = log.idle.borrow_mut().pop();
    let open = match idle {
        Some(open) => Ok(open),
        None => Connection::open(port).await.map_err(Into::into),
    };
    let outcome = match open {
        Err(e) => Err(e),
        Ok(mut open) => match open.get_within(&path, Want::of(&path, SIZE), WAIT).await {
            Err(e) => Err(e),
            Ok(answer) => {
                log.idle.borrow_mut().push(open);
                Ok(answer)
            }
        },
    };
    let took = due.elapsed().as_secs_f64() * 1e3;
    log.requests.borrow_mut().push((due, took, outcome.is_ok()));
    if let Err(e) = outcome {
        log.why.borrow_mut().get_or_insert(e.to_string());
    }
}
