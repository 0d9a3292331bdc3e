//! Started as existing units, images and scripts start redis-server and redis-sentinel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::{
    Client, Kind, Port, Process, expect_that, fields, secs, text, texts, wait_for,
};

/// Our binary under another name, as a package that replaces redis's would install it.
fn linked_as(dir: &Path, name: &str) -> PathBuf {
    let link = dir.join(name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sentinel"), &link).expect("a link can be made");
    link
}

fn run(program: &Path, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("our own binary runs")
}

/// What a program says on both channels.
fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// A folder with a `sentinel.conf` for a free port, in Debian's manner.
fn configured(lines: &str) -> (TempDir, Port, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let port = Port::reserve();
    let file = dir.path().join("sentinel.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 1 2\n\
         sentinel down-after-milliseconds mymaster 30000\nsentinel parallel-syncs mymaster 1\n\
         sentinel failover-timeout mymaster 180000\nSENTINEL resolve-hostnames no\n{lines}",
        port.number(),
        dir.path().display(),
    );
    fs::write(&file, text).expect("a file can be written");
    (dir, port, file)
}

/// The permanent id of the sentinel on a port, once it answers.
fn sentinel_id(port: &Port) -> String {
    wait_for("the sentinel answers", secs(10), || {
        let mut client = Client::try_to(port.number()).map_err(|error| error.to_string())?;
        let id = client
            .try_call(&["SENTINEL", "MYID"])
            .map_err(|error| error.to_string())?;
        expect_that(text(&id).len() == 40, || text(&id))?;
        Ok(text(&id))
    })
}

#[test]
fn the_version_is_where_scripts_look_for_it() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "redis-server",
        "redis-sentinel",
        "valkey-server",
        "valkey-sentinel",
    ] {
        for option in ["-v", "--version"] {
            let output = run(&linked_as(dir.path(), name), &[option]);
            assert!(output.status.success());
            assert!(
                said(&output).starts_with("Redis server v=7.0.15 sha="),
                "{}",
                said(&output)
            );
            fs::remove_file(dir.path().join(name)).unwrap();
        }
    }
    let ours = said(&run(
        Path::new(env!("CARGO_BIN_EXE_sentinel")),
        &["--version"],
    ));
    assert!(
        ours.contains(env!("CARGO_PKG_VERSION")) && ours.contains("7.0.15"),
        "{ours}"
    );
}

#[test]
fn help_shows_examples() {
    let program = Path::new(env!("CARGO_BIN_EXE_sentinel"));
    for args in [
        &["--help"][..],
        &["up", "--help"],
        &["status", "--help"],
        &["server", "--help"],
    ] {
        let output = run(program, args);
        assert!(output.status.success(), "{args:?}");
        assert!(said(&output).contains("sentinel "), "{args:?}");
    }
    assert!(said(&run(program, &["--help"])).contains("Examples:"));
    let nothing = run(program, &[]);
    assert_eq!(nothing.status.code(), Some(64));
    let help = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(help.starts_with("High availability"), "{help}");
    assert_eq!(help.matches("Usage:").count(), 1, "{help}");
}

#[test]
fn a_start_that_cannot_work_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let sentinel = linked_as(dir.path(), "redis-sentinel");
    #[track_caller]
    fn check(output: &Output, expected: &[&str]) {
        assert_eq!(output.status.code(), Some(1), "{}", said(output));
        for part in expected {
            assert!(
                said(output).contains(part),
                "{part:?} is not in {}",
                said(output)
            );
        }
    }
    let missing = "Sentinel needs config file on disk to save state. Exiting...";
    check(&run(&sentinel, &[]), &[missing]);
    let nowhere = dir.path().join("nowhere.conf");
    let nowhere = nowhere.to_str().unwrap();
    let unreadable =
        format!("Fatal error, can't open config file '{nowhere}': No such file or directory");
    check(&run(&sentinel, &[nowhere]), &[&unreadable]);
    let ours = Path::new(env!("CARGO_BIN_EXE_sentinel"));
    check(
        &run(ours, &["stauts"]),
        &["can't open config file 'stauts'", "`sentinel status`"],
    );
    assert!(!said(&run(ours, &[nowhere])).contains("the nearest"));
    let bad = dir.path().join("bad.conf");
    fs::write(
        &bad,
        "port 26379\nprot 26379\nsentinel monitor m 127.0.0.1 1 0\n",
    )
    .unwrap();
    let head = "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***";
    let output = run(&sentinel, &[bad.to_str().unwrap()]);
    check(
        &output,
        &[head, "line 2", ">>> 'prot 26379'", "line 3", "monitor m"],
    );
}

