// SPDX-License-Identifier: Apache-2.0
//! The configuration read anew, on SIGHUP and by either server's API: all of it is good, or nothing changes.

use headwater_net::reload::Request;
use headwater_origin::Reload;
use headwater_shield::Told;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc::Receiver;

/// What a reload did to each server of the process.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) origin: Option<Reload>,
    pub(crate) shield: Option<Told>,
}

/// Who asks for a reload, beside the signal.
#[derive(Debug, Default)]
pub(crate) struct Askers {
    pub(crate) origin: Option<Receiver<Request<Reload>>>,
    pub(crate) shield: Option<Receiver<Request<Told>>>,
}

/// Reloads whenever asked to; ends when no signal can come any more.
pub(crate) async fn follow(mut hangup: Signal, mut askers: Askers, reload: impl Fn() -> Result<Done, String>) {
    let nobody = || "expected a server that this process runs".to_owned();
    loop {
        tokio::select! {
            asked = hangup.recv() => {
                if asked.is_none() {
                    return;
                }
                // What came of it is in the log.
                let _ = reload();
            }
            // Whoever asked may have left.
            answer = next(&mut askers.origin) => {
                let _ = answer.send(reload().and_then(|done| done.origin.ok_or_else(nobody)));
            }
            answer = next(&mut askers.shield) => {
                let _ = answer.send(reload().and_then(|done| done.shield.ok_or_else(nobody)));
            }
        }
    }
}

/// The next request; none ever comes where nobody can ask.
async fn next<T>(askers: &mut Option<Receiver<T>>) -> T {
    match askers {
        Some(requests) => match requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
