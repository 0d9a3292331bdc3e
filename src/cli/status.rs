//! `sentinel status`: what a running set looks like.

use std::process::ExitCode;

use anyhow::Context;

use super::args::StatusArgs;
use crate::topology::{Access, Address, survey};

/// Something is down, or the sentinels disagree.
const DEGRADED: u8 = 3;

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let sentinels: Result<Vec<Address>, _> = args
        .sentinels
        .iter()
        .map(|text| {
            Address::parse(text).with_context(|| format!("--sentinel {text}: write HOST:PORT"))
        })
        .collect();
    let from_environment = || std::env::var("REDISCLI_AUTH").ok();
    let access = Access {
        user: args.user.clone(),
        password: args.pass.clone().or_else(from_environment),
        timeout: args.timeout,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let survey = runtime.block_on(survey(&access, &sentinels?))?;
    let text = if args.json {
        serde_json::to_string_pretty(&survey)? + "\n"
    } else {
        survey.table()
    };
    super::print(&text)?;
    Ok(ExitCode::from(if survey.ok { 0 } else { DEGRADED }))
}
