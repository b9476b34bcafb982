// SPDX-License-Identifier: Apache-2.0
//! The configuration read anew, on SIGHUP and by `POST /api/v1/reload`: all of it is good, or nothing changes.

use headwater_origin::Reload;
use tokio::signal::unix::Signal;
use tracing::info;

use crate::serve::{Options, Running, files};

/// Reloads whenever asked to; ends with the last who can ask.
pub(crate) async fn follow(running: &Running, options: &Options, mut hangup: Signal) {
    let Some(mut requests) = running.origin.reload_requests() else { return };
    loop {
        tokio::select! {
            asked = hangup.recv() => {
                if asked.is_none() {
                    return;
                }
                // What came of it is in the log.
                let _ = reload(running, options);
            }
            Some(answer) = requests.recv() => {
                // Whoever asked may have left.
                let _ = answer.send(reload(running, options));
            }
        }
    }
}

/// One line says why not.
fn reload(running: &Running, options: &Options) -> Result<Reload, String> {
    let refused = |error: anyhow::Error| {
        let why = format!("{error:#}");
        running.origin.reload_refused(&why);
        why
    };
    let config = options.load().map_err(refused)?;
    if let (Some(acceptor), Some(tls)) = (&running.tls, &config.tls) {
        acceptor.reload(&files(tls)).map_err(|error| refused(error.into()))?;
        info!(certificate = %tls.certificate.display(), "certificate read anew");
    }
    Ok(running.origin.reload(config))
}
