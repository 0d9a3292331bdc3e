//! What redis-server 7.0 has and this server has not: the commands of streams, scripts, modules and cluster mode.

use crate::front::AbsentCommand;
use crate::front::category::{
    ADMIN, BLOCKING, CONNECTION, DANGEROUS, FAST, READ, SCRIPTING, SLOW, STREAM, WRITE,
};

/// Commands of redis-server 7.0 that are not here, with their categories, those that it derives from flags included.
pub(in crate::server) const ABSENT: &[AbsentCommand] = &[
    absent("asking", FAST | CONNECTION, &[]),
    absent(
        "cluster",
        SLOW,
        &[
            ("addslots", ADMIN | SLOW | DANGEROUS),
            ("addslotsrange", ADMIN | SLOW | DANGEROUS),
            ("bumpepoch", ADMIN | SLOW | DANGEROUS),
            ("count-failure-reports", ADMIN | SLOW | DANGEROUS),
            ("countkeysinslot", SLOW),
            ("delslots", ADMIN | SLOW | DANGEROUS),
            ("delslotsrange", ADMIN | SLOW | DANGEROUS),
            ("failover", ADMIN | SLOW | DANGEROUS),
            ("flushslots", ADMIN | SLOW | DANGEROUS),
            ("forget", ADMIN | SLOW | DANGEROUS),
            ("getkeysinslot", SLOW),
            ("help", SLOW),
            ("info", SLOW),
            ("keyslot", SLOW),
            ("links", SLOW),
            ("meet", ADMIN | SLOW | DANGEROUS),
            ("myid", SLOW),
            ("nodes", SLOW),
            ("replicas", ADMIN | SLOW | DANGEROUS),
            ("replicate", ADMIN | SLOW | DANGEROUS),
            ("reset", ADMIN | SLOW | DANGEROUS),
            ("saveconfig", ADMIN | SLOW | DANGEROUS),
            ("set-config-epoch", ADMIN | SLOW | DANGEROUS),
            ("setslot", ADMIN | SLOW | DANGEROUS),
            ("shards", SLOW),
            ("slaves", ADMIN | SLOW | DANGEROUS),
            ("slots", SLOW),
        ],
    ),
    absent("eval", SLOW | SCRIPTING, &[]),
    absent("eval_ro", SLOW | SCRIPTING, &[]),
    absent("evalsha", SLOW | SCRIPTING, &[]),
    absent("evalsha_ro", SLOW | SCRIPTING, &[]),
    absent("fcall", SLOW | SCRIPTING, &[]),
    absent("fcall_ro", SLOW | SCRIPTING, &[]),
    absent(
        "function",
        SLOW,
        &[
            ("delete", WRITE | SLOW | SCRIPTING),
            ("dump", SLOW | SCRIPTING),
            ("flush", WRITE | SLOW | SCRIPTING),
            ("help", SLOW | SCRIPTING),
            ("kill", SLOW | SCRIPTING),
            ("list", SLOW | SCRIPTING),
            ("load", WRITE | SLOW | SCRIPTING),
            ("restore", WRITE | SLOW | SCRIPTING),
            ("stats", SLOW | SCRIPTING),
        ],
    ),
    absent(
        "module",
        SLOW,
        &[
            ("help", SLOW),
            ("list", ADMIN | SLOW | DANGEROUS),
            ("load", ADMIN | SLOW | DANGEROUS),
            ("loadex", ADMIN | SLOW | DANGEROUS),
            ("unload", ADMIN | SLOW | DANGEROUS),
        ],
    ),
    absent("readonly", FAST | CONNECTION, &[]),
    absent("readwrite", FAST | CONNECTION, &[]),
    absent(
        "script",
        SLOW,
        &[
            ("debug", SLOW | SCRIPTING),
            ("exists", SLOW | SCRIPTING),
            ("flush", SLOW | SCRIPTING),
            ("help", SLOW | SCRIPTING),
            ("kill", SLOW | SCRIPTING),
            ("load", SLOW | SCRIPTING),
        ],
    ),
    absent("xack", WRITE | STREAM | FAST, &[]),
    absent("xadd", WRITE | STREAM | FAST, &[]),
    absent("xautoclaim", WRITE | STREAM | FAST, &[]),
    absent("xclaim", WRITE | STREAM | FAST, &[]),
    absent("xdel", WRITE | STREAM | FAST, &[]),
    absent(
        "xgroup",
        SLOW,
        &[
            ("create", WRITE | STREAM | SLOW),
            ("createconsumer", WRITE | STREAM | SLOW),
            ("delconsumer", WRITE | STREAM | SLOW),
            ("destroy", WRITE | STREAM | SLOW),
            ("help", STREAM | SLOW),
            ("setid", WRITE | STREAM | SLOW),
        ],
    ),
    absent(
        "xinfo",
        SLOW,
        &[
            ("consumers", READ | STREAM | SLOW),
            ("groups", READ | STREAM | SLOW),
            ("help", STREAM | SLOW),
            ("stream", READ | STREAM | SLOW),
        ],
    ),
    absent("xlen", READ | STREAM | FAST, &[]),
    absent("xpending", READ | STREAM | SLOW, &[]),
    absent("xrange", READ | STREAM | SLOW, &[]),
    absent("xread", READ | STREAM | SLOW | BLOCKING, &[]),
    absent("xreadgroup", WRITE | STREAM | SLOW | BLOCKING, &[]),
    absent("xrevrange", READ | STREAM | SLOW, &[]),
    absent("xsetid", WRITE | STREAM | FAST, &[]),
    absent("xtrim", WRITE | STREAM | SLOW, &[]),
];

const fn absent(
    name: &'static str,
    categories: u32,
    subcommands: &'static [(&'static str, u32)],
) -> AbsentCommand {
    AbsentCommand {
        name,
        categories,
        subcommands,
    }
}
