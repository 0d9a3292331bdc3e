//! `sentinel check`: what is wrong with a configuration, and what is right but risky.

mod sentinel;
mod server;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::args::CheckArgs;
use super::{daemon, exit, print};
use crate::config::load::{self, Line};
use crate::config::process::{Process, TlsAuth};
use crate::config::sentinel::is_yaml;
use crate::config::{ConfigErrors, LoadError, Place, Source, yaml};
use crate::net::{ListenOptions, load_http_tls, load_tls};
use crate::topology::{Paint, Tone, is_loopback, printable};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// It works, but not as well as it could.
    Warning,
    /// The daemon would refuse it.
    Error,
}

/// One thing to say about a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    severity: Severity,
    /// The file.
    source: String,
    /// Counted from 1; `None`: it is about no single line.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// The line, or the key.
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    /// What is wrong.
    reason: String,
    /// What would be better.
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
}

/// What a file configures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Program {
    Sentinel,
    Server,
}

/// Everything that there is to say about a file.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    program: Program,
    ok: bool,
    findings: Vec<Finding>,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let source = daemon::source(&args.file)?;
    let found = check(&source, args.server, args.state_file.as_deref());
    let report = match found {
        Ok(report) => report,
        Err(error) => {
            super::complain(&format!("sentinel: {error}"));
            return Ok(ExitCode::from(exit::MISTAKEN));
        }
    };
    let text = if args.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        report.text(args.color.paint())
    };
    print(&text)?;
    let worst = report.findings.iter().map(|finding| finding.severity).max();
    Ok(ExitCode::from(match worst {
        None => exit::OK,
        Some(Severity::Warning) => exit::RISKY,
        Some(Severity::Error) => exit::MISTAKEN,
    }))
}

/// # Errors
/// The file cannot be read.
fn check(source: &Source, is_server: bool, state_file: Option<&Path>) -> Result<Report, LoadError> {
    // The same lines as the daemon reads, to find the place of what its rules are about.
    let mut ignored = ConfigErrors::default();
    let (name, yaml_path) = match source {
        Source::File(path) => (path.clone(), Some(path).filter(|path| is_yaml(path))),
        Source::Stdin(_) => (PathBuf::from("-"), None),
    };
    let lines = match yaml_path {
        Some(path) => {
            let bytes = load::read_file(path).map_err(|error| LoadError::Open {
                path: path.display().to_string(),
                error,
            })?;
            yaml::lines(path, &bytes, &mut ignored)
        }
        None => load::read(source, &|_| false, &mut ignored)?.lines,
    };
    let program = if is_server || (yaml_path.is_none() && !is_for_sentinel(&name, &lines)) {
        Program::Server
    } else {
        Program::Sentinel
    };
    let mut findings = Findings {
        source: name.display().to_string(),
        lines,
        list: Vec::new(),
    };
    match program {
        Program::Sentinel => sentinel::check(source, state_file, &mut findings),
        Program::Server => server::check(source, &mut findings),
    }
    let mut list = findings.list;
    // Errors first, each kind from the top of the file.
    list.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.line));
    Ok(Report {
        file: name.display().to_string(),
        program,
        ok: list.is_empty(),
        findings: list,
    })
}

/// Whether a file in the Redis dialect configures a sentinel: by its lines, else by its name.
fn is_for_sentinel(name: &Path, lines: &[Line]) -> bool {
    let has_statement = lines
        .iter()
        .any(|line| line.words[0].eq_ignore_ascii_case("sentinel"));
    let name = name.file_name().map(|name| name.to_string_lossy());
    has_statement || name.is_some_and(|name| name.contains("sentinel"))
}

impl Report {
    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let (label, tone) = match finding.severity {
                Severity::Warning => ("warning", Tone::Warn),
                Severity::Error => ("error", Tone::Bad),
            };
            let place = match finding.line {
                Some(line) => format!("{}:{line}", finding.source),
                None => finding.source.clone(),
            };
            text.push_str(&format!(
                "{}: {}: {}\n",
                printable(&place),
                paint.text(tone, label),
                printable(&finding.reason)
            ));
            if !finding.text.is_empty() {
                text.push_str(&format!(
                    "    {}\n",
                    paint.text(Tone::Dim, &printable(&finding.text))
                ));
            }
            if !finding.hint.is_empty() {
                text.push_str(&format!("    better: {}\n", printable(&finding.hint)));
            }
        }
        let count = |severity| {
            self.findings
                .iter()
                .filter(|f| f.severity == severity)
                .count()
        };
        let program = match self.program {
            Program::Sentinel => "a sentinel",
            Program::Server => "a data server",
        };
        let plural =
            |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let sum = match (count(Severity::Error), count(Severity::Warning)) {
            (0, 0) => paint.text(Tone::Good, "nothing to say"),
            (errors, warnings) => format!(
                "{}, {}",
                plural(errors, "error"),
                plural(warnings, "warning")
            ),
        };
        text.push_str(&format!("{}, {program}: {sum}\n", printable(&self.file)));
        text
    }
}

