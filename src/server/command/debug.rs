//! `DEBUG`.

use std::time::Duration;

use bytes::Bytes;

use super::admin::{help, unknown_subcommand};
use super::args::{Failure, NOT_POSITIVE, OUT_OF_RANGE, not_negative, option};
use super::configuration;
use super::digest;
use super::strings::finish;
use super::strtod::beginning;
use crate::clock::Mono;
use crate::config::RewriteOf;
use crate::config::forms::parse_memory;
use crate::front::{Call, CommandSpec, Reply, flag};
use crate::ids::hex;
use crate::resp::{Protocol, Word};
use crate::server::keyspace::{Entry, Text, Value};
use crate::server::persist::aof::{self, State};
use crate::server::persist::rdb_encode;
use crate::server::{Present, Server, ServerConfig};

type Spec = CommandSpec<Server>;

/// The bits of its clock that redis-server keeps for each key.
const LRU_MASK: u32 = (1 << 24) - 1;

/// The command of this file.
pub(super) fn commands() -> [Spec; 1] {
    [Spec::new("debug", -2, |s, c, r| finish(debug(s, c, r), r))
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
        .doc(
            "1.0.0",
            "server",
            "Depends on subcommand.",
            "A container for debugging commands",
        )]
}

fn debug(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    match (option(&call.words[1]).as_slice(), &call.words[2..]) {
        (b"help", []) => help(reply, DEBUG_HELP),
        (b"error", [text]) => reply.error(text),
        (b"protocol", [kind]) => protocol(&option(kind), reply)?,
        (b"digest", []) => reply.simple(&digest::digest(&server.keyspace)),
        (b"digest-value", keys) => digest_values(server, keys, reply),
        (b"object", [key]) => object(server, call, key, reply)?,
        (b"loadaof", []) => load_aof(server, call)?,
        _ => {
            act(server, call)?;
            reply.ok();
        }
    }
    Ok(())
}

/// Does what has no other answer than that it is done.
fn act(server: &mut Server, call: &Call<'_>) -> Result<(), Failure> {
    let switches = &mut server.switches;
    match (option(&call.words[1]).as_slice(), &call.words[2..]) {
        (b"sleep", [seconds]) => sleep(seconds),
        (b"set-active-expire", [flag]) => switches.expires_actively = atoi(flag) != 0,
        (b"set-skip-checksum-validation", [flag]) => switches.skips_checksums = atoi(flag) != 0,
        (b"pause-cron", [flag]) => switches.is_cron_paused = atoi(flag) != 0,
        (b"aof-flush-sleep", [micros]) => {
            let micros = u64::try_from(atoi(micros)).unwrap_or(0);
            server.aof.writer.write_sleep = Duration::from_micros(micros);
        }
        (b"config-rewrite-force-all", []) => configuration::rewrite(server, RewriteOf::All)?,
        (b"quicklist-packed-threshold", [bytes]) => check_packed_threshold(bytes)?,
        // What waits to be sent has no buffer of a fixed size.
        (b"replybuffer", [what, _]) if option(what).as_slice() == b"resizing" => {}
        (b"log", [text]) => tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(text)),
        (b"populate", [count, options @ ..]) if options.len() <= 2 => {
            populate(server, call, count, options)?;
        }
        (b"reload", options) => reload(server, options)?,
        (b"change-repl-id", []) => {
            let id = server.new_repl_id();
            server.replication.history.rename(id);
        }
        _ => return Err(unknown_subcommand(call, "DEBUG")),
    }
    Ok(())
}

/// Stops everything, which is what it is for. As in redis-server, what is no time is none.
fn sleep(seconds: &[u8]) {
    let pause = Duration::try_from_secs_f64(beginning(seconds)).unwrap_or_default();
    std::thread::sleep(pause);
}

