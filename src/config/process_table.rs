//! The definitions of the directives that both programs share.

use std::time::Duration;

use super::at;
use super::directive::{Directive, Form, When};
use super::errors::Refusal;
use super::forms::{
    Choice, FileMode, Folder, Memory, Number, OptionalPath, OptionalText, Seconds, Text,
    TextOrNone, Words, YesNo, parse_leniently, parse_memory, show_memory,
};
use super::lex;
use super::process::{
    AclPubsub, Allow, Facility, LogFormat, LogLevel, OutputLimit, OutputLimits, Process,
    Supervised, TlsAuth,
};

/// `client-output-buffer-limit CLASS HARD SOFT SECONDS …`: several on one line, and several lines.
pub struct OutputLimitsForm;

impl OutputLimitsForm {
    fn groups(value: &OutputLimits) -> [(&'static str, OutputLimit); 3] {
        [
            ("normal", value.normal),
            ("slave", value.replica),
            ("pubsub", value.pubsub),
        ]
    }
}

impl Form for OutputLimitsForm {
    type Value = OutputLimits;

    fn arity(&self) -> (usize, usize) {
        (0, usize::MAX)
    }

    fn parse(&self, words: &[&str], when: When, value: &mut OutputLimits) -> Result<(), Refusal> {
        if words.is_empty() && when == When::RunTime {
            // As in redis-server: no class is named, and none is changed.
            return Ok(());
        }
        if words.is_empty() || !words.len().is_multiple_of(4) {
            return Err(Refusal::new(
                "Wrong number of arguments in buffer limit configuration.",
            ));
        }
        for group in words.chunks_exact(4) {
            let limit = match group[0].to_ascii_lowercase().as_str() {
                "normal" => &mut value.normal,
                "slave" | "replica" => &mut value.replica,
                "pubsub" => &mut value.pubsub,
                _ => {
                    return Err(Refusal::new(
                        "Invalid client class specified in buffer limit configuration.",
                    ));
                }
            };
            let parsed = (|| {
                let seconds = i32::try_from(parse_leniently(group[3])?).ok()?;
                Some(OutputLimit {
                    hard_bytes: parse_memory(group[1])?,
                    soft_bytes: parse_memory(group[2])?,
                    soft_for: Duration::from_secs(u64::try_from(seconds).ok()?),
                })
            })();
            *limit = parsed.ok_or_else(|| {
                Refusal::new(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
                )
            })?;
        }
        Ok(())
    }

    fn show(&self, value: &OutputLimits) -> String {
        let shown = OutputLimitsForm::groups(value).map(|(class, limit)| {
            let OutputLimit {
                hard_bytes,
                soft_bytes,
                soft_for,
            } = limit;
            format!("{class} {hard_bytes} {soft_bytes} {}", soft_for.as_secs())
        });
        shown.join(" ")
    }

    fn lines(&self, value: &OutputLimits) -> Vec<Vec<String>> {
        let lines = OutputLimitsForm::groups(value).map(|(class, limit)| {
            let class = if class == "slave" { "replica" } else { class };
            vec![
                class.to_owned(),
                show_memory(limit.hard_bytes),
                show_memory(limit.soft_bytes),
                limit.soft_for.as_secs().to_string(),
            ]
        });
        lines.to_vec()
    }

    fn expected(&self) -> String {
        "normal|replica|pubsub HARD SOFT SECONDS, such as pubsub 32mb 8mb 60".to_owned()
    }
}

/// `user` lines, kept whole: the ACL engine reads them.
struct UserLines;

impl Form for UserLines {
    type Value = Vec<String>;