/// What was found so far.
struct Findings {
    /// The file.
    source: String,
    /// Its lines in the Redis dialect.
    lines: Vec<Line>,
    list: Vec<Finding>,
}

impl Findings {
    /// A risky choice, made in the last line that begins with the words of `at`, if there is one.
    fn warn(&mut self, at: &[&str], reason: impl Into<String>, hint: impl Into<String>) {
        let place = self.place(at);
        self.push(Severity::Warning, place, reason.into(), hint.into());
    }

    /// Something that keeps the daemon from starting.
    fn fail(&mut self, at: &[&str], reason: impl Into<String>) {
        let place = self.place(at);
        self.push(Severity::Error, place, reason.into(), String::new());
    }

    /// The mistakes that reading found.
    fn mistakes(&mut self, errors: &ConfigErrors) {
        for mistake in errors.mistakes() {
            let (reason, hint) = (mistake.reason.clone(), mistake.hint.clone());
            self.push(Severity::Error, Some(mistake.place.clone()), reason, hint);
        }
    }

    /// Why a configuration could not be loaded.
    fn not_loaded(&mut self, error: &LoadError) {
        match error {
            LoadError::Mistakes(errors) => self.mistakes(errors),
            LoadError::Open { .. } => self.fail(&[], error.to_string()),
        }
    }

    fn push(&mut self, severity: Severity, place: Option<Place>, reason: String, hint: String) {
        let source = place.as_ref().map(|place| place.source.to_string());
        self.list.push(Finding {
            severity,
            source: source.unwrap_or_else(|| self.source.clone()),
            line: place
                .as_ref()
                .map(|place| place.line)
                .filter(|line| *line > 0),
            text: place
                .map(|place| place.text.to_string())
                .unwrap_or_default(),
            reason,
            hint,
        });
    }

    fn place(&self, at: &[&str]) -> Option<Place> {
        let begins = |line: &&Line| {
            line.words.len() >= at.len()
                && line
                    .words
                    .iter()
                    .zip(at)
                    .all(|(word, at)| word.eq_ignore_ascii_case(at))
        };
        let line = self.lines.iter().rev().find(begins);
        line.filter(|_| !at.is_empty())
            .map(|line| line.place.clone())
    }
}

/// Whether others than this machine can connect.
fn is_public(process: &Process) -> bool {
    let has_port = process.port != 0 || process.tls.port != 0;
    has_port && reaches_others(&process.bind)
}

/// Whether one of the addresses to listen on can be reached from other machines.
fn reaches_others(bind: &[String]) -> bool {
    !bind
        .iter()
        .all(|address| is_loopback(address.trim_start_matches('-')))
}

/// Whether two addresses to listen on have one in common. Of names, which are not looked up here but for
/// `localhost`, one is in all addresses of IPv4, and no two are the same that are written differently.
fn is_same(one: &str, other: &str) -> bool {
    const ALL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let parse = |text: &str| match text {
        "*" => Ok(ALL),
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        "::*" => Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        text => text.parse().map_err(|_| text.to_ascii_lowercase()),
    };
    let [one, other] = [one, other].map(|address| parse(address.trim_start_matches('-')));
    match (one, other) {
        (Ok(one), Ok(other)) => {
            let has_all = one.is_unspecified() || other.is_unspecified();
            one == other || (has_all && one.is_ipv4() == other.is_ipv4())
        }
        (Ok(ip), Err(_)) | (Err(_), Ok(ip)) => ip == ALL,
        (Err(one), Err(other)) => one == other,
    }
}

