//! The HTTP port as real tools use it: HAProxy with the configuration that is shipped, an API fuzzer, and a
//! TLS client of another make.

use std::process::Command;
use std::time::Duration;

use sentinel::clock::Clock;

use crate::support::http::Web;
use crate::support::{
    Client, Kind, NAME, Port, Process, Topology, expect_that, haproxy, redis_py, schemathesis,
    secs, start_sentinel, text, wait_for,
};

/// A client that knows nothing of sentinels is led through a failover by HAProxy.
#[test]
fn haproxy_keeps_a_client_with_the_master() {
    let ports: Vec<Port> = (0..3).map(|_| Port::reserve()).collect();
    let mut builder = Topology::of(Kind::Real).sentinels(&[Kind::Ours; 3]);
    for (i, port) in ports.iter().enumerate() {
        builder = builder.sentinel_line(i, &format!("http-port {}", port.number()));
    }
    let mut set = builder.start();
    let (master, replicas, checks) = (Port::reserve(), Port::reserve(), Port::reserve());
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy/haproxy.cfg");
    let mut config = std::fs::read_to_string(shipped).unwrap();
    let mut adapt = |from: &str, to: &str| {
        assert!(config.contains(from), "{from} is not in {shipped}");
        config = config.replace(from, to);
    };
    for (i, (server, sentinel)) in set.servers.iter().zip(&ports).enumerate() {
        let host = format!("10.0.0.{}", i + 1);
        adapt(
            &format!("{host}:6379"),
            &format!("127.0.0.1:{}", server.port()),
        );
        adapt(
            &format!("{host}:26380"),
            &format!("127.0.0.1:{}", sentinel.number()),
        );
    }
    adapt("bind :6379", &format!("bind 127.0.0.1:{}", master.number()));
    adapt(
        "bind :6380",
        &format!("bind 127.0.0.1:{}", replicas.number()),
    );
    adapt("8404", &checks.number().to_string());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
    let mut command = haproxy();
    command.args(["-db", "-f", "haproxy.cfg"]);
    let _haproxy = Process::start("haproxy", dir.path(), command);

    let old = set.master_port();
    let role = |port: &Port| {
        let mut client = Client::try_to_within(port.number(), secs(1)).ok()?;
        let info = text(&client.try_call(&["INFO"]).ok()?);
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim().to_owned()
        };
        Some((field("role:"), field("tcp_port:")))
    };
    let leads_to = |port: &Port, wanted: &str| {
        let found = role(port);
        let is_it = found.as_ref().is_some_and(|(role, _)| role == wanted);
        expect_that(is_it, || format!("{found:?}"))
    };
    wait_for(
        "HAProxy leads to the master and to replicas",
        secs(20),
        || {
            leads_to(&master, "master")?;
            leads_to(&replicas, "slave")
        },
    );
    // Before its first checks HAProxy takes every server for a master.
    let mut client = wait_for("a client writes", secs(20), || {
        let mut client = Client::to(master.number());
        let reply = text(&client.call(&["SET", "before", "1"]));
        expect_that(reply == "OK", || reply.clone())?;
        Ok(client)
    });

    let clock = Clock::start();
    set.server_at(old).kill();
    let killed = clock.mono();
    client
        .wait_for_close(secs(20))
        .expect("the client of a dead master is disconnected");
    // It connects again, as any client does, until it can write.
    wait_for("the client writes again", secs(30), || {
        let mut client =
            Client::try_to_within(master.number(), secs(1)).map_err(|error| error.to_string())?;
        let reply = client.try_call(&["SET", "after", "1"]);
        let reply = reply.map_err(|error| error.to_string())?;
        expect_that(text(&reply) == "OK", || text(&reply))
    });
    let took = clock.mono().since(killed);
    println!("writes went on {} ms after the kill", took.as_millis());
    let new = set.wait_for_switch(old, secs(20));
    let leads_to_new = || {
        let found = role(&master);
        let is_new = found == Some(("master".to_owned(), new.to_string()));
        expect_that(is_new, || format!("{found:?}"))
    };
    wait_for("HAProxy leads to the new master", secs(20), leads_to_new);
    let mut direct = Client::to(new);
    assert_eq!(text(&direct.call(&["GET", "after"])), "1");
    // The old master is back as a replica: no client that wants to write ever reaches it.
    set.server_at(old).start_again();
    wait_for("it follows the new master", secs(20), || {
        set.server_at(old).follows(new)
    });
    wait_for(
        "HAProxy still leads to the new master, and to a replica",
        secs(20),
        || {
            leads_to_new()?;
            leads_to(&replicas, "slave")
        },
    );
}

