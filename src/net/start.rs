//! From a loaded configuration to a process that is where it should be: in its folder, in the
//! background if so asked, with its log open. The same for both programs.

use std::path::PathBuf;

use anyhow::Context;

use super::SyslogOptions;
use super::listen::ListenOptions;
use super::log::{Log, LogFormat, LogLevel, LogOptions, Role};
use super::supervise::{FileLimit, PidFile, Supervised, daemonize, raise_file_limit};
use super::tls::{AuthClients, Tls, TlsOptions};
use crate::config::process::Facility;
use crate::config::{self, Process};

/// The pid file of a process in the background that was told of none.
const DEFAULT_PID_FILE: &str = "/var/run/redis.pid";
/// Descriptors beside those of clients and links: log, state, listeners, event queues, scripts.
const RESERVED_FILES: u64 = 96;
/// So many a data server must have beside those of its clients, as redis-server reckons.
const SERVER_FILES: u64 = 32;

/// A process that has been started as its configuration wants.
#[derive(Debug)]
pub struct Started {
    /// Its log.
    pub log: &'static Log,
    /// Who waits to hear that it is ready.
    pub supervised: Supervised,
    pid_path: Option<PathBuf>,
    pid_file: Option<PidFile>,
}

impl Started {
    /// Enters `dir`, goes to the background and opens the log. Call it while the process has one
    /// thread. Paths that are still needed must be absolute.
    ///
    /// # Errors
    /// The folder cannot be entered, the process not forked, or the log not opened.
    pub fn enter(process: &Process, role: Role) -> anyhow::Result<Started> {
        let dir = &process.dir;
        std::env::set_current_dir(dir)
            .with_context(|| format!("cannot enter the folder {} (dir)", dir.display()))?;
        let supervised = Supervised::from(process.supervised);
        let in_background = process.daemonize && !supervised.is_active();
        if in_background {
            daemonize().context("cannot go to the background (daemonize)")?;
        }
        let options = LogOptions {
            file: process.logfile.clone(),
            level: process.loglevel.into(),
            format: process.log_format.into(),
            role,
            syslog: process.syslog.enabled.then(|| SyslogOptions {
                ident: process.syslog.ident.clone(),
                local: match process.syslog.facility {
                    Facility::User => None,
                    Facility::Local(n) => Some(n),
                },
            }),
        };
        let log = Log::start(&options).with_context(|| match &options.file {
            Some(path) => format!("can't open the log file {}", path.display()),
            None => "cannot log".to_owned(),
        })?;
        let default = in_background.then(|| PathBuf::from(DEFAULT_PID_FILE));
        Ok(Started {
            log,
            supervised,
            pid_path: process.pidfile.clone().or(default),
            pid_file: None,
        })
    }

    /// Writes the pid file, if there is to be one. As with redis-server, a failure is only logged.
    pub fn write_pid_file(&mut self) {
        if let Some(path) = &self.pid_path {
            match PidFile::write(path) {
                Ok(file) => self.pid_file = Some(file),
                Err(error) => {
                    tracing::warn!("Failed to write PID file {}: {error}", path.display());
                }
            }
        }
    }

    /// Removes the pid file.
    pub fn remove_pid_file(&mut self) {
        if self.pid_file.take().is_some() {
            tracing::info!("Removing the pid file.");
        }
    }
}

/// Sees to it that `clients` and `links` can be open at the same time, and says so in the log when they
/// cannot.
pub fn ensure_files(clients: u64, links: u64) -> FileLimit {
    let wanted = clients.saturating_add(links).saturating_add(RESERVED_FILES);
    let limit = raise_file_limit(wanted);
    match limit {
        FileLimit::Enough => {}
        FileLimit::Raised { from } => {
            tracing::info!("Increased maximum number of open files to {wanted} (it was {from}).");
        }
        FileLimit::Short { have } => tracing::warn!(
            "The limit of open files is {have}, but {clients} clients and {links} links need \
             {wanted}, and it cannot be raised: set 'ulimit -n {wanted}' or LimitNOFILE={wanted}, or \
             lower maxclients."
        ),
    }
    limit
}

/// As [`ensure_files`] for a data server. Returns for how many of its `maxclients` there is room, beside those over
/// HTTP.
pub fn clients_with_room(process: &Process, links: u64) -> u32 {
    let FileLimit::Short { have } = ensure_files(process.clients_max(), links) else {
        return process.maxclients;
    };
    let over_http = process.clients_max() - u64::from(process.maxclients);
    let room = have.saturating_sub(over_http + SERVER_FILES);
    u32::try_from(room).map_or(process.maxclients, |room| room.min(process.maxclients))
}

/// Loads TLS where a port or our own links need it.
///
/// # Errors
/// The certificates cannot be used.
pub fn load_tls(process: &Process) -> anyhow::Result<Option<Tls>> {
    let tls = &process.tls;
    let is_used = tls.port != 0 || tls.replication || tls.cluster;
    is_used.then(|| load(process)).transpose()
}

