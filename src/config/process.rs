//! What a process of either program is told about itself: where it listens, logs and lives, who may come
//! in. Shared by `sentinel FILE` and `sentinel server FILE`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::errors::Refusal;

/// The settings. `Default` is redis-server's; a sentinel starts from [`Process::of_sentinel`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `port`: TCP; 0: none. Default 6379, a sentinel's 26379.
    pub port: u16,
    /// `bind`: addresses to listen on. One that begins with `-` may be unavailable; `*` is every IPv4
    /// address, `::*` every IPv6 one. None: no TCP at all. Default `* -::*`.
    pub bind: Vec<String>,
    /// `bind-source-addr`: from where outgoing connections are made.
    pub bind_source_addr: Option<Arc<str>>,
    /// `tcp-backlog`. Default 511.
    pub tcp_backlog: u32,
    /// `tcp-keepalive`; zero: off. Default 300 s.
    pub tcp_keepalive: Duration,
    /// `unixsocket`.
    pub unixsocket: Option<PathBuf>,
    /// `unixsocketperm`; 0: as the umask has it.
    pub unixsocketperm: u32,
    /// `protected-mode`: without a password and without `bind`, only loopback may come in. Default yes,
    /// a sentinel's no.
    pub protected_mode: bool,
    /// `maxclients`. Default 10000.
    pub maxclients: u32,
    /// `timeout` of an idle client; zero: none, the default.
    pub timeout: Duration,
    /// The `tls-…` directives.
    pub tls: Tls,
    /// `dir`: where the process works. Relative to where it was started.
    pub dir: PathBuf,
    /// `logfile`; `None`: standard output.
    pub logfile: Option<PathBuf>,
    /// `loglevel`. Default notice.
    pub loglevel: LogLevel,
    /// `log-format` (ours). Default text.
    pub log_format: LogFormat,
    /// The `syslog-…` directives.
    pub syslog: Syslog,
    /// `daemonize`.
    pub daemonize: bool,
    /// `supervised`. Default no.
    pub supervised: Supervised,
    /// `pidfile`; `None`: none, or `/var/run/redis.pid` with `daemonize`.
    pub pidfile: Option<PathBuf>,
    /// `requirepass` of the default user.
    pub requirepass: Option<Arc<str>>,
    /// `user` lines, each the whole line: `user default on nopass ~* &* +@all`.
    pub users: Vec<String>,
    /// `aclfile`.
    pub aclfile: Option<PathBuf>,
    /// `acllog-max-len`. Default 128.
    pub acllog_max_len: u64,
    /// `acl-pubsub-default`: whether new users and selectors may use every channel. Default resetchannels.
    pub acl_pubsub_default: AclPubsub,
    /// `rename-command` lines: the command and its new name; an empty one removes the command.
    pub rename_commands: Vec<(String, String)>,
    /// `enable-protected-configs`. Default no.
    pub enable_protected_configs: Allow,
    /// `enable-debug-command`. Default no.
    pub enable_debug_command: Allow,
    /// `client-output-buffer-limit`.
    pub output_limits: OutputLimits,
    /// `client-query-buffer-limit`, bytes. Default 1 GiB.
    pub query_buffer_limit: u64,
    /// `proto-max-bulk-len`, bytes. Default 512 MiB.
    pub proto_max_bulk_len: u64,
    /// `state-file` (ours, sentinels only): where learned state goes instead of the configuration.
    pub state_file: Option<PathBuf>,
    /// The `http-…` directives (ours).
    pub http: Http,
}

