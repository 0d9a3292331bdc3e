//! `CONFIG`.

use std::os::unix::ffi::OsStrExt;

use super::args::Failure;
use super::strings::finish;
use crate::config::RewriteOf;
use crate::front::{Call, CommandSpec, Reply, flag, glob_match_ignore_case};
use crate::server::config::server_table;
use crate::server::{Server, config_file, lazy_free};

type Spec = CommandSpec<Server>;

const FLAGS: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("config", -2, |_, _, _| {})
            .doc(
                "2.0.0",
                "server",
                "Depends on subcommand.",
                "A container for server configuration commands",
            )
            .subcommands(vec![
                Spec::new("get", -3, get).flags(FLAGS).doc(
                    "2.0.0",
                    "server",
                    "O(N) when N is the number of configuration parameters provided",
                    "Get the values of configuration parameters",
                ),
                Spec::new("set", -4, |s, c, r| finish(set(s, c, r), r))
                    .flags(FLAGS)
                    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
                    .doc(
                        "2.0.0",
                        "server",
                        "O(N) when N is the number of configuration parameters provided",
                        "Set configuration parameters to the given values",
                    ),
                Spec::new("rewrite", 2, |s, _, r| {
                    finish(rewrite(s, RewriteOf::Changes).map(|()| r.ok()), r);
                })
                .flags(FLAGS)
                .doc(
                    "2.8.0",
                    "server",
                    "O(1)",
                    "Rewrite the configuration file with the in memory configuration",
                ),
                Spec::new("resetstat", 2, resetstat).flags(FLAGS).doc(
                    "2.0.0",
                    "server",
                    "O(1)",
                    "Reset the stats returned by INFO",
                ),
                Spec::new("help", 2, |_, _, r| super::admin::help(r, HELP))
                    .flags(flag::LOADING | flag::STALE)
                    .doc(
                        "5.0.0",
                        "server",
                        "O(1)",
                        "Show helpful text about the different subcommands",
                    ),
            ]),
    ]
}

fn get(server: &mut Server, call: &Call<'_>, reply: &mut Reply) {
    let mut found: Vec<(String, String)> = Vec::new();
    for asked in &call.words[2..] {
        let is_pattern = asked.iter().any(|b| matches!(b, b'*' | b'?' | b'['));
        let shown = server_table().get(&server.config, is_pattern, |name| {
            if is_pattern {
                glob_match_ignore_case(asked, name.as_bytes())
            } else {
                asked.eq_ignore_ascii_case(name.as_bytes())
            }
        });
        for (name, value) in shown {
            if found
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
            {
                continue;
            }
            // A name is answered as it was asked.
            let shown_as = match is_pattern {
                true => name.to_owned(),
                false => String::from_utf8_lossy(asked).into_owned(),
            };
            found.push((shown_as, value));
        }
    }
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(&*name);
        if name.eq_ignore_ascii_case("dir") {
            // Somebody may have renamed the folder since it was set, or removed it.
            let folder = std::env::current_dir().unwrap_or_default();
            reply.bulk(folder.as_os_str().as_bytes());
        } else {
            reply.bulk(value);
        }
    }
}

fn set(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let words = &call.words[2..];
    if !words.len().is_multiple_of(2) {
        return Err("ERR syntax error".into());
    }
    let mut pairs = Vec::new();
    for pair in words.chunks_exact(2) {
        let name = std::str::from_utf8(&pair[0]).ok();
        // No directive is called so, and this error repeats what no text can.
        let name = name.filter(|name| !name.contains('\0')).ok_or_else(|| {
            let text = "ERR Unknown option or number of arguments for CONFIG SET - '";
            Failure::from(text).word(&pair[0]).text("'")
        })?;
        let value = std::str::from_utf8(&pair[1]).map_err(|_| "ERR CONFIG SET takes UTF-8 text")?;
        pairs.push((name, value));
    }
    let protected = server.allows(server.config.process.enable_protected_configs, call);
    let before = server.config.clone();
    let names = server_table()
        .set(&mut server.config, &pairs, protected)
        .map_err(|error| format!("ERR {error}"))?;
    if let Err((name, reason)) = server.settings_changed(&names, &before) {
        server.config = before;
        // What the kernel refuses is in the log.
        let _ = server.follow_oom_score();
        return Err(format!(
            "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
        )
        .into());
    }
    reply.ok();
    Ok(())
}

/// Writes the settings into the configuration file.
pub(super) fn rewrite(server: &mut Server, of: RewriteOf) -> Result<(), Failure> {
    server.note_folder();
    let process = &mut server.config.process;
    let password = process.requirepass.as_deref();
    let users = (server.front.acl).lines_for_config(password, &process.users);
    process.users = users.map_err(|error| format!("ERR Rewriting config file: {error}"))?;
    let Some(file) = &server.config_file else {
        return Err("ERR The server is running without a config file".into());
    };
    if let Err(error) = config_file::rewrite(file, &server.config, of) {
        tracing::warn!(%error, path = %file.path.display(), "CONFIG REWRITE failed");
        let text = crate::config::forms::os_text(&error);
        return Err(format!("ERR Rewriting config file: {text}").into());
    }
    tracing::info!("CONFIG REWRITE executed with success.");
    Ok(())
}

fn resetstat(server: &mut Server, _: &Call<'_>, reply: &mut Reply) {
    server.stats = crate::front::DataStats::default();
    server.reset_exceeded();
    server.metrics.reset();
    lazy_free::reset_freed();
    server.front.stats = crate::front::FrontStats::default();
    reply.ok();
}

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern>",
    "    Show the settings whose names match.",
    "SET <directive> <value>",
    "    Change a setting.",
    "RESETSTAT",
    "    Begin counting anew what INFO shows.",
    "REWRITE",
    "    Write the settings into the configuration file.",
    "HELP",
    "    Prints this help.",
];