/// Whether a stranger who can connect may also do something.
fn is_open(process: &Process) -> bool {
    let guards_default = |user: &String| {
        let words: Vec<&str> = user.split_ascii_whitespace().collect();
        words.get(1) == Some(&"default") && !words.contains(&"nopass")
    };
    let has_password = process.requirepass.is_some()
        || process.aclfile.is_some()
        || process.users.iter().any(guards_default);
    let wants_certificate = process.port == 0 && process.tls.auth_clients == TlsAuth::Yes;
    !has_password && !wants_certificate && !process.protected_mode
}

/// What both programs have in common.
fn check_process(process: &Process, findings: &mut Findings) {
    if is_public(process) && is_open(process) {
        let at = findings
            .place(&["protected-mode"])
            .map_or("bind", |_| "protected-mode");
        findings.warn(
            &[at],
            "everybody who can reach this port may do everything: no password, no protected mode, and \
             not bound to this machine",
            "requirepass, or users with passwords, or 'bind 127.0.0.1 -::1'",
        );
    }
    let resolved = resolved(process);
    if let Err(error) = load_tls(&resolved) {
        let at = if process.tls.port == 0 {
            "tls-replication"
        } else {
            "tls-port"
        };
        findings.fail(&[at], format!("{error:#}"));
    }
    if process.http.port != 0 {
        check_http(&resolved, findings);
    }
}

fn check_http(process: &Process, findings: &mut Findings) {
    let port = process.http.port;
    let bind = ListenOptions::of_http(process).bind;
    let overlaps = |own: &String| bind.iter().any(|address| is_same(own, address));
    if [process.port, process.tls.port].contains(&port) && process.bind.iter().any(overlaps) {
        findings.fail(
            &["http-port"],
            format!("port {port} is taken already, for what is not HTTP"),
        );
    }
    if let Err(error) = load_http_tls(process) {
        findings.fail(&["http-tls"], format!("{error:#}"));
    }
    let has_token = process.http.token.is_some() || process.http.token_file.is_some();
    if has_token && !process.http.tls && reaches_others(&bind) {
        findings.warn(
            &["http-port"],
            "the token crosses the network in the clear: whoever reads it there may order failovers",
            "http-tls yes, or http-bind 127.0.0.1",
        );
    }
}

/// The same with the files where the process, which works in its own folder, finds them.
fn resolved(process: &Process) -> Process {
    let dir = std::path::absolute(&process.dir).unwrap_or_default();
    let mut resolved = process.clone();
    let tls = &mut resolved.tls;
    let files = [
        &mut tls.cert_file,
        &mut tls.key_file,
        &mut tls.client_cert_file,
        &mut tls.client_key_file,
        &mut tls.ca_cert_file,
        &mut tls.ca_cert_dir,
        &mut resolved.http.token_file,
    ];
    for file in files.into_iter().flatten() {
        *file = dir.join(&*file);
    }
    resolved
}

/// Whether the directives of both programs hold a password. A hash of one is none.
fn has_password(process: &Process) -> bool {
    let has_one = |user: &String| {
        user.split_ascii_whitespace()
            .any(|rule| rule.starts_with('>'))
    };
    process.requirepass.is_some()
        || process.http.token.is_some()
        || process.users.iter().any(has_one)
}

/// Whether a file with passwords can be read by everybody on this machine.
fn check_secrets(source: &Source, has_secrets: bool, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt;
    const READ_BY_OTHERS: u32 = 0o004;
    let Source::File(path) = source else {
        return;
    };
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
    if has_secrets && mode.is_ok_and(|mode| mode & READ_BY_OTHERS != 0) {
        findings.warn(
            &[],
            "it holds passwords, and everybody on this machine can read it",
            format!("chmod o-r {}", path.display()),
        );
    }
}