    fn arity(&self) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn parse(&self, words: &[&str], _: When, value: &mut Vec<String>) -> Result<(), Refusal> {
        let start = lex::join(["user", words[0]]);
        let defines_it = |line: &String| {
            let rest = line.strip_prefix(&start);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        if value.iter().any(defines_it) {
            return Err(Refusal::new(format!(
                "Error in user declaration '{}': Duplicate user found. A user can only be defined \
                 once in config files",
                words[0]
            )));
        }
        let words = std::iter::once("user").chain(words.iter().copied());
        value.push(lex::join(words));
        Ok(())
    }

    fn show(&self, value: &Vec<String>) -> String {
        value.join("\n")
    }

    fn lines(&self, value: &Vec<String>) -> Vec<Vec<String>> {
        let words = |line: &String| {
            let words = lex::words(line.as_bytes()).ok().flatten();
            words.map(|words| words[1..].to_vec())
        };
        value.iter().filter_map(words).collect()
    }

    fn expected(&self) -> String {
        "NAME RULE…, such as alice on >secret ~* &* +@all".to_owned()
    }
}

/// `rename-command OLD NEW`, any number of lines.
struct RenameLines;

impl Form for RenameLines {
    type Value = Vec<(String, String)>;

    fn arity(&self) -> (usize, usize) {
        (2, 2)
    }

    fn parse(&self, words: &[&str], _: When, value: &mut Self::Value) -> Result<(), Refusal> {
        value.push((words[0].to_owned(), words[1].to_owned()));
        Ok(())
    }

    fn show(&self, value: &Self::Value) -> String {
        let lines: Vec<String> = value.iter().map(|(a, b)| format!("{a} {b}")).collect();
        lines.join("\n")
    }

    fn lines(&self, value: &Self::Value) -> Vec<Vec<String>> {
        let words = |(old, new): &(String, String)| vec![old.clone(), new.clone()];
        value.iter().map(words).collect()
    }