impl Default for Process {
    fn default() -> Process {
        Process {
            port: 6379,
            bind: vec!["*".to_owned(), "-::*".to_owned()],
            bind_source_addr: None,
            tcp_backlog: 511,
            tcp_keepalive: Duration::from_secs(300),
            unixsocket: None,
            unixsocketperm: 0,
            protected_mode: true,
            maxclients: 10_000,
            timeout: Duration::ZERO,
            tls: Tls::default(),
            dir: PathBuf::from("."),
            logfile: None,
            loglevel: LogLevel::Notice,
            log_format: LogFormat::Text,
            syslog: Syslog::default(),
            daemonize: false,
            supervised: Supervised::No,
            pidfile: None,
            requirepass: None,
            users: Vec::new(),
            aclfile: None,
            acllog_max_len: 128,
            acl_pubsub_default: AclPubsub::ResetChannels,
            rename_commands: Vec::new(),
            enable_protected_configs: Allow::No,
            enable_debug_command: Allow::No,
            output_limits: OutputLimits::default(),
            query_buffer_limit: 1 << 30,
            proto_max_bulk_len: 512 << 20,
            state_file: None,
            http: Http::default(),
        }
    }
}

impl Process {
    /// The defaults of a sentinel.
    pub fn of_sentinel() -> Process {
        Process {
            port: 26379,
            protected_mode: false,
            ..Process::default()
        }
    }

    /// How many clients may be connected at a time, over all ports.
    pub fn clients_max(&self) -> u64 {
        let over_http = match self.http.port {
            0 => 0,
            _ => Http::CONNECTIONS_MAX,
        };
        u64::from(self.maxclients) + u64::from(over_http)
    }

    /// The port that others are told to connect to: `tls-port` where our own links use TLS, else `port`.
    pub fn announced_port(&self) -> u16 {
        if self.tls.replication && self.tls.port != 0 {
            self.tls.port
        } else {
            self.port
        }
    }
}

/// The `tls-…` directives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive that says yes or no"
)]
pub struct Tls {
    /// `tls-port`; 0: none, the default.
    pub port: u16,
    /// `tls-cert-file`, PEM.
    pub cert_file: Option<PathBuf>,
    /// `tls-key-file`, PEM.
    pub key_file: Option<PathBuf>,
    /// `tls-key-file-pass`.
    pub key_file_pass: Option<Arc<str>>,
    /// `tls-client-cert-file`: ours for outgoing links; unset: `tls-cert-file`.
    pub client_cert_file: Option<PathBuf>,
    /// `tls-client-key-file`.
    pub client_key_file: Option<PathBuf>,
    /// `tls-client-key-file-pass`.
    pub client_key_file_pass: Option<Arc<str>>,
    /// `tls-dh-params-file`. Read and ignored: finite-field key exchange is not offered.
    pub dh_params_file: Option<PathBuf>,
    /// `tls-ca-cert-file`: whom we trust.
    pub ca_cert_file: Option<PathBuf>,
    /// `tls-ca-cert-dir`.
    pub ca_cert_dir: Option<PathBuf>,
    /// `tls-auth-clients`. Default yes.
    pub auth_clients: TlsAuth,
    /// `tls-replication`: outgoing links use TLS.
    pub replication: bool,
    /// `tls-cluster`: `MIGRATE` uses TLS.
    pub cluster: bool,
    /// `tls-protocols`, space-separated; empty: all that are safe.
    pub protocols: String,
    /// `tls-ciphers` for TLS 1.2, as OpenSSL lists them; empty: all that there are.
    pub ciphers: String,
    /// `tls-ciphersuites` for TLS 1.3, colon-separated; empty: all that there are.
    pub ciphersuites: String,
    /// `tls-prefer-server-ciphers`.
    pub prefer_server_ciphers: bool,
    /// `tls-session-caching`. Default yes.
    pub session_caching: bool,
    /// `tls-session-cache-size`; 0: no limit. Default 20480.
    pub session_cache_size: u32,
    /// `tls-session-cache-timeout`. Default 300 s.
    pub session_cache_timeout: Duration,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            port: 0,
            cert_file: None,
            key_file: None,
            key_file_pass: None,
            client_cert_file: None,
            client_key_file: None,
            client_key_file_pass: None,
            dh_params_file: None,
            ca_cert_file: None,
            ca_cert_dir: None,
            auth_clients: TlsAuth::Yes,
            replication: false,
            cluster: false,
            protocols: String::new(),
            ciphers: String::new(),
            ciphersuites: String::new(),
            prefer_server_ciphers: false,
            session_caching: true,
            session_cache_size: 20_480,
            session_cache_timeout: Duration::from_secs(300),
        }
    }
}

