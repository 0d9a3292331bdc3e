//! `CLIENT TRACKING` and its companions: what a client wants to hear about keys that it has cached.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::client::{ClientId, Tracking, TrackingChoice};
use super::client_command::subcommand;
use super::client_memory::NODE_BYTES;
use super::error_text::ErrorText;
use super::reply::Reply;
use super::spec::CommandSpec;
use super::{Call, Program};
use crate::resp::{Word, canonical_integer};

/// The most prefixes of one client. All of a client's are compared with each other.
const PREFIXES_MAX: usize = 1024;

/// `CACHING`, `GETREDIR`, `TRACKING`, `TRACKINGINFO`: for [`super::client_commands`] of a program whose
/// keys are tracked, or that has no keys.
pub fn tracking_subcommands<P: Program>() -> Vec<CommandSpec<P>> {
    vec![
        subcommand(
            "caching",
            3,
            "6.0.0",
            "Instruct the server about tracking or not keys in the next request",
            caching,
        ),
        subcommand(
            "getredir",
            2,
            "6.0.0",
            "Get tracking notifications redirection client ID if any",
            getredir,
        ),
        subcommand(
            "tracking",
            -3,
            "6.0.0",
            "Enable or disable server assisted client side caching support",
            tracking,
        )
        .doc(
            "6.0.0",
            "connection",
            "O(1). Some options may introduce additional complexity.",
            "Enable or disable server assisted client side caching support",
        ),
        subcommand(
            "trackinginfo",
            2,
            "6.2.0",
            "Return information about server assisted client side caching for the current connection",
            trackinginfo,
        ),
    ]
}

fn tracking<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    match parse(program, call) {
        Ok(wanted) => {
            let tracking = &mut program.front().clients.current(call.client).tracking;
            let before = std::mem::replace(tracking, wanted);
            program.tracking_changed(call.client, before.as_ref());
            reply.ok();
        }
        Err(text) => reply.error(text),
    }
}

fn parse<P: Program>(program: &mut P, call: &Call<'_>) -> Result<Option<Tracking>, ErrorText> {
    let mut wanted = Tracking::default();
    let mut prefixes: Vec<Bytes> = Vec::new();
    let (mut opt_in, mut opt_out) = (false, false);
    let mut options = call.words[3..].iter();
    while let Some(option) = options.next() {
        match option.to_ascii_lowercase().as_slice() {
            b"redirect" if !options.as_slice().is_empty() => {
                if wanted.redirect.is_some() {
                    return Err("ERR A client can only redirect to a single other client".into());
                }
                wanted.redirect = options
                    .next()
                    .map(|word| redirect(program, word))
                    .transpose()?;
            }
            b"prefix" if !options.as_slice().is_empty() => {
                prefixes.extend(options.next().map(Word::to_bytes));
            }
            b"bcast" => wanted.broadcast = true,
            b"optin" => opt_in = true,
            b"optout" => opt_out = true,
            b"noloop" => wanted.no_loop = true,
            _ => return Err("ERR syntax error".into()),
        }
    }
    match call.words[2].to_ascii_lowercase().as_slice() {
        b"on" => {}
        b"off" => return Ok(None),
        _ => return Err("ERR syntax error".into()),
    }
    let known = program
        .front()
        .clients
        .current(call.client)
        .tracking
        .clone();
    check_mode(&wanted, &prefixes, known.as_ref())?;
    wanted.choice = choice(opt_in, opt_out, wanted.broadcast, known.as_ref())?;
    let known_prefixes = known.as_ref().map_or(0, |known| known.prefixes.len());
    if known_prefixes + prefixes.len() > PREFIXES_MAX {
        return Err(format!("ERR A client can have at most {PREFIXES_MAX} prefixes").into());
    }
    check_prefixes(&prefixes, known.as_ref())?;
    if wanted.broadcast && prefixes.is_empty() {
        prefixes.push(Bytes::new());
    }
    wanted.prefixes.extend(prefixes);
    if let Some(mut known) = known {
        wanted.prefixes.append(&mut known.prefixes);
        wanted.caching = known.caching;
    }
    let each = wanted.prefixes.iter();
    wanted.prefix_bytes = each.map(|prefix| NODE_BYTES + prefix.len()).sum();
    Ok(Some(wanted))
}

fn redirect<P: Program>(program: &mut P, word: &[u8]) -> Result<ClientId, ErrorText> {
    let id = canonical_integer(word).ok_or("ERR value is not an integer or out of range")?;
    let id = ClientId(u64::try_from(id).unwrap_or(0));
    match program.front().clients.get(id) {
        Some(_) => Ok(id),
        None => Err("ERR The client ID you want redirect to does not exist".into()),
    }
}