    fn expected(&self) -> String {
        "COMMAND NEW-NAME, or \"\" to remove the command".to_owned()
    }
}

const ALLOW: &[(&str, Allow)] = &[
    ("no", Allow::No),
    ("yes", Allow::Yes),
    ("local", Allow::Local),
];

/// The definitions, for [`super::Table::new`].
pub fn process_directives() -> Vec<Directive<Process>> {
    let mut all = network();
    all.extend(tls());
    all.extend(process());
    all.extend(access());
    all.extend(http());
    all
}

/// `bind` and `http-bind`.
const ADDRESSES: Words = Words {
    most: 16,
    too_many: "Too many bind addresses specified.",
    expected: "address, * or ::*, with a leading - where it may be missing",
};

fn network() -> Vec<Directive<Process>> {
    type D = Directive<Process>;
    let megabyte_at_least = || Memory::between(1 << 20, i64::MAX.unsigned_abs());
    vec![
        D::at_run_time(
            "port",
            Number::between(0, u16::MAX),
            at!(port),
            "TCP port to listen on, 0 for none",
        ),
        D::at_run_time("bind", ADDRESSES, at!(bind), "addresses to listen on"),
        D::at_run_time(
            "bind-source-addr",
            OptionalText,
            at!(bind_source_addr),
            "address from which connections are made",
        ),
        D::at_start(
            "tcp-backlog",
            Number::between(0, i32::MAX),
            at!(tcp_backlog),
            "connections that wait to be accepted",
        ),
        D::at_run_time(
            "tcp-keepalive",
            Seconds::between(0, i32::MAX),
            at!(tcp_keepalive),
            "time between probes of an idle connection, 0 for none",
        ),
        D::at_start(
            "unixsocket",
            OptionalPath,
            at!(unixsocket),
            "socket to listen on",
        ),
        D::at_start(
            "unixsocketperm",
            FileMode,
            at!(unixsocketperm),
            "mode of that socket",
        ),
        D::at_run_time(
            "protected-mode",
            YesNo,
            at!(protected_mode),
            "only loopback may connect while there is no password",
        ),
        D::at_run_time(
            "maxclients",
            Number::between(1, u32::MAX),
            at!(maxclients),
            "most clients at a time",
        ),
        D::at_run_time(
            "timeout",
            Seconds::between(0, i32::MAX),
            at!(timeout),
            "idle time after which a client is disconnected, 0 for never",
        ),
        D::at_run_time(
            "client-output-buffer-limit",
            OutputLimitsForm,
            at!(output_limits),
            "unread output after which a client is disconnected",
        ),
        D::at_run_time(
            "client-query-buffer-limit",
            megabyte_at_least(),
            at!(query_buffer_limit),
            "largest input of a client that is not taken apart into words yet",
        ),
        D::at_run_time(
            "proto-max-bulk-len",
            megabyte_at_least(),
            at!(proto_max_bulk_len),
            "largest single word of a request",
        ),
    ]
}

fn tls() -> Vec<Directive<Process>> {
    type D = Directive<Process>;
    let auth = Choice::of(&[
        ("no", TlsAuth::No),
        ("yes", TlsAuth::Yes),
        ("optional", TlsAuth::Optional),
    ]);
    let path = |name, field, help| D::at_run_time(name, OptionalPath, field, help);
    let secret = |name, field, help| D::at_run_time(name, OptionalText, field, help);
    let text = |name, field, help| D::at_run_time(name, TextOrNone, field, help);
    let flag = |name, field, help| D::at_run_time(name, YesNo, field, help);
    vec![
        D::at_run_time(
            "tls-port",
            Number::between(0, u16::MAX),
            at!(tls.port),
            "TLS port to listen on, 0 for none",
        ),
        path("tls-cert-file", at!(tls.cert_file), "our certificate, PEM"),
        path("tls-key-file", at!(tls.key_file), "its key, PEM"),
        secret("tls-key-file-pass", at!(tls.key_file_pass), "its password"),
        path(
            "tls-client-cert-file",
            at!(tls.client_cert_file),
            "our certificate for outgoing connections",
        ),
        path("tls-client-key-file", at!(tls.client_key_file), "its key"),
        secret(
            "tls-client-key-file-pass",
            at!(tls.client_key_file_pass),
            "its password",
        ),
        path(
            "tls-dh-params-file",
            at!(tls.dh_params_file),
            "accepted, without effect",
        ),
        path("tls-ca-cert-file", at!(tls.ca_cert_file), "whom we trust"),
        path(
            "tls-ca-cert-dir",
            at!(tls.ca_cert_dir),
            "whom we trust, one file each",
        ),
        D::at_run_time(
            "tls-auth-clients",
            auth,
            at!(tls.auth_clients),
            "whether clients must show a certificate",
        ),
        flag(
            "tls-replication",
            at!(tls.replication),
            "outgoing connections use TLS",
        ),
        flag("tls-cluster", at!(tls.cluster), "`MIGRATE` uses TLS"),
        text(
            "tls-protocols",
            at!(tls.protocols),
            "such as \"TLSv1.2 TLSv1.3\"",
        ),
        text(
            "tls-ciphers",
            at!(tls.ciphers),
            "ciphers of TLS 1.2 as OpenSSL lists them; there are those of ECDHE with AES-GCM and ChaCha20",
        ),
        text(
            "tls-ciphersuites",
            at!(tls.ciphersuites),
            "ciphers of TLS 1.3; there are AES-GCM and ChaCha20",
        ),
        flag(
            "tls-prefer-server-ciphers",
            at!(tls.prefer_server_ciphers),
            "our order of ciphers counts",
        ),
        flag(
            "tls-session-caching",
            at!(tls.session_caching),
            "clients may resume sessions",
        ),
        D::at_run_time(
            "tls-session-cache-size",
            Number::between(0, i32::MAX),
            at!(tls.session_cache_size),
            "sessions kept, 0 for 1048576",
        ),
        D::at_run_time(
            "tls-session-cache-timeout",
            Seconds::between(0, i32::MAX),
            at!(tls.session_cache_timeout),
            "how long a session is kept",
        ),
    ]
}

fn process() -> Vec<Directive<Process>> {
    type D = Directive<Process>;
    let loglevel = Choice::of(&[
        ("debug", LogLevel::Debug),
        ("verbose", LogLevel::Verbose),
        ("notice", LogLevel::Notice),
        ("warning", LogLevel::Warning),
        ("nothing", LogLevel::Nothing),
    ]);
    let log_format = Choice::of(&[
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("legacy", LogFormat::Text),
    ]);
    let supervised = Choice::of(&[
        ("upstart", Supervised::Upstart),
        ("systemd", Supervised::Systemd),
        ("auto", Supervised::Auto),
        ("no", Supervised::No),
    ]);
    vec![
        D::protected("dir", Folder, at!(dir), "where the process works"),
        D::at_start(
            "logfile",
            OptionalPath,
            at!(logfile),
            "\"\": standard output",
        ),
        D::at_run_time("loglevel", loglevel, at!(loglevel), "how much is logged"),
        D::at_start(
            "log-format",
            log_format,
            at!(log_format),
            "how log lines look",
        ),
        D::at_start(
            "syslog-enabled",
            YesNo,
            at!(syslog.enabled),
            "log to syslog too",
        ),
        D::at_start("syslog-ident", Text, at!(syslog.ident), "our name there"),
        D::at_start(
            "syslog-facility",
            Choice::of(FACILITIES),
            at!(syslog.facility),
            "our facility there",
        ),
        D::at_start("daemonize", YesNo, at!(daemonize), "go to the background"),
        D::at_start(
            "supervised",
            supervised,
            at!(supervised),
            "who is told that we are ready",
        ),
        D::at_start(
            "pidfile",
            OptionalPath,
            at!(pidfile),
            "file for our process id",
        ),
        D::at_start(
            "state-file",
            OptionalPath,
            at!(state_file),
            "where a sentinel's state goes instead of this file",
        ),
    ]
}

const FACILITIES: &[(&str, Facility)] = &[
    ("user", Facility::User),
    ("local0", Facility::Local(0)),
    ("local1", Facility::Local(1)),
    ("local2", Facility::Local(2)),
    ("local3", Facility::Local(3)),
    ("local4", Facility::Local(4)),
    ("local5", Facility::Local(5)),
    ("local6", Facility::Local(6)),
    ("local7", Facility::Local(7)),
];

fn access() -> Vec<Directive<Process>> {
    type D = Directive<Process>;
    let pubsub = Choice::of(&[
        ("allchannels", AclPubsub::AllChannels),
        ("resetchannels", AclPubsub::ResetChannels),
    ]);
    vec![
        D::at_run_time(
            "requirepass",
            OptionalText,
            at!(requirepass),
            "password of the default user",
        ),
        D::file_only("user", UserLines, at!(users), "a user and its rules"),
        D::at_start("aclfile", OptionalPath, at!(aclfile), "file of users"),
        D::at_run_time(
            "acllog-max-len",
            Number::between(0, i64::MAX),
            at!(acllog_max_len),
            "entries of ACL LOG",
        ),
        D::at_run_time(
            "acl-pubsub-default",
            pubsub,
            at!(acl_pubsub_default),
            "channels of new users and selectors",
        ),
        D::file_only(
            "rename-command",
            RenameLines,
            at!(rename_commands),
            "another name for a command",
        )
        .never_rewritten(),
        D::at_start(
            "enable-protected-configs",
            Choice::of(ALLOW),
            at!(enable_protected_configs),
            "who may CONFIG SET protected directives",
        ),
        D::at_start(
            "enable-debug-command",
            Choice::of(ALLOW),
            at!(enable_debug_command),
            "who may use DEBUG",
        ),
    ]
}

/// All are read at the start alone, and `CONFIG` never shows the token.
fn http() -> Vec<Directive<Process>> {
    type D = Directive<Process>;
    vec![
        D::at_start(
            "http-port",
            Number::between(0, u16::MAX),
            at!(http.port),
            "HTTP port for health, state and events, 0 for none",
        ),
        D::at_start(
            "http-bind",
            ADDRESSES,
            at!(http.bind),
            "addresses to listen on for HTTP, those of bind when unset",
        ),
        D::file_only(
            "http-token",
            OptionalText,
            at!(http.token),
            "bearer token of those who may change things over HTTP",
        ),
        D::at_start(
            "http-token-file",
            OptionalPath,
            at!(http.token_file),
            "file whose first line is that token",
        ),
        D::at_start(
            "http-tls",
            YesNo,
            at!(http.tls),
            "speak HTTPS with the certificates of the tls directives",
        ),
    ]
}