/// The `http-…` directives (ours): health, state and events for tools that speak HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// `http-port`; 0: no HTTP at all, the default.
    pub port: u16,
    /// `http-bind`: addresses to listen on, as for `bind`; none: those of `bind`.
    pub bind: Vec<String>,
    /// `http-token`: who shows it may change things over HTTP; `None`: nobody may.
    pub token: Option<Arc<str>>,
    /// `http-token-file`: the token is the first line of this file.
    pub token_file: Option<PathBuf>,
    /// `http-tls`: speak HTTPS, with the certificates of the `tls-…` directives. Default no.
    pub tls: bool,
}

impl Http {
    /// Connections at a time, where there is an `http-port`.
    pub const CONNECTIONS_MAX: u16 = 256;
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsAuth {
    /// They must.
    Yes,
    /// They are not asked.
    No,
    /// They may; a bad one is refused.
    Optional,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Much.
    Verbose,
    /// What an operator wants to know.
    Notice,
    /// What an operator must know.
    Warning,
    /// Nothing (Valkey and later Redis).
    Nothing,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// As redis-server writes them.
    Text,
    /// One JSON object per line.
    Json,
}

/// The `syslog-…` directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// `syslog-enabled`.
    pub enabled: bool,
    /// `syslog-ident`. Default redis.
    pub ident: String,
    /// `syslog-facility`. Default local0.
    pub facility: Facility,
}

impl Default for Syslog {
    fn default() -> Syslog {
        Syslog {
            enabled: false,
            ident: "redis".to_owned(),
            facility: Facility::Local(0),
        }
    }
}

/// A syslog facility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// `user`
    User,
    /// `local0` to `local7`
    Local(u8),
}

/// Who is told that the process is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervised {
    /// Nobody.
    No,
    /// upstart, by SIGSTOP.
    Upstart,
    /// systemd, over `NOTIFY_SOCKET`.
    Systemd,
    /// Whichever the environment shows.
    Auto,
}

/// Who may use something dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Nobody.
    No,
    /// Everybody.
    Yes,
    /// Connections from this host.
    Local,
}

/// The channels of new users and selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclPubsub {
    /// None.
    ResetChannels,
    /// All.
    AllChannels,
}

/// How much unread output one client of a class may pile up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Beyond this the connection is closed at once. 0: no limit.
    pub hard_bytes: u64,
    /// Beyond this it is closed after [`OutputLimit::soft_for`]. 0: no limit.
    pub soft_bytes: u64,
    /// How long [`OutputLimit::soft_bytes`] may be exceeded.
    pub soft_for: Duration,
}

/// `client-output-buffer-limit`, by class of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Ordinary clients. Default: none.
    pub normal: OutputLimit,
    /// Replicas. Default 256 MiB, 64 MiB for 60 s.
    pub replica: OutputLimit,
    /// Subscribers. Default 32 MiB, 8 MiB for 60 s.
    pub pubsub: OutputLimit,
}

impl Default for OutputLimits {
    fn default() -> OutputLimits {
        let limit = |hard_bytes, soft_bytes, secs| OutputLimit {
            hard_bytes,
            soft_bytes,
            soft_for: Duration::from_secs(secs),
        };
        OutputLimits {
            normal: limit(0, 0, 0),
            replica: limit(256 << 20, 64 << 20, 60),
            pubsub: limit(32 << 20, 8 << 20, 60),
        }
    }
}

/// Why there are no users at all where they stand in two places: those of the file would replace the others.
pub fn users_twice() -> Refusal {
    Refusal::new("Users are declared in lines and in an ACL file.")
        .hint("either 'user' lines or 'aclfile', not both")
}