/// Whether the mode goes with the prefixes, and with what is in force.
fn check_mode(
    wanted: &Tracking,
    prefixes: &[Bytes],
    known: Option<&Tracking>,
) -> Result<(), ErrorText> {
    if !wanted.broadcast && !prefixes.is_empty() {
        return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
    }
    if known.is_some_and(|known| known.broadcast != wanted.broadcast) {
        return Err(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and \
             then re-enabling it with a different mode."
                .into(),
        );
    }
    Ok(())
}

/// What `OPTIN` and `OPTOUT` come to, if they go together with what else is wanted and what is in force.
fn choice(
    opt_in: bool,
    opt_out: bool,
    broadcast: bool,
    known: Option<&Tracking>,
) -> Result<TrackingChoice, ErrorText> {
    if broadcast && (opt_in || opt_out) {
        return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
    }
    let wanted = match (opt_in, opt_out) {
        (true, true) => {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
        }
        (true, false) => TrackingChoice::OptIn,
        (false, true) => TrackingChoice::OptOut,
        (false, false) => TrackingChoice::All,
    };
    let switches = |known: &Tracking| {
        known.choice != TrackingChoice::All
            && wanted != TrackingChoice::All
            && known.choice != wanted
    };
    if known.is_some_and(switches) {
        return Err(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and \
             then re-enabling it with a different mode."
                .into(),
        );
    }
    Ok(wanted)
}

/// Whether no prefix is one of another's, nor of one that is in force.
fn check_prefixes(prefixes: &[Bytes], known: Option<&Tracking>) -> Result<(), ErrorText> {
    let old = || known.into_iter().flat_map(|known| &known.prefixes);
    for (i, prefix) in prefixes.iter().enumerate() {
        if let Some(other) = old().find(|other| overlap(prefix, other)) {
            return Err(overlapping(prefix, "an existing prefix", other));
        }
        let later = &prefixes[i + 1..];
        if let Some(other) = later.iter().find(|other| overlap(prefix, other)) {
            return Err(overlapping(prefix, "another provided prefix", other));
        }
    }
    Ok(())
}

fn overlapping(prefix: &[u8], what: &str, other: &[u8]) -> ErrorText {
    ErrorText::from("ERR Prefix '")
        .word(prefix)
        .text(&format!("' overlaps with {what} '"))
        .word(other)
        .text("'. Prefixes for a single client must not overlap.")
}

fn overlap(a: &Bytes, b: &Bytes) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn caching<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let client = program.front().clients.current(call.client);
    let Some(tracking) = client.tracking.as_mut() else {
        return reply.error(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
             OPTOUT mode enabled",
        );
    };
    let (yes, allowed, text) = match call.words[2].to_ascii_lowercase().as_slice() {
        b"yes" => (
            true,
            TrackingChoice::OptIn,
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ),
        b"no" => (
            false,
            TrackingChoice::OptOut,
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ),
        _ => return reply.error("ERR syntax error"),
    };
    if tracking.choice != allowed {
        return reply.error(text);
    }
    tracking.caching = Some(yes);
    reply.ok();
}

fn redirect_of(tracking: Option<&Tracking>) -> i64 {
    tracking.map_or(-1, |tracking| {
        tracking
            .redirect
            .map_or(0, |id| i64::try_from(id.0).unwrap_or(i64::MAX))
    })
}

fn getredir<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let client = program.front().clients.current(call.client);
    reply.integer(redirect_of(client.tracking.as_ref()));
}

fn trackinginfo<P: Program>(program: &mut P, call: &Call<'_>, reply: &mut Reply) {
    let front = program.front();
    let tracking = front.clients.current(call.client).tracking.clone();
    let mut flags = vec![if tracking.is_some() { "on" } else { "off" }];
    let prefixes = match &tracking {
        None => BTreeSet::new(),
        Some(tracking) => {
            if tracking.broadcast {
                flags.push("bcast");
            }
            match tracking.choice {
                TrackingChoice::All => {}
                TrackingChoice::OptIn => flags.push("optin"),
                TrackingChoice::OptOut => flags.push("optout"),
            }
            match tracking.caching {
                None => {}
                Some(true) => flags.push("caching-yes"),
                Some(false) => flags.push("caching-no"),
            }
            if tracking.no_loop {
                flags.push("noloop");
            }
            if tracking.is_broken {
                flags.push("broken_redirect");
            }
            tracking.prefixes.clone()
        }
    };
    reply.counts_whole();
    reply.map(3);
    reply.bulk("flags");
    reply.set(flags.len());
    for name in flags {
        reply.bulk(name);
    }
    reply.bulk("redirect");
    reply.integer(redirect_of(tracking.as_ref()));
    reply.bulk("prefixes");
    reply.array(prefixes.len());
    for prefix in prefixes {
        reply.bulk(prefix);
    }
}
