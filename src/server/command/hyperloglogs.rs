//! `PFADD`, `PFCOUNT` and what else is about HyperLogLogs, which are strings.

use super::args::Failure;
use super::strings::finish;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::server::hyperloglog::{self, Corrupted, REGISTERS, Registers, Runs};
use crate::server::keyspace::{Element, Text};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("pfadd", -2, |s, c, r| finish(pfadd(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::FAST)
        .acl(category::HYPERLOGLOG)
        .keys([KeySpec::one(1, key::RW | key::INSERT)])
        .doc("2.8.9", "hyperloglog", "O(1) to add every element.", "Adds the specified elements to the specified HyperLogLog."),
    Spec::new("pfcount", -2, |s, c, r| finish(pfcount(s, c, r), r))
        .flags(flag::READONLY | flag::MAY_REPLICATE)
        .acl(category::HYPERLOGLOG)
        .keys([KeySpec::range(1, -1, 1, key::RW | key::ACCESS)])
        .doc("2.8.9", "hyperloglog", "O(1) with a very small average constant time when called with a single key. O(N) with N being the number of keys, and much bigger constant times, when called with multiple keys.", "Return the approximated cardinality of the set(s) observed by the HyperLogLog at key(s)."),
    Spec::new("pfmerge", -2, |s, c, r| finish(pfmerge(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(category::HYPERLOGLOG)
        .keys([KeySpec::one(1, key::RW | key::ACCESS | key::INSERT), KeySpec::range(2, -1, 1, key::RO | key::ACCESS)])
        .doc("2.8.9", "hyperloglog", "O(N) to merge N HyperLogLogs, but with high constant times.", "Merge N different HyperLogLogs into a single one."),
    Spec::new("pfselftest", 1, |s, c, r| finish(pfselftest(s, c, r), r))
        .flags(flag::ADMIN)
        .acl(category::HYPERLOGLOG)
        .doc("2.8.9", "hyperloglog", "N/A", "An internal command for testing HyperLogLog values"),
    Spec::new("pfdebug", 3, |s, c, r| finish(pfdebug(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::ADMIN)
        .acl(category::HYPERLOGLOG)
        .keys([KeySpec::one(2, key::RW | key::ACCESS)])
        .doc("2.8.9", "hyperloglog", "N/A", "Internal commands for debugging HyperLogLog values"),
    ]
}

const INVALID: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";

fn failure(_: Corrupted) -> Failure {
    "INVALIDOBJ Corrupted HLL object detected".into()
}

/// The bytes of a string that must be a HyperLogLog.
fn checked(text: Option<&Text>) -> Result<Option<&[u8]>, Failure> {
    match text.map(Text::element) {
        None => Ok(None),
        Some(Element::Bytes(bytes)) if hyperloglog::is_one(bytes) => Ok(Some(bytes)),
        Some(_) => Err(INVALID.into()),
    }
}

/// Changes a HyperLogLog in place, or a new one.
fn change<R>(
    server: &mut Server,
    call: &Call<'_>,
    key: &[u8],
    change: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    server.modify(call, key, |text: &mut Text| {
        text.edit(|bytes| {
            if bytes.is_empty() {
                *bytes = hyperloglog::empty();
            }
            change(bytes)
        })
    })
}

/// The same for what may find it corrupted halfway: it is then as it was, since replicas and files hear nothing of a
/// command that fails. The dense form cannot be corrupted.
fn change_or_leave<R>(
    server: &mut Server,
    call: &Call<'_>,
    key: &[u8],
    change_it: impl FnOnce(&mut Vec<u8>) -> Result<R, Corrupted>,
) -> Result<R, Failure> {
    let result = change(server, call, key, |bytes| {
        if !hyperloglog::is_sparse(bytes) {
            return change_it(bytes);
        }
        let mut copy = bytes.clone();
        let result = change_it(&mut copy)?;
        *bytes = copy;
        Ok(result)
    });
    result.map_err(failure)
}

fn pfadd(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (key, elements) = (&call.words[1], &call.words[2..]);
    let bytes_max = sparse_bytes_max(server);
    let is_new = checked(server.lookup(call, key)?)?.is_none();
    let changes = change_or_leave(server, call, key, |bytes| {
        let mut changes = usize::from(is_new);
        for element in elements {
            changes += usize::from(hyperloglog::add(bytes, element, bytes_max)?);
        }
        if changes > 0 {
            hyperloglog::forget_estimate(bytes);
        }
        Ok(changes)
    })?;
    if changes > 0 {
        server.touched(key, NotifyClasses::STRING, "pfadd");
        server.changed_more(changes - 1);
        server.propagate(call, call.words);
    }
    reply.integer(i64::from(changes > 0));
    Ok(())
}

/// The longest sparse form, as configured.
fn sparse_bytes_max(server: &Server) -> usize {
    usize::try_from(server.config.tuning.hll_sparse_max_bytes).unwrap_or(usize::MAX)
}

fn pfcount(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let keys = &call.words[1..];
    let mut registers: Registers = [0; REGISTERS];
    if let [key] = keys {
        let Some(bytes) = checked(server.read(call, key)?)? else {
            reply.integer(0);
            return Ok(());
        };
        if let Some(estimate) = hyperloglog::estimate(bytes) {
            reply.integer(estimate.cast_signed());
            return Ok(());
        }
        hyperloglog::merge(&mut registers, bytes).map_err(failure)?;
        let count = hyperloglog::count(&registers);
        // The estimate is kept in the value, which replicas must keep equal.
        change(server, call, key, |bytes| {
            hyperloglog::note_estimate(bytes, count);
        });
        server.changed(server.db(), key);
        server.propagate(call, call.words);
        reply.integer(count.cast_signed());
        return Ok(());
    }
    for key in keys {
        if let Some(bytes) = checked(server.read(call, key)?)? {
            hyperloglog::merge(&mut registers, bytes).map_err(failure)?;
        }
    }
    reply.integer(hyperloglog::count(&registers).cast_signed());
    Ok(())
}

fn pfmerge(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let target = &call.words[1];
    let bytes_max = sparse_bytes_max(server);
    let mut registers: Registers = [0; REGISTERS];
    let mut any_dense = false;
    for key in &call.words[1..] {
        if let Some(bytes) = checked(server.read(call, key)?)? {
            any_dense |= !hyperloglog::is_sparse(bytes);
            hyperloglog::merge(&mut registers, bytes).map_err(failure)?;
        }
    }
    change_or_leave(server, call, target, |bytes| {
        if any_dense {
            hyperloglog::make_dense(bytes)?;
        }
        for (index, value) in registers.iter().enumerate().filter(|(_, v)| **v > 0) {
            hyperloglog::raise(bytes, index, *value, bytes_max)?;
        }
        hyperloglog::forget_estimate(bytes);
        Ok(())
    })?;
    server.touched(target, NotifyClasses::STRING, "pfadd");
    server.propagate(call, call.words);
    reply.ok();
    Ok(())
}

fn pfselftest(_: &mut Server, _: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    hyperloglog::self_test().map_err(|text| format!("TESTFAILED {text}"))?;
    reply.ok();
    Ok(())
}

fn pfdebug(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let key = &call.words[2];
    let bytes = checked(server.lookup(call, key)?)?;
    let bytes = bytes.ok_or("ERR The specified key does not exist")?;
    match call.words[1].to_ascii_lowercase().as_slice() {
        b"getreg" => {
            let mut registers: Registers = [0; REGISTERS];
            hyperloglog::merge(&mut registers, bytes).map_err(failure)?;
            make_dense(server, call)?;
            reply.array(registers.len());
            for value in registers {
                reply.integer(i64::from(value));
            }
        }
        b"decode" => reply.bulk(decoded(bytes)?),
        b"encoding" => reply.simple(if hyperloglog::is_sparse(bytes) {
            "sparse"
        } else {
            "dense"
        }),
        b"todense" => reply.integer(i64::from(make_dense(server, call)?)),
        _ => {
            let text = Failure::from("ERR Unknown PFDEBUG subcommand '");
            return Err(text.word(&call.words[1]).text("'"));
        }
    }
    Ok(())
}

/// Gives the HyperLogLog of word 2 the dense form; false if it had it.
fn make_dense(server: &mut Server, call: &Call<'_>) -> Result<bool, Failure> {
    let key = &call.words[2];
    let is_changed = change(server, call, key, hyperloglog::make_dense).map_err(failure)?;
    if is_changed {
        server.changed(server.db(), key);
        server.propagate(call, call.words);
    }
    Ok(is_changed)
}

/// The runs of a sparse one as text.
fn decoded(bytes: &[u8]) -> Result<String, Failure> {
    if !hyperloglog::is_sparse(bytes) {
        return Err("ERR HLL encoding is not sparse".into());
    }
    let mut parts = Vec::new();
    for run in Runs::of(bytes) {
        let run = run.map_err(failure)?;
        parts.push(match run.value {
            0 if run.is_short() => format!("z:{}", run.len),
            0 => format!("Z:{}", run.len),
            value => format!("v:{value},{}", run.len),
        });
    }
    Ok(parts.join(" "))
}