/// Loads TLS where `http-tls` asks for it, with handshake threads of its own: whoever floods one port does
/// not hold up the other.
///
/// # Errors
/// The certificates cannot be used.
pub fn load_http_tls(process: &Process) -> anyhow::Result<Option<Tls>> {
    let loaded = process.http.tls.then(|| load(process)).transpose();
    loaded.context("http-tls")
}

fn load(process: &Process) -> anyhow::Result<Tls> {
    let tls = &process.tls;
    if tls.key_file_pass.is_some() || tls.client_key_file_pass.is_some() {
        anyhow::bail!(
            "tls-key-file-pass: encrypted keys are not supported; decrypt the key with openssl pkey"
        );
    }
    Tls::load(&TlsOptions::from(tls)).context("Failed to configure TLS")
}

impl From<&Process> for ListenOptions {
    fn from(process: &Process) -> ListenOptions {
        ListenOptions {
            bind: process.bind.clone(),
            port: process.port,
            tls_port: process.tls.port,
            backlog: process.tcp_backlog,
            unix_socket: process.unixsocket.clone(),
            unix_socket_mode: Some(process.unixsocketperm).filter(|mode| *mode != 0),
            keepalive: process.tcp_keepalive,
        }
    }
}

impl ListenOptions {
    /// Where HTTP is listened for.
    pub fn of_http(process: &Process) -> ListenOptions {
        let http = &process.http;
        let bind = if http.bind.is_empty() {
            &process.bind
        } else {
            &http.bind
        };
        ListenOptions {
            bind: bind.clone(),
            port: http.port,
            tls_port: 0,
            unix_socket: None,
            ..ListenOptions::from(process)
        }
    }
}

impl From<&config::process::Tls> for TlsOptions {
    fn from(tls: &config::process::Tls) -> TlsOptions {
        TlsOptions {
            cert_file: tls.cert_file.clone(),
            key_file: tls.key_file.clone(),
            client_cert_file: tls.client_cert_file.clone(),
            client_key_file: tls.client_key_file.clone(),
            ca_cert_file: tls.ca_cert_file.clone(),
            ca_cert_dir: tls.ca_cert_dir.clone(),
            auth_clients: match tls.auth_clients {
                config::process::TlsAuth::Yes => AuthClients::Yes,
                config::process::TlsAuth::No => AuthClients::No,
                config::process::TlsAuth::Optional => AuthClients::Optional,
            },
            protocols: tls.protocols.clone(),
            ciphers: tls.ciphers.clone(),
            ciphersuites: tls.ciphersuites.clone(),
            prefer_server_ciphers: tls.prefer_server_ciphers,
            sessions: tls
                .session_caching
                .then_some((tls.session_cache_size, tls.session_cache_timeout)),
        }
    }
}

impl From<config::process::LogLevel> for LogLevel {
    fn from(level: config::process::LogLevel) -> LogLevel {
        match level {
            config::process::LogLevel::Debug => LogLevel::Debug,
            config::process::LogLevel::Verbose => LogLevel::Verbose,
            config::process::LogLevel::Notice => LogLevel::Notice,
            config::process::LogLevel::Warning => LogLevel::Warning,
            config::process::LogLevel::Nothing => LogLevel::Nothing,
        }
    }
}

impl From<config::process::LogFormat> for LogFormat {
    fn from(format: config::process::LogFormat) -> LogFormat {
        match format {
            config::process::LogFormat::Text => LogFormat::Text,
            config::process::LogFormat::Json => LogFormat::Json,
        }
    }
}

impl From<config::process::Supervised> for Supervised {
    fn from(supervised: config::process::Supervised) -> Supervised {
        match supervised {
            config::process::Supervised::No => Supervised::No,
            config::process::Supervised::Upstart => Supervised::Upstart,
            config::process::Supervised::Systemd => Supervised::Systemd,
            config::process::Supervised::Auto => Supervised::Auto,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tls_is_loaded_only_where_it_is_used() {
        let mut process = Process::of_sentinel();
        assert!(load_tls(&process).unwrap().is_none());
        process.tls.replication = true;
        let text = format!("{:#}", load_tls(&process).unwrap_err());
        assert!(text.contains("tls-cert-file"), "{text}");
        let (_folder, options) = super::super::test_certificates("a");
        process.tls.cert_file = options.cert_file;
        process.tls.key_file = options.key_file;
        process.tls.ca_cert_file = options.ca_cert_file;
        assert!(load_tls(&process).unwrap().is_some());
        process.tls.key_file_pass = Some("secret".into());
        let text = format!("{:#}", load_tls(&process).unwrap_err());
        assert!(text.contains("openssl pkey"), "{text}");
    }

    #[test]
    fn listening_follows_the_directives() {
        let mut process = Process::of_sentinel();
        process.unixsocketperm = 0o700;
        let options = ListenOptions::from(&process);
        assert_eq!((options.port, options.tls_port), (26379, 0));
        assert_eq!(options.bind, ["*", "-::*"]);
        assert_eq!(options.unix_socket_mode, Some(0o700));
        assert_eq!(options.keepalive, Duration::from_secs(300));
    }
}