#[test]
fn redis_server_with_sentinel_is_a_sentinel() {
    let (dir, port, file) = configured("");
    let mut command = Command::new(linked_as(dir.path(), "redis-server"));
    command.arg(&file).arg("--sentinel");
    let mut process = Process::start("sentinel", dir.path(), command);
    let id = sentinel_id(&port);
    assert!(process.terminate(secs(10)).success());
    let written = fs::read_to_string(&file).unwrap();
    assert!(
        written.contains(&format!("sentinel myid {id}")),
        "{written}"
    );
}

#[test]
fn directives_of_the_command_line_come_last() {
    let (dir, in_file, file) = configured("");
    let port = Port::reserve();
    let mut command = Command::new(linked_as(dir.path(), "redis-sentinel"));
    let number = port.number().to_string();
    command.arg(&file).args([
        "--port",
        &number,
        "--sentinel",
        "monitor",
        "other",
        "127.0.0.1",
        "2",
        "1",
    ]);
    let _process = Process::start("sentinel", dir.path(), command);
    sentinel_id(&port);
    assert!(
        Client::try_to(in_file.number()).is_err(),
        "the port of the file is not used"
    );
    let mut client = Client::to(port.number());
    let address = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "other"]);
    assert_eq!(text(&address), "127.0.0.1 2");
}

#[test]
fn standard_input_needs_a_state_file() {
    let dir = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    let state = dir.path().join("state");
    let config = format!("port {}\nsentinel monitor m 127.0.0.1 1 1\n", port.number());
    let start = |config: &str| {
        let input = dir.path().join("input");
        fs::write(&input, config).unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg("exec \"$0\" - < input")
            .arg(env!("CARGO_BIN_EXE_sentinel"));
        Process::start("sentinel", dir.path(), command)
    };
    let mut without = start(&config);
    assert_eq!(without.wait(secs(10)).code(), Some(1));
    assert!(without.log().contains("state-file"), "{}", without.log());

    let config = format!("{config}state-file {}\n", state.display());
    let mut first = start(&config);
    let id = sentinel_id(&port);
    assert!(first.terminate(secs(10)).success());
    let _second = start(&config);
    assert_eq!(sentinel_id(&port), id, "it knows who it is");
}

#[test]
fn in_the_background_it_leaves_a_pid_file() {
    let (dir, port, file) = configured("");
    let pid_file = dir.path().join("pid");
    let log = dir.path().join("log");
    let lines = format!(
        "daemonize yes\npidfile {}\nlogfile {}\n",
        pid_file.display(),
        log.display()
    );
    fs::write(&file, fs::read_to_string(&file).unwrap() + &lines).unwrap();
    let output = run(
        Path::new(env!("CARGO_BIN_EXE_sentinel")),
        &[file.to_str().unwrap()],
    );
    assert!(output.status.success(), "{}", said(&output));
    sentinel_id(&port);
    let pid = fs::read_to_string(&pid_file).unwrap().trim().to_owned();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    // It answers nobody for certain only when it is gone.
    let mut client = Client::to(port.number());
    client.send(&["SHUTDOWN"]).unwrap();
    wait_for("it ends and takes its pid file with it", secs(10), || {
        expect_that(!Path::new(&format!("/proc/{pid}")).exists(), || {
            "it runs".to_owned()
        })?;
        expect_that(!pid_file.exists(), || "the pid file is there".to_owned())
    });
    assert!(
        fs::read_to_string(&log)
            .unwrap()
            .contains("ready to exit, bye bye...")
    );
}

#[test]
fn a_server_in_the_background_says_in_its_log_why_it_does_not_start() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (port, log) = (Port::reserve(), dir.path().join("log"));
    fs::write(dir.path().join("dump.rdb"), "REDIS0010 and nothing else").expect("written");
    let config = dir.path().join("redis.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\ndir {}\ndaemonize yes\npidfile pid\nlogfile {}\n",
        port.number(),
        dir.path().display(),
        log.display(),
    );
    fs::write(&config, text).expect("written");
    let ours = Path::new(env!("CARGO_BIN_EXE_sentinel"));
    run(ours, &["server", config.to_str().expect("a path of ASCII")]);
    wait_for("the log says why", secs(10), || {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let has_said = said.contains("the DB from dump.rdb") && said.contains("Exiting...");
        expect_that(has_said, || said.clone())
    });
    wait_for("its pid file is gone", secs(10), || {
        let is_there = dir.path().join("pid").exists();
        expect_that(!is_there, || "it is there".to_owned())
    });
}

