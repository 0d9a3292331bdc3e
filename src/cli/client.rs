//! What the subcommands that talk to sentinels share: options, connections, colours, a runtime.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;
use tokio::task::LocalSet;

use super::args::{address, wait};
use crate::net::{TlsClient, TlsClientOptions};
use crate::topology::{Access, Address, ColorArgs, NO_SUCH_MASTER};

/// How to reach the sentinels.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ClientArgs {
    /// A sentinel; may be given several times. They are asked in this order until one answers
    #[arg(
        long = "sentinel",
        value_name = "HOST:PORT",
        env = "SENTINEL_ADDR",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = "127.0.0.1:26379",
        value_parser = address
    )]
    pub sentinels: Vec<Address>,
    /// User name at the sentinels and data servers
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Password at the sentinels and data servers; better in the environment, where other users of this
    /// machine do not see it
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "REDISCLI_AUTH",
        hide_env_values = true
    )]
    pub pass: Option<String>,
    /// How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others,
    /// have 2s more, and `status` and `top` give each member twice as long for all that they ask of it
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = wait)]
    pub timeout: Duration,
    /// Connect over TLS
    #[arg(long)]
    pub tls: bool,
    /// Whom to trust: the authority that signed the servers' certificates, PEM
    #[arg(long, value_name = "FILE", requires = "tls", value_hint = ValueHint::FilePath)]
    pub cacert: Option<PathBuf>,
    /// Our own certificate, PEM, for servers that want one
    #[arg(long, value_name = "FILE", requires = "tls", requires = "key", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long, requires = "tls", conflicts_with = "cacert")]
    pub insecure: bool,
    #[command(flatten)]
    pub color: ColorArgs,
}

impl ClientArgs {
    /// How to connect.
    pub(crate) fn access(&self) -> anyhow::Result<Access> {
        let tls = if self.tls {
            Some(TlsClient::load(&TlsClientOptions {
                ca_cert_file: self.cacert.clone(),
                cert_file: self.cert.clone(),
                key_file: self.key.clone(),
                is_insecure: self.insecure,
            })?)
        } else {
            None
        };
        Ok(Access {
            user: self.user.clone(),
            password: self.pass.clone().filter(|pass| !pass.is_empty()),
            timeout: self.timeout,
            tls,
        })
    }
}

/// Runs what a subcommand does on an event loop of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = LocalSet::new().block_on(&runtime, work);
    // A name may still be looked up; nobody waits for it any more.
    runtime.shutdown_background();
    result
}

/// The sentinels, in a message.
pub(crate) fn list(sentinels: &[Address]) -> String {
    let shown: Vec<String> = sentinels.iter().map(Address::to_string).collect();
    shown.join(", ")
}

impl ClientArgs {
    /// What to do about a failure, by its text.
    pub(crate) fn advice(&self, failure: &str) -> &'static str {
        let has = |part: &str| failure.contains(part);
        if has(NO_SUCH_MASTER) {
            "`sentinel status` without a name shows the masters that are known"
        } else if has("NOAUTH") || has("WRONGPASS") || has("uthentication") {
            "give the password in the environment variable REDISCLI_AUTH, or with --pass; a user with --user"
        } else if has("NOPERM") {
            "this user may not do that; name another with --user"
        } else if has("certificate") || has("TLS") {
            "--cacert FILE says whom to trust, --cert FILE and --key FILE who we are"
        } else if self.tls {
            "name a sentinel that runs with --sentinel HOST:PORT; without --tls if it does not use that"
        } else {
            "name a sentinel that runs with --sentinel HOST:PORT, with --tls if it wants that"
        }
    }
}
