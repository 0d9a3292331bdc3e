//! Starting the two daemons: where their configuration comes from.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::args::DaemonArgs;
use crate::config::Source;
use crate::http;
use crate::net::close_inherited_descriptors;
use crate::sentinel::run::run;
use crate::sentinel::state;
use crate::server;

/// The largest configuration on standard input. Bytes.
const STDIN_BYTES_MAX: u64 = 256 << 20;

pub(super) fn sentinel(args: &DaemonArgs) -> anyhow::Result<ExitCode> {
    let Some(file) = &args.file else {
        bail!("Sentinel needs config file on disk to save state. Exiting...");
    };
    close_inherited_descriptors();
    let (config, store) = state::open(&source(file)?, &args.arguments)?;
    let status = run(config, store, &|process, surface| {
        Ok(Box::new(http::sentinel::open(process, surface)?))
    });
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}

pub(super) fn server(args: &DaemonArgs) -> anyhow::Result<ExitCode> {
    let stdin = args.then_stdin.then_some(Path::new("-"));
    let files = args.file.as_deref().into_iter().chain(stdin);
    let sources: Vec<Source> = files.map(source).collect::<Result<_, _>>()?;
    let setup = server::load_server(&sources, &args.arguments)?;
    server::run(setup, &|process, surface| {
        Ok(Box::new(http::server::open(process, surface)?))
    })
}

pub(super) fn source(file: &Path) -> anyhow::Result<Source> {
    if file.as_os_str() != "-" {
        return Ok(Source::File(PathBuf::from(file)));
    }
    let mut bytes = Vec::new();
    let mut input = io::stdin().lock().take(STDIN_BYTES_MAX + 1);
    input
        .read_to_end(&mut bytes)
        .context("read the configuration from standard input")?;
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        bail!("the configuration on standard input has more than {STDIN_BYTES_MAX} bytes");
    }
    Ok(Source::Stdin(bytes))
}
