//! `SAVE`, `BGSAVE`, `BGREWRITEAOF`, `LASTSAVE`, `SHUTDOWN`.

use super::args::{Failure, SYNTAX, option};
use super::strings::finish;
use crate::front::{Call, CommandSpec, Reply, category, flag};
use crate::server::Server;
use crate::server::shutdown::{SaveChoice, ShutdownOptions};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
    Spec::new("save", 1, |s, c, r| finish(save(s, c, r), r))
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING | flag::NO_MULTI)
        .doc(
            "1.0.0",
            "server",
            "O(N) where N is the total number of keys in all databases",
            "Synchronously save the dataset to disk",
        ),
    Spec::new("bgsave", -1, |s, c, r| finish(bgsave(s, c, r), r))
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING)
        .doc("1.0.0", "server", "O(1)", "Asynchronously save the dataset to disk"),
    Spec::new("bgrewriteaof", 1, |s, _, r| finish(bgrewriteaof(s, r), r))
        .flags(flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING)
        .doc("1.0.0", "server", "O(1)", "Asynchronously rewrite the append-only file"),
    Spec::new("lastsave", 1, |s, _, r| {
        r.integer(i64::try_from(s.saver.last_save).unwrap_or(i64::MAX));
    })
    .flags(flag::LOADING | flag::STALE | flag::FAST)
    .acl(category::ADMIN | category::DANGEROUS)
    .tips(&["nondeterministic_output"])
    .doc("1.0.0", "server", "O(1)", "Get the UNIX time stamp of the last successful save to disk"),
    Spec::new("shutdown", -1, |s, c, r| finish(shutdown(s, c, r), r))
        .flags(
            flag::ADMIN
                | flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::NO_MULTI
                | flag::ALLOW_BUSY,
        )
        .doc(
            "1.0.0",
            "server",
            "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
            "Synchronously save the dataset to disk and then shut down the server",
        ),
]
}

fn save(server: &mut Server, _: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    if server.saving().is_some() {
        return Err("ERR Background save already in progress".into());
    }
    server.saver.saves += 1;
    match server.save_now() {
        Ok(()) => reply.ok(),
        Err(error) => {
            tracing::error!(%error, "SAVE failed");
            return Err("ERR".into());
        }
    }
    Ok(())
}

fn bgsave(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let may_schedule = match call.args() {
        [] => false,
        [word] if option(word) == b"schedule" => true,
        _ => return Err(SYNTAX.into()),
    };
    if server.saving().is_some() {
        return Err("ERR Background save already in progress".into());
    }
    let is_rewriting = server.aof.rewriting.is_running();
    if is_rewriting && !may_schedule && !server.in_exec {
        return Err("ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.".into());
    }
    if server.in_exec || is_rewriting {
        // Inside a transaction there is no position of the stream that the data belongs to.
        server.saver.is_scheduled = true;
        reply.simple("Background saving scheduled");
        return Ok(());
    }
    drop(server.start_save(false));
    reply.simple("Background saving started");
    Ok(())
}

fn bgrewriteaof(server: &mut Server, reply: &mut Reply) -> Result<(), Failure> {
    if server.aof.rewriting.is_running() {
        return Err("ERR Background append only file rewriting already in progress".into());
    }
    if server.saving().is_some() || server.in_exec {
        server.aof.rewriting.is_scheduled = true;
        reply.simple("Background append only file rewriting scheduled");
        return Ok(());
    }
    if !server.start_rewrite() {
        return Err("ERR Can't execute an AOF background rewriting. Please check the server logs for more information.".into());
    }
    reply.simple("Background append only file rewriting started");
    Ok(())
}

fn shutdown(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let mut options = ShutdownOptions::default();
    let mut abort = false;
    for word in call.args() {
        match (option(word).as_slice(), options.save) {
            (b"save", SaveChoice::AsConfigured | SaveChoice::Always) => {
                options.save = SaveChoice::Always;
            }
            (b"nosave", SaveChoice::AsConfigured | SaveChoice::Never) => {
                options.save = SaveChoice::Never;
            }
            (b"now", _) => options.now = true,
            (b"force", _) => options.force = true,
            (b"abort", _) => abort = true,
            _ => return Err(SYNTAX.into()),
        }
    }
    if abort && options != ShutdownOptions::default() {
        return Err(SYNTAX.into());
    }
    if abort {
        if !server.abort_shutdown() {
            return Err("ERR No shutdown in progress.".into());
        }
        reply.ok();
        return Ok(());
    }
    server.begin_shutdown(options, Some(call.client));
    Ok(())
}
