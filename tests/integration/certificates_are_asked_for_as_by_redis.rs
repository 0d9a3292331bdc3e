//! `tls-auth-clients` and the certificates of a data server, changed while it runs: whom redis-server and ours let in.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::support::{Kind, Port, ServerNode, redis_cli, start_server, text};
use crate::tls_reaches_real_servers::certificates;

/// Two authorities with a certificate each.
struct Authorities([TempDir; 2]);

impl Authorities {
    fn new() -> Authorities {
        let both = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for folder in &both {
            certificates(folder.path());
        }
        Authorities(both)
    }

    fn file(&self, which: usize, name: &str) -> PathBuf {
        self.0[which].path().join(name)
    }

    /// `CONFIG SET` of these files, of whichever of the two.
    fn set(&self, files: &[(&str, usize, &str)]) -> Vec<String> {
        let pairs = files.iter().flat_map(|(directive, which, name)| {
            let path = self.file(*which, name).display().to_string();
            [(*directive).to_owned(), path]
        });
        let words = ["CONFIG", "SET"].map(str::to_owned).into_iter();
        words.chain(pairs).collect()
    }
}

/// A server with a TLS port.
struct Served {
    server: ServerNode,
    port: Port,
}

impl Served {
    /// With the files of the first authority.
    fn start(kind: Kind, authorities: &Authorities, lines: &str) -> Served {
        let port = Port::reserve();
        let file = |name| authorities.file(0, name).display().to_string();
        let lines = format!(
            "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-port {}\n{lines}",
            file("node.crt"),
            file("node.key"),
            file("ca.crt"),
            port.number()
        );
        let server = start_server(kind, &lines);
        Served { server, port }
    }

    /// redis-cli that trusts the authority `trusted` and shows the certificate of `shown`.
    fn cli(&self, authorities: &Authorities, trusted: usize, shown: Option<usize>) -> Command {
        let mut command = redis_cli();
        command.args(["--tls", "-p", &self.port.number().to_string(), "--cacert"]);
        command.arg(authorities.file(trusted, "ca.crt"));
        if let Some(shown) = shown {
            command
                .arg("--cert")
                .arg(authorities.file(shown, "node.crt"));
            command
                .arg("--key")
                .arg(authorities.file(shown, "node.key"));
        }
        command
    }

    /// Who is let in: without a certificate, with that of the first authority, with that of the second; when they
    /// trust the first authority, and when they trust the second.
    fn lets_in(&self, authorities: &Authorities) -> Vec<bool> {
        let cases = [0, 1].into_iter().flat_map(|trusted| {
            let shown = [None, Some(0), Some(1)];
            shown.map(|shown| self.cli(authorities, trusted, shown))
        });
        // All at once.
        let started = cases.map(|mut command| {
            let command = command
                .arg("PING")
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            command.spawn().unwrap()
        });
        let started: Vec<Child> = started.collect();
        let ended = started.into_iter().map(|child| child.wait_with_output());
        ended
            .map(|output| output.unwrap().stdout == b"PONG\n")
            .collect()
    }

    fn ask(&self, words: &[String]) -> String {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        text(&self.server.client().call(&words))
    }
}

/// A client that stays.
struct Session {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Session {
    fn begin(mut command: Command) -> Session {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let from = BufReader::new(from);
        Session { child, to, from }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.to, "{line}").unwrap();
        let mut said = String::new();
        self.from.read_line(&mut said).unwrap();
        said.trim().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn who_is_let_in_and_who_is_not() {
    let authorities = Authorities::new();
    let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
        let served = Served::start(kind, &authorities, "");
        let mut seen = vec![("at first", "OK".to_owned(), served.lets_in(&authorities))];
        for choice in ["yes", "optional", "no", "OPTIONAL", "maybe", "yes"] {
            let words = ["CONFIG", "SET", "tls-auth-clients", choice].map(str::to_owned);
            let reply = served.ask(&words);
            seen.push((choice, reply, served.lets_in(&authorities)));
        }
        seen
    });
    for (real, ours) in real.iter().zip(&ours) {
        assert_eq!(real, ours);
    }
    let of = |at: usize| real[at].2.clone();
    assert_eq!(of(1), [false, true, false, false, false, false]);
    assert_eq!(of(2), [true, true, false, false, false, false]);
    assert_eq!(of(3), [true, true, true, false, false, false]);
}

#[test]
fn certificates_change_together_and_whom_they_let_in() {
    let authorities = Authorities::new();
    let (cert, key, ca) = (
        ("tls-cert-file", "node.crt"),
        ("tls-key-file", "node.key"),
        ("tls-ca-cert-file", "ca.crt"),
    );
    let from = |which: usize, files: &[(&'static str, &'static str)]| {
        let files = files
            .iter()
            .map(|(directive, name)| (*directive, which, *name));
        files.collect::<Vec<_>>()
    };
    let steps = [
        from(1, &[ca]),
        from(0, &[ca]),
        from(1, &[cert]),
        from(1, &[key]),
        from(1, &[cert, key]),
        from(1, &[ca]),
        from(0, &[key, ca, cert]),
        vec![("tls-cert-file", 0, "nosuch.crt")],
        vec![("tls-ca-cert-file", 0, "nosuch.crt")],
        vec![("tls-ca-cert-file", 0, "node.key")],
        vec![("tls-key-file", 0, "ca.crt")],
        from(1, &[cert, key, ca]),
    ];
    let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
        let served = Served::start(kind, &authorities, "");
        let mut early = Session::begin(served.cli(&authorities, 0, Some(0)));
        assert_eq!(early.ask("PING"), "PONG");
        let mut seen = Vec::new();
        for step in &steps {
            let reply = served.ask(&authorities.set(step));
            let shown = served.ask(&["CONFIG", "GET", "tls-*-file"].map(str::to_owned));
            let mut shown: Vec<String> = shown.split(' ').map(str::to_owned).collect();
            shown.sort();
            let early = early.ask("PING");
            seen.push((
                step.clone(),
                reply,
                shown,
                served.lets_in(&authorities),
                early,
            ));
        }
        seen
    });
    for (real, ours) in real.iter().zip(&ours) {
        assert_eq!(real, ours);
    }
}

/// Files that were renewed in their place are read again when they are set, be it to the same names.
#[test]
fn what_is_in_the_files_by_now_counts() {
    let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
        let authorities = Authorities::new();
        let served = Served::start(kind, &authorities, "");
        let mut seen = vec![served.lets_in(&authorities)];
        for name in ["node.crt", "node.key", "ca.crt"] {
            let (old, new) = (authorities.file(0, name), authorities.file(1, name));
            let aside = old.with_extension("aside");
            std::fs::rename(&old, &aside).unwrap();
            std::fs::rename(&new, &old).unwrap();
            std::fs::rename(&aside, &new).unwrap();
        }
        seen.push(served.lets_in(&authorities));
        for (directive, name) in [
            ("tls-cert-file", "node.crt"),
            ("tls-ca-cert-file", "ca.crt"),
        ] {
            let reply = served.ask(&authorities.set(&[(directive, 0, name)]));
            assert_eq!(reply, "OK", "{kind:?}");
            seen.push(served.lets_in(&authorities));
        }
        seen
    });
    assert_eq!(real, ours);
}
