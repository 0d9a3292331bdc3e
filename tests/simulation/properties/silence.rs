//! Who only observes sends nothing that changes anybody.
//!
//! Source: what `sentinel observe-only yes` promises. The list is written down here once more, apart from
//! the core's own, so that neither can grow by mistake.

use sentinel::sentinel::core::Request;

use super::{Fact, Seen};

pub(super) fn observe(seen: Seen<'_>, fact: &Fact<'_>) -> Result<(), String> {
    let Fact::ObserverSends { request } = fact else {
        return Ok(());
    };
    let is_silent = matches!(
        request,
        Request::Auth(_)
            | Request::SetName(_)
            | Request::Ping
            | Request::Info
            | Request::Subscribe
            | Request::AskMasterDown {
                candidate: None,
                ..
            }
    );
    if is_silent {
        return Ok(());
    }
    Err(format!("{} only observes and sends {request:?}", seen.name))
}