/// Whether a folder can be written by whoever runs this.
fn is_writable(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a file of that name: severity, line and reason.
    pub(super) fn found(name: &str, text: &str) -> Vec<(Severity, Option<usize>, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let report = check(&Source::File(path), false, None).unwrap();
        let list = report.findings.into_iter();
        list.map(|finding| (finding.severity, finding.line, finding.reason))
            .collect()
    }

    /// That a warning is about `line` and has `part` in it, and that it is gone with `better`.
    #[track_caller]
    pub(super) fn check_warning(
        name: &str,
        text: &str,
        line: Option<usize>,
        part: &str,
        better: &str,
    ) {
        let list = found(name, text);
        let is_it = |(severity, at, reason): &(Severity, Option<usize>, String)| {
            *severity == Severity::Warning && *at == line && reason.contains(part)
        };
        assert!(list.iter().any(is_it), "{part:?} is not in {list:#?}");
        let list = found(name, better);
        let is_said = list.iter().any(|(_, _, reason)| reason.contains(part));
        assert!(!is_said, "{part:?} is still in {list:#?}");
    }

    #[test]
    fn all_mistakes_have_their_lines() {
        let list = found("sentinel.conf", "port x\n\nsentinel monitor m ::1 1 0\n");
        let lines: Vec<_> = list
            .iter()
            .map(|(severity, line, _)| (*severity, *line))
            .collect();
        let error = Severity::Error;
        assert_eq!(lines, [(error, Some(1)), (error, Some(3))], "{list:#?}");
        let list = found("s.yaml", "bind: 127.0.0.1\nprot: 1\n");
        assert_eq!((list[0].0, list[0].1), (error, Some(2)), "{list:#?}");
        let list = found("sentinel.conf", "user bob on +nonsense\n");
        assert_eq!((list[0].0, list[0].1), (error, Some(1)), "{list:#?}");
        let list = found("sentinel.conf", "tls-port 1\n");
        assert!(
            list.iter()
                .any(|(s, l, r)| *s == error && *l == Some(1) && r.contains("tls-cert-file"))
        );
    }

    #[test]
    fn the_program_is_told_by_its_lines() {
        let program = |name: &str, text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            check(&Source::File(path), false, None).unwrap().program
        };
        assert_eq!(program("x.conf", "appendonly yes\n"), Program::Server);
        assert_eq!(
            program("x.conf", "sentinel resolve-hostnames no\n"),
            Program::Sentinel
        );
        assert_eq!(program("my-sentinel.conf", "port 1\n"), Program::Sentinel);
        assert_eq!(program("x.yaml", "port: 1\n"), Program::Sentinel);
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let error = check(&Source::File("/nonexistent/x".into()), false, None).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[test]
    fn a_port_is_taken_where_addresses_are_the_same() {
        let is_taken = |lines: &str| {
            let text = format!("port 26379\nhttp-port 26379\n{lines}");
            let list = found("sentinel.conf", &text);
            list.iter().any(|(.., reason)| reason.contains("taken"))
        };
        for lines in [
            "",
            "bind 127.0.0.1\n",
            "bind 127.0.0.1 10.0.0.1\nhttp-bind 10.0.0.1\n",
            "bind 10.0.0.1\nhttp-bind *\n",
            "bind -::*\nhttp-bind ::1\n",
            "bind 0.0.0.0\nhttp-bind localhost\n",
        ] {
            assert!(is_taken(lines), "{lines}");
        }
        for lines in [
            "bind 10.0.0.1\nhttp-bind 127.0.0.1\n",
            "bind 10.0.0.1\nhttp-bind ::*\n",
        ] {
            assert!(!is_taken(lines), "{lines}");
        }
    }

    #[test]
    fn passwords_in_a_file_that_all_can_read_are_told_of() {
        use std::os::unix::fs::PermissionsExt;
        let is_told = |line: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("redis.conf");
            std::fs::write(&path, line).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
            let report = check(&Source::File(path), true, None).unwrap();
            let reasons = report.findings.into_iter().map(|finding| finding.reason);
            reasons
                .into_iter()
                .any(|reason| reason.contains("holds passwords"))
        };
        for line in [
            "requirepass x\n",
            "user bob on >secret +@all\n",
            "http-token x\n",
        ] {
            assert!(is_told(line), "{line}");
        }
        let hash = "0".repeat(64);
        assert!(!is_told(&format!("user bob on #{hash}\n")));
    }

    #[test]
    fn open_doors_are_told_of() {
        let conf = "sentinel monitor m 10.0.0.1 1 2\nbind 10.0.0.1\nprotected-mode no\n";
        let part = "may do everything";
        for better in [
            "requirepass x\n",
            "protected-mode yes\n",
            "bind 127.0.0.1 -::1\n",
        ] {
            check_warning(
                "sentinel.conf",
                conf,
                Some(3),
                part,
                &(conf.to_owned() + better),
            );
        }
        check_warning(
            "redis.conf",
            "protected-mode no\n",
            Some(1),
            part,
            "protected-mode yes\n",
        );
    }
}