#[test]
fn words_of_the_command_line_are_lines_as_with_redis_server() {
    const LINES: &[&[&str]] = &[
        &["--port", "PORT"],
        &["port", "PORT"],
        &["port", "PORT", "--loglevel", "verbose"],
        &["PORT", "--port"],
        &["port", "PORT", "loglevel", "verbose"],
        &["port PORT"],
        &["--port PORT", "--loglevel verbose"],
        &["--port", "PORT", "--"],
        &["--", "port", "PORT"],
        &["--port", "PORT", "loglevel", "verbose"],
        &["--port", "PORT", "--save", "--loglevel", "debug"],
        &["--port", "PORT", "", "x"],
        &["--port=PORT"],
        &["--port", "--loglevel"],
    ];
    for words in LINES {
        let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let config = dir.path().join("server.conf");
            let text = format!("port 0\nbind 127.0.0.1\ndir {}\n", dir.path().display());
            fs::write(&config, text).expect("a file can be written");
            let port = Port::reserve();
            let number = port.number().to_string();
            let mut command = kind.server(&config);
            command.args(words.iter().map(|word| word.replace("PORT", &number)));
            let mut process = Process::start("server", dir.path(), command);
            wait_for("it answers or ends", secs(10), || {
                if !process.is_running() {
                    return Ok(None);
                }
                let mut client = Client::try_to(port.number()).map_err(|e| e.to_string())?;
                let shown = client.try_call(&["CONFIG", "GET", "loglevel"]);
                Ok::<_, String>(Some(texts(&shown.map_err(|e| e.to_string())?)))
            })
        });
        assert_eq!(real, ours, "{words:?}");
    }
}

#[test]
fn standard_input_comes_between_the_file_and_the_options() {
    const CASES: &[(&str, &str)] = &[
        ("FILE -", "timeout 7\n"),
        ("FILE -", "timeout 7\nhz 12"),
        ("FILE --hz 13 -", "timeout 7\nhz 12\n"),
        ("FILE - --hz 13", "timeout 7\n"),
        ("FILE - -", "timeout 7\n"),
        ("FILE --save -", "timeout 7\n"),
        ("FILE --timeout -", ""),
        ("FILE -", "include more.conf\n"),
        ("FILE -", "nonsense 7\n"),
        ("--hz 14 -", "port PORT\nbind 127.0.0.1\n"),
        ("- --hz 14 -", "port PORT\nbind 127.0.0.1\n"),
    ];
    for (arguments, input) in CASES {
        let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
            let (dir, port) = (tempfile::tempdir().unwrap(), Port::reserve());
            let number = port.number();
            let at = |name: &str| dir.path().join(name);
            let text = format!(
                "port {number}\nbind 127.0.0.1\ndir {}\nhz 11\n",
                dir.path().display()
            );
            fs::write(at("server.conf"), text).unwrap();
            fs::write(at("more.conf"), "hz 33\n").unwrap();
            fs::write(at("input"), input.replace("PORT", &number.to_string())).unwrap();
            let mut words = arguments.split(' ').map(|word| match word {
                "FILE" => "server.conf",
                word => word,
            });
            let server = kind.server(Path::new(words.next().expect("one at least")));
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "exec \"$@\" < input", "sh"]);
            command.arg(server.get_program()).args(server.get_args());
            command.args(words);
            for (name, value) in server.get_envs() {
                command.env(name, value.unwrap_or_default());
            }
            let mut process = Process::start("server", dir.path(), command);
            wait_for("it answers or ends", secs(10), || {
                if !process.is_running() {
                    return Ok(None);
                }
                let mut client = Client::try_to(number).map_err(|e| e.to_string())?;
                let shown = client.try_call(&["CONFIG", "GET", "hz", "timeout", "save"]);
                Ok::<_, String>(Some(fields(&shown.map_err(|e| e.to_string())?)))
            })
        });
        assert_eq!(real, ours, "{arguments}: {input:?}");
    }
}

#[test]
fn a_file_is_included_from_the_command_line() {
    let settings = |kind: Kind, arguments: &[&str]| {
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let file = dir.path().join("server.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\n",
            port.number(),
            dir.path().display()
        );
        fs::write(&file, text).unwrap();
        fs::write(
            dir.path().join("more.conf"),
            "maxmemory 77mb\nhz 33\ntimeout 5\n",
        )
        .unwrap();
        let mut command = kind.server(&file);
        command.args(arguments);
        let mut process = Process::start("server", dir.path(), command);
        wait_for("it answers or ends", secs(10), || {
            if !process.is_running() {
                return Ok("it ends".to_owned());
            }
            let mut client = Client::try_to(port.number()).map_err(|error| error.to_string())?;
            let reply = client.try_call(&["CONFIG", "GET", "maxmemory", "hz", "timeout"]);
            let shown = fields(&reply.map_err(|error| error.to_string())?);
            expect_that(shown.len() == 3, || format!("{shown:?}"))?;
            Ok(format!("{shown:?}"))
        })
    };
    let lines = [
        "--hz 44 --include more.conf --timeout 7",
        "--include more.conf",
        "--include nosuch.conf",
        "--include",
    ];
    for line in lines {
        let arguments: Vec<&str> = line.split(' ').collect();
        let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| settings(kind, &arguments));
        assert_eq!(real, ours, "{line}");
    }
}