/// Requests made up from the description: nothing fails but as it is described, and the only 5xx is 503.
#[test]
fn a_fuzzer_finds_nothing_that_is_not_described() {
    let (nowhere, http) = (Port::reserve(), Port::reserve());
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", nowhere.number());
    let lines = format!("http-port {}\nhttp-token secret\n", http.number());
    let mut node = start_sentinel(Kind::Ours, &monitor, &lines);
    let dir = tempfile::tempdir().unwrap();
    // Its own settings: 503 is described and meant, and a stream of events has no end to wait for.
    let settings = "[checks]\nnot_a_server_error.expected-statuses = [\"2xx\", \"4xx\", 503]\n\
                    [[operations]]\ninclude-path = \"/events\"\nenabled = false\n";
    std::fs::write(dir.path().join("schemathesis.toml"), settings).unwrap();
    let mut command = schemathesis();
    command
        .current_dir(dir.path())
        .args([
            "run",
            &format!("http://127.0.0.1:{}/openapi.json", http.number()),
        ])
        .args(["--header", "Authorization: Bearer secret"])
        .args([
            "--max-examples",
            "20",
            "--seed",
            "1",
            "--request-timeout",
            "10",
        ])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--checks", CHECKS.join(",").as_str()]);
    let output = run_within(command, Duration::from_secs(120));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(node.process.is_running());
    let web = Web::at(&http);
    assert_eq!(web.get("/liveness").status, 200);
}

const CHECKS: &[&str] = &[
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
];

fn run_within(mut command: Command, within: Duration) -> std::process::Output {
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (done, is_done) = std::sync::mpsc::sync_channel::<()>(1);
    let watchdog = std::thread::spawn(move || {
        if is_done.recv_timeout(within).is_err() {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    watchdog.join().unwrap();
    output
}

/// `http-tls` with the certificates of the main port, asked by Python's OpenSSL.
#[test]
fn https_with_the_certificates_of_the_main_port() {
    let folder = tempfile::tempdir().unwrap();
    let tls = crate::tls_reaches_real_servers::certificates(folder.path());
    let (nowhere, http) = (Port::reserve(), Port::reserve());
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", nowhere.number());
    let lines = format!(
        "{tls}tls-auth-clients optional\nhttp-tls yes\nhttp-port {}\n",
        http.number()
    );
    let _node = start_sentinel(Kind::Ours, &monitor, &lines);
    let script = "import ssl, sys, urllib.request as u\n\
                  c = ssl.create_default_context(cafile=sys.argv[1]); c.check_hostname = False\n\
                  print(u.urlopen(sys.argv[2], context=c, timeout=10).read().decode())";
    let url = format!("https://127.0.0.1:{}/liveness", http.number());
    let ask = |url: &str| {
        let mut command = redis_py();
        command
            .args(["-c", script])
            .arg(folder.path().join("ca.crt"))
            .arg(url);
        command.output().unwrap()
    };
    let output = ask(&url);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.trim(),
        r#"{"status":"ok"}"#,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let plain = ask(&url.replace("https", "http"));
    assert!(!plain.status.success(), "plain HTTP is not spoken there");
}
