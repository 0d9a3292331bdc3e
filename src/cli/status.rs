//! `sentinel status`: what a running set looks like.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::args::StatusArgs;
use super::client::{block_on, list};
use super::terminal::{self, in_place};
use super::{exit, print};
use crate::topology::{Access, Health, Survey, Unanswered, progress, survey};

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let access = args.client.access()?;
    if args.watch {
        return block_on(watch(&access, args));
    }
    let look = look(&access, args);
    let what = format!("asking {}", list(&args.client.sentinels));
    let found = block_on(async { Ok(progress::during(&what, look).await) })?;
    match found {
        Ok(survey) => {
            print(&shown(&survey, args, true)?)?;
            Ok(code(survey.state))
        }
        Err(unanswered) => {
            let _ = writeln!(io::stderr(), "sentinel: {}", advice(&unanswered, args));
            Ok(code(Health::NoMaster))
        }
    }
}

async fn look(access: &Access, args: &StatusArgs) -> Result<Survey, Unanswered> {
    survey(access, &args.client.sentinels, args.master.as_deref()).await
}

fn code(state: Health) -> ExitCode {
    ExitCode::from(match state {
        Health::Ok => exit::OK,
        Health::Degraded => exit::DEGRADED,
        Health::NoMaster => exit::NO_MASTER,
    })
}

fn shown(survey: &Survey, args: &StatusArgs, is_pretty: bool) -> anyhow::Result<String> {
    Ok(match (args.json, is_pretty) {
        (true, true) => serde_json::to_string_pretty(survey)? + "\n",
        (true, false) => serde_json::to_string(survey)? + "\n",
        (false, _) => survey.table(args.client.color.paint()),
    })
}

/// What is wrong, and what to do next.
fn advice(unanswered: &Unanswered, args: &StatusArgs) -> String {
    let text = unanswered.to_string();
    let next = args.client.advice(&text);
    format!("{text}\n{next}")
}

/// Looks again and again until Ctrl-C; the exit status is that of the last look.
async fn watch(access: &Access, args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let draws = io::stdout().is_terminal() && !args.json;
    let mut last = code(Health::NoMaster);
    let mut is_first = true;
    loop {
        let found = tokio::select! {
            found = look(access, args) => found,
            _ = interrupt.recv() => return Ok(last),
            _ = terminate.recv() => return Ok(last),
        };
        let text = match &found {
            Ok(survey) => shown(survey, args, false)?,
            Err(unanswered) if args.json => {
                let error = serde_json::json!({ "ok": false, "state": Health::NoMaster, "error": unanswered.to_string() });
                format!("{error}\n")
            }
            Err(unanswered) => format!("{}\n", advice(unanswered, args)),
        };
        last = code(found.map_or(Health::NoMaster, |survey| survey.state));
        if draws {
            let lines: Vec<&str> = text.lines().collect();
            print(&in_place(&lines, terminal::size(io::stdout()), is_first))?;
        } else {
            print(&text).context("nobody reads any more")?;
        }
        is_first = false;
        tokio::select! {
            () = tokio::time::sleep(args.interval) => {}
            _ = interrupt.recv() => return Ok(last),
            _ = terminate.recv() => return Ok(last),
        }
    }
}