/// Replaces all data by what the append-only file holds. Answers when that is done.
fn load_aof(server: &mut Server, call: &Call<'_>) -> Result<(), Failure> {
    let can_load = server.aof.state != State::First && server.replication.is_master();
    if !can_load || server.in_exec {
        return Err(
            "ERR DEBUG LOADAOF is for a master, and not before appendonly has its first base"
                .into(),
        );
    }
    let on = server.front.clients.wait(call.client, Mono::NEVER, false);
    let server = server.handle();
    tokio::task::spawn_local(async move {
        let loaded = aof::reload(&server).await;
        if let Err(error) = loaded {
            // As redis-server: what is here now is nobody's data.
            tracing::error!("{error:#}");
            std::process::exit(1);
        }
        let clients = &mut server.borrow_mut().front.clients;
        clients.resolve_with(on, Reply::ok);
    });
    Ok(())
}

fn digest_values(server: &Server, keys: &[Word<'_>], reply: &mut Reply) {
    reply.array(keys.len());
    for key in keys {
        let entry = server.keyspace.get(server.db(), key);
        reply.simple(&hex(&entry.map_or([0; 20], digest::value_digest)));
    }
}

fn object(server: &Server, call: &Call<'_>, key: &[u8], reply: &mut Reply) -> Result<(), Failure> {
    let usage = server.usage(call.now.unix);
    let entry = server.keyspace.get(server.db(), key);
    let entry = entry.ok_or("ERR no such key")?;
    let idle = usage.idle_seconds(entry.access());
    reply.simple(&describe(entry, &server.config, idle));
    Ok(())
}

/// Lists here are cut by their own settings.
fn check_packed_threshold(bytes: &[u8]) -> Result<(), Failure> {
    let bytes = std::str::from_utf8(bytes).ok().and_then(parse_memory);
    bytes
        .filter(|bytes| *bytes < 1 << 32)
        .ok_or("ERR argument must be a memory value bigger than 1 and smaller than 4gb")?;
    Ok(())
}

/// What a value is to those who debug it, as in redis-server. Nothing here is shared; small numbers are said to be,
/// as `OBJECT REFCOUNT` says it. The address is that of the entry.
fn describe(entry: &Entry, config: &ServerConfig, idle_seconds: u32) -> String {
    let refcount = match &entry.value {
        Value::String(Text::Integer(0..=9999)) => i32::MAX,
        Value::String(_)
        | Value::List(_)
        | Value::Set(_)
        | Value::Hash(_)
        | Value::SortedSet(_) => 1,
    };
    let mut saved = Vec::new();
    rdb_encode::value(&entry.value, config.rdbcompression, &mut saved);
    let mut text = format!(
        "Value at:{:p} refcount:{refcount} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{idle_seconds}",
        std::ptr::from_ref(entry),
        entry.value.encoding(),
        saved.len(),
        entry.access() & LRU_MASK,
    );
    if let Value::List(list) = &entry.value {
        let (nodes, bytes) = list
            .nodes()
            .iter()
            .fold((0_u32, 0_usize), |(nodes, bytes), node| {
                (nodes + 1, bytes + node.as_bytes().len())
            });
        let average =
            f64::from(u32::try_from(list.len()).unwrap_or(u32::MAX)) / f64::from(nodes.max(1));
        text.push_str(&format!(
            " ql_nodes:{nodes} ql_avg_node:{average:.2} ql_listpack_max:{} ql_compressed:0 ql_uncompressed_size:{bytes}",
            config.tuning.list_max_listpack_size
        ));
    }
    text
}

/// A value of each kind that the protocols have.
fn protocol(kind: &[u8], reply: &mut Reply) -> Result<(), Failure> {
    match kind {
        b"string" => reply.bulk("Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => {
            #[expect(clippy::approx_constant, reason = "the value that redis-server shows")]
            reply.double(3.141);
        }
        b"null" => reply.null(),
        b"array" | b"set" => {
            if kind == b"set" {
                reply.set(3);
            } else {
                reply.array(3);
            }
            (0..3).for_each(|n| reply.integer(n));
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.integer(n);
                reply.boolean(n == 1);
            }
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("This is a verbatim\nstring"),
        b"bignum" => reply.value(&crate::resp::Value::BigNumber(Bytes::from_static(
            b"1234567999999999999999999999999999999",
        ))),
        b"attrib" => {
            if reply.protocol() == Protocol::Resp3 {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk("Some real reply following the attribute");
        }
        b"push" => {
            if reply.protocol() == Protocol::Resp2 {
                return Err("ERR RESP2 is not supported by this command".into());
            }
            reply.aside(|reply| {
                reply.push(2);
                reply.bulk("server-cpu-usage");
                reply.integer(42);
            });
            reply.bulk("Some real reply following the push reply");
        }
        _ => {
            return Err("ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false".into());
        }
    }
    Ok(())
}

/// Makes so many strings, of this prefix and length if they are given. Replicas hear nothing of it.
fn populate(
    server: &mut Server,
    call: &Call<'_>,
    count: &[u8],
    options: &[Word<'_>],
) -> Result<(), Failure> {
    let count = not_negative(count, NOT_POSITIVE)?;
    let prefix = options.first().map_or(&b"key"[..], |word| word);
    let length = options.get(1).map(|word| not_negative(word, NOT_POSITIVE));
    let length = length.transpose()?;
    if length.is_some_and(|bytes| bytes > server.config.process.proto_max_bulk_len) {
        return Err(OUT_OF_RANGE.into());
    }
    for n in 0..count {
        let key = [prefix, format!(":{n}").as_bytes()].concat();
        if server.is_there(call, &key) {
            continue;
        }
        let mut value = format!("value:{n}").into_bytes();
        if let Some(length) = length {
            value.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        }
        server.uncounted(|server| server.store(call, &key, Value::string(&value), None));
    }
    Ok(())
}

/// Saves the data and loads them again: what a restart would do to them.
fn reload(server: &mut Server, options: &[Word<'_>]) -> Result<(), Failure> {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for word in options {
        match option(word).as_slice() {
            b"nosave" => save = false,
            b"noflush" => flush = false,
            b"merge" => merge = true,
            _ => {
                return Err(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.".into(),
                );
            }
        }
    }
    server.cancel_save();
    server.end_transfer();
    let done = if save {
        server.save_now().map_err(anyhow::Error::from)
    } else {
        Ok(())
    };
    let beside = match (flush, merge) {
        (true, _) => Present::Dropped,
        (false, true) => Present::Replaced,
        (false, false) => Present::Kept,
    };
    if let Err(error) = done.and_then(|()| server.reload(beside)) {
        tracing::warn!("DEBUG RELOAD failed: {error:#}");
        return Err("ERR Error trying to load the RDB dump".into());
    }
    tracing::warn!("DB reloaded by DEBUG RELOAD");
    Ok(())
}

/// As in C: a word that is no number is 0.
fn atoi(word: &[u8]) -> i64 {
    let text = std::str::from_utf8(word).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

const DEBUG_HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "AOF-FLUSH-SLEEP <microsec>",
    "    Let every write of the append-only file take so much longer.",
    "CHANGE-REPL-ID",
    "    Take a new replication id.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    As CONFIG REWRITE, with a line for each setting.",
    "DIGEST",
    "    Show a digest of all data.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Show digests of what these keys hold.",
    "ERROR <string>",
    "    Answer with this error.",
    "LOG <message>",
    "    Write this to the log.",
    "OBJECT <key>",
    "    Show how a key's value is stored.",
    "PAUSE-CRON <0|1>",
    "    Stop what is done ten times a second.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make strings <prefix>:0 and so on, without telling replicas.",
    "PROTOCOL <type>",
    "    Answer with a value of this kind: string, integer, double, bignum, null, array, set,",
    "    map, attrib, push, verbatim, true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted, without effect.",
    "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
    "    Save the data and load them again. With NOSAVE, load what the file has; with NOFLUSH, beside",
    "    what is here, which must have none of its keys unless they are to be replaced by MERGE.",
    "REPLYBUFFER RESIZING <0|1>",
    "    Accepted, without effect.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Choose whether expired keys go by themselves.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Choose whether RESTORE and loads leave checksums alone.",
    "SLEEP <seconds>",
    "    Stop everything for so long.",
    "HELP",
    "    Prints this help.",
];
