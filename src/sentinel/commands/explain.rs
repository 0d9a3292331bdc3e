//! `SENTINEL EXPLAIN`: the records of decisions as lines that a person can read.

use std::time::Duration;

use super::{Host, NO_SUCH_MASTER, text};
use crate::front::{Call, Reply};
use crate::net::local_time;
use crate::resp::canonical_integer;
use crate::sentinel::core::{Candidate, Outcome, Presence, Record, Verdict, Voice, Votes, span};

/// How many records are shown when nobody says how many.
const COUNT_DEFAULT: usize = 5;

/// `SENTINEL EXPLAIN <master> [COUNT n]`: how things stand, and then the records, the newest first.
pub(super) fn explain<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let count = match &call.words[3..] {
        [] => COUNT_DEFAULT,
        [word, number] if word.eq_ignore_ascii_case(b"count") => {
            let number = canonical_integer(number).and_then(|number| usize::try_from(number).ok());
            let Some(number) = number.filter(|number| *number > 0) else {
                return reply.error("ERR COUNT must be a positive number");
            };
            number
        }
        _ => return reply.error("ERR syntax error"),
    };
    let name = text(&call.words[2]);
    let core = host.core();
    let Some(mut lines) = core.outlook(call.now, &name) else {
        return reply.error(NO_SUCH_MASTER);
    };
    let records = core.records(&name);
    let under_way = core.record_under_way(&name);
    let shown = records.len().min(count);
    lines.push(match records.len() {
        0 => "no decision is on record".to_owned(),
        all => format!("{shown} of {all} decisions on record, the newest first"),
    });
    let is_kept = |record: &&Record| records.iter().any(|kept| kept.id == record.id);
    if let Some(record) = under_way.filter(|record| !is_kept(record)) {
        tell(record, true, &mut lines);
    }
    for record in records.iter().take(count) {
        match under_way.filter(|now| now.id == record.id) {
            Some(now) => tell(now, true, &mut lines),
            None => tell(record, false, &mut lines),
        }
    }
    reply.array(lines.len());
    for line in lines {
        reply.bulk(line);
    }
}

/// One record, indented below its first line.
fn tell(record: &Record, is_now: bool, lines: &mut Vec<String>) {
    lines.push(headline(record, is_now));
    if record.count > 1 {
        let since = local_time(record.first_at);
        lines.push(format!(
            "  {} times since {since}; this is the last time",
            record.count
        ));
    }
    if !record.phases.is_empty() {
        let took = |phase: &_| {
            let crate::sentinel::core::PhaseTime { phase, ms } = phase;
            format!("{phase} {}", span(Duration::from_millis(*ms)))
        };
        let phases: Vec<String> = record.phases.iter().map(took).collect();
        lines.push(format!("  phases: {}", phases.join(", ")));
    }
    if let Some(votes) = &record.votes {
        tell_votes(votes, lines);
    }
    if !record.candidates.is_empty() {
        lines.push("  replicas:".to_owned());
        lines.extend(record.candidates.iter().map(candidate));
        left_out(record.candidates_left_out, lines);
    }
    if !record.steps.list.is_empty() {
        lines.push(format!("  steps, from {}:", local_time(record.at)));
        for step in &record.steps.list {
            let (secs, ms) = (step.after_ms / 1000, step.after_ms % 1000);
            lines.push(format!("    +{secs}.{ms:03} s  {}", step.text));
        }
        if record.steps.left_out > 0 {
            lines.push(format!(
                "    ({} steps in the middle are left out)",
                record.steps.left_out
            ));
        }
    }
}

/// `#7 20 Nov 2026 22:59:01.123 failover done (epoch 3): …`
fn headline(record: &Record, is_now: bool) -> String {
    use std::fmt::Write;
    let mut line = match record.id {
        0 => String::new(),
        id => format!("#{id} "),
    };
    let (at, decision) = (local_time(record.last_at), record.decision);
    let outcome = match record.outcome {
        Outcome::Running if is_now => "under way",
        Outcome::Running => "interrupted by a restart",
        Outcome::Done | Outcome::Aborted | Outcome::Declined => record.outcome.as_str(),
    };
    let _ = write!(line, "{at} {decision} {outcome}");
    if let Some(reason) = record.reason {
        let _ = write!(line, " for {reason}");
    }
    let _ = write!(line, " (epoch {}): {}", record.epoch, record.summary);
    line
}

fn tell_votes(votes: &Votes, lines: &mut Vec<String>) {
    let Votes {
        known,
        reachable,
        majority,
        quorum,
        say_down,
        needed,
        for_us,
        ..
    } = votes;
    let mut line = format!(
        "  sentinels: {reachable} of {known} reachable, {say_down} say that the master is down (quorum {quorum})"
    );
    if *for_us > 0 {
        line.push_str(&format!(
            "; {for_us} votes, {needed} needed (majority {majority})"
        ));
    }
    lines.push(line);
    lines.extend(votes.voices.iter().map(voice));
    left_out(votes.left_out, lines);
}

fn voice(voice: &Voice) -> String {
    let id = voice.sentinel.as_str();
    let mut words = match voice.presence {
        Presence::Ourselves => vec![format!("    {id} (this sentinel)")],
        Presence::Reachable | Presence::Unreachable | Presence::Ghost => {
            vec![
                format!("    {id} at {}", voice.addr),
                voice.presence.to_string(),
            ]
        }
    };
    let time = |ms| span(Duration::from_millis(ms));
    words.extend(voice.down_ms.map(|ms| format!("down for {}", time(ms))));
    let ago = voice
        .said_ms_ago
        .map_or(String::new(), |ms| format!(", {} before", time(ms)));
    words.push(match (voice.presence, voice.says_down) {
        (Presence::Ourselves, Some(true)) => {
            format!("says down, since {}", time(voice.said_ms_ago.unwrap_or(0)))
        }
        (_, Some(true)) => format!("says down{ago}"),
        (_, Some(false)) => format!("does not say down{ago}"),
        (_, None) => "has said nothing that counts".to_owned(),
    });
    if let (Some(leader), Some(epoch)) = (&voice.vote, voice.vote_epoch) {
        words.push(match leader == &voice.sentinel {
            true => format!("voted for itself in epoch {epoch}"),
            false => format!("voted for {leader} in epoch {epoch}"),
        });
    }
    words.join("; ")
}

fn candidate(candidate: &Candidate) -> String {
    let Candidate {
        addr,
        verdict,
        why,
        priority,
        repl_offset,
        info_age_ms,
        ..
    } = candidate;
    let verdict = match verdict {
        Verdict::Chosen => "chosen".to_owned(),
        Verdict::Lost(rule) => format!("lost by {rule}"),
        Verdict::Excluded(exclusion) => format!("excluded by {exclusion}"),
        Verdict::Eligible => "could be chosen".to_owned(),
    };
    let why = match why.as_str() {
        "" => String::new(),
        why => format!(": {why}"),
    };
    let age = info_age_ms.map_or("no INFO".to_owned(), |ms| {
        format!("INFO {} old", span(Duration::from_millis(ms)))
    });
    format!("    {addr} {verdict}{why} (priority {priority}, offset {repl_offset}, {age})")
}

fn left_out(count: u32, lines: &mut Vec<String>) {
    if count > 0 {
        lines.push(format!("    and {count} more"));
    }
}
