//! `/metrics` of both programs as Prometheus reads it, the alerts and the dashboard that are shipped for it, and the
//! health of a data server over HTTP.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::http::{Answer, Web};
use crate::support::{
    Client, Kind, NAME, Port, Process, Topology, expect_that, prometheus, promtool, secs,
    start_server, text, wait_for,
};

const EXPORTER: &str = include_str!("metrics_of_the_exporter.txt");
/// What a sentinel or a data server of ours puts before names of its own.
const OURS: &str = "sentinel_";

fn reserve(count: usize) -> Vec<Port> {
    (0..count).map(|_| Port::reserve()).collect()
}

fn shipped(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A set of ours, all of which speak HTTP: the ports of the servers, then those of the sentinels.
fn set_with_http() -> (Topology, Vec<Port>, Vec<Port>) {
    let (servers, sentinels) = (reserve(3), reserve(3));
    let mut builder = Topology::of(Kind::Ours);
    for (i, port) in servers.iter().enumerate() {
        builder = builder.server_line(i, &format!("http-port {}", port.number()));
    }
    for (i, port) in sentinels.iter().enumerate() {
        builder = builder.sentinel_line(i, &format!("http-port {}", port.number()));
    }
    (builder.start(), servers, sentinels)
}

fn scrape(web: Web) -> String {
    let answer = web.get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let length = answer.header("content-length").parse();
    assert_eq!(length, Ok(answer.body.len()), "the whole text");
    answer.body
}

/// The names of families in a text.
fn names(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let name = |rest: &str| rest.split(' ').next().map(str::to_owned);
    types.filter_map(name).collect()
}

/// The value of a sample without labels.
fn value(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    let found = found.unwrap_or_else(|| panic!("no {name} in {text}"));
    found.trim().parse().unwrap()
}

/// What the exporter gives for such a program.
fn expected(program: &str) -> BTreeSet<String> {
    let lines = EXPORTER.lines().map(str::trim);
    let section = lines
        .skip_while(|line| *line != format!("[{program}]"))
        .skip(1);
    let section = section.take_while(|line| !line.starts_with('['));
    section
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What `promtool check metrics` says.
fn lint(text: &str) -> (Option<i32>, String) {
    let mut child = promtool()
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// Every exported name is there, our own please the linter, and what is shipped uses no other.
#[test]
fn every_name_is_given_and_no_other_is_used() {
    let (set, servers, sentinels) = set_with_http();
    set.wait_until_settled(secs(20));
    // So that there is something to tell of everything.
    let mut client = set.servers[0].client();
    for command in [
        &["CONFIG", "SET", "latency-monitor-threshold", "1"][..],
        &["CONFIG", "SET", "slowlog-log-slower-than", "0"],
        &["SET", "k", "v", "EX", "1000"],
        &["DEBUG", "SLEEP", "0.01"],
        &["NOSUCHCOMMAND"],
        &["CONFIG", "SET", "appendonly", "yes"],
    ] {
        client.call(command);
    }
    // The answer waits for the other sentinels; the pause itself does not.
    let reply = set.sentinels[0].client().call(&["SENTINEL", "PAUSE", NAME]);
    let sentinel = scrape(Web::at(&sentinels[0]));
    let paused = format!("\nsentinel_master_paused{{master=\"{NAME}\"}} 1\n");
    assert!(sentinel.contains(&paused), "{reply:?}: {sentinel}");
    let server = scrape(Web::at(&servers[0])) + &scrape(Web::at(&servers[1]));
    let lacking = |program: &str, text: &str| {
        let names = names(text);
        let lacking = expected(program).into_iter();
        lacking
            .filter(|name| !names.contains(name))
            .collect::<Vec<_>>()
    };
    assert_eq!(lacking("sentinel", &sentinel), [""; 0], "{sentinel}");
    assert_eq!(lacking("server", &server), [""; 0], "{server}");

    for text in [&sentinel, &scrape(Web::at(&servers[1]))] {
        let (status, said) = lint(text);
        // 3: it reads the text, and has something to say about names: those of the exporter are as they are.
        assert!(matches!(status, Some(0 | 3)), "{said}");
        let about_ours: Vec<&str> = said.lines().filter(|line| line.starts_with(OURS)).collect();
        assert_eq!(about_ours, [""; 0]);
    }

    let known: BTreeSet<String> = names(&sentinel).union(&names(&server)).cloned().collect();
    let dashboard: Value = serde_json::from_str(&shipped("grafana/sentinel.json")).unwrap();
    let mut expressions = Vec::new();
    find_expressions(&dashboard, &mut expressions);
    assert!(expressions.len() > 20, "{expressions:?}");
    let rules = shipped("prometheus/sentinel.rules.yml");
    for expression in expressions.iter().map(String::as_str).chain([&*rules]) {
        for name in used_names(expression) {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            let is_known = known.contains(name) || family.is_some_and(|name| known.contains(name));
            assert!(is_known, "{name} is not exported: {expression}");
        }
    }
}

/// Everything that is an expression in a dashboard.
fn find_expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if matches!(&**name, "expr" | "definition") => {
                        found.push(text.to_owned());
                    }
                    _ => find_expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|it| find_expressions(it, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names of metrics in a text.
fn used_names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| {
        ["sentinel_", "redis_"]
            .iter()
            .any(|prefix| word.starts_with(prefix))
    })
}

#[test]
fn alerts_pass_their_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    for args in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "sentinel.rules.yml"],
        ["test", "rules", "sentinel.rules.test.yml"],
    ] {
        let output = promtool().current_dir(&folder).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
    }
}

/// A running Prometheus.
struct Prometheus {
    _process: Process,
    web: Web,
}

impl Prometheus {
    /// It scrapes sentinels and servers each second, and evaluates the alerts that are shipped.
    fn start(folder: &Path, sentinels: &[Port], servers: &[Port]) -> Prometheus {
        let targets = |ports: &[Port]| {
            let ports = ports
                .iter()
                .map(|port| format!("\"127.0.0.1:{}\"", port.number()));
            ports.collect::<Vec<_>>().join(", ")
        };
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [sentinel.rules.yml]\n\
             scrape_configs:\n\
             - {{job_name: sentinel, static_configs: [{{targets: [{}]}}]}}\n\
             - {{job_name: redis, static_configs: [{{targets: [{}]}}]}}\n",
            targets(sentinels),
            targets(servers)
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let rules = shipped("prometheus/sentinel.rules.yml");
        std::fs::write(folder.join("sentinel.rules.yml"), rules).unwrap();
        let port = Port::reserve();
        let mut command: Command = prometheus();
        command.args(["--config.file", "prometheus.yml"]);
        command.args(["--storage.tsdb.path", "data"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{}", port.number()));
        Prometheus {
            _process: Process::start("prometheus", folder, command),
            web: Web::at(&port),
        }
    }

    fn ask(&self, query: &str) -> Result<Vec<Value>, String> {
        let encoded: String = query.bytes().map(|b| format!("%{b:02x}")).collect();
        let answer: Answer = self
            .web
            .try_send(
                "GET",
                &format!("/api/v1/query?query={encoded}"),
                &["Accept-Encoding: identity"],
                "",
            )
            .map_err(|error| error.to_string())?;
        // Large answers come in chunks; these are small.
        let body: Value =
            serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {answer:?}"))?;
        let result = body["data"]["result"].as_array();
        result.cloned().ok_or_else(|| body.to_string())
    }

    /// The value of an expression that has one.
    fn value(&self, query: &str) -> Result<f64, String> {
        let found = self.ask(query)?;
        let value = found.first().and_then(|sample| sample["value"][1].as_str());
        let value = value.and_then(|text| text.parse().ok());
        value.ok_or_else(|| format!("{query}: {found:?}"))
    }
}

#[test]
fn prometheus_counts_a_failover() {
    let (mut set, servers, sentinels) = set_with_http();
    set.wait_until_settled(secs(20));
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(folder.path(), &sentinels, &servers);
    let reaches = |query: &str, wanted: f64| {
        wait_for(&format!("{query} is {wanted}"), secs(40), || {
            let value = prometheus.value(query)?;
            expect_that((value - wanted).abs() < 1e-9, || value.to_string())
        });
    };
    reaches("sum(up)", 6.0);
    reaches("sum(redis_up)", 6.0);
    reaches("min(sentinel_master_quorum_available)", 1.0);
    reaches("sum(sentinel_failovers_total)", 0.0);
    reaches("count(sentinel_server_link_up == 1)", 2.0);
    assert!(
        prometheus
            .value("sum(sentinel_probe_seconds_count)")
            .unwrap()
            > 0.0
    );
    assert!(
        prometheus
            .value("sum(sentinel_loop_delay_seconds_count)")
            .unwrap()
            > 0.0
    );

    let old = set.master_port();
    set.server_at(old).kill();
    set.wait_for_switch(old, secs(20));
    reaches(
        "sum(sentinel_failovers_total{result=\"done\",kind=\"automatic\"})",
        1.0,
    );
    reaches("sum(sentinel_elections_total{result=\"won\"})", 1.0);
    for phase in [
        "detect",
        "agree",
        "elect",
        "select",
        "promote",
        "reconfigure",
    ] {
        let query = format!("sum(sentinel_failover_phase_seconds_count{{phase=\"{phase}\"}})");
        reaches(&query, 1.0);
    }
    reaches("sum(up)", 5.0);
    wait_for("the alert about the failover fires", secs(30), || {
        let query = "ALERTS{alertname=\"SentinelFailover\",alertstate=\"firing\"}";
        prometheus.value(query).map(|_| ())
    });
}

#[test]
fn whoever_asks_for_open_metrics_gets_them() {
    let http = Port::reserve();
    let _server = start_server(Kind::Ours, &format!("http-port {}\n", http.number()));
    let accept = ["Accept: application/openmetrics-text; version=1.0.0, text/plain;q=0.5"];
    let answer = Web::at(&http).send("GET", "/metrics", &accept, "");
    assert_eq!(
        answer.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    let counter = "# TYPE redis_commands_processed counter";
    assert!(answer.body.contains(counter), "{}", answer.body);
    assert!(answer.body.contains("\nredis_commands_processed_total "));
}

/// One scrape of many masters comes whole, and says that the loop went on.
#[test]
fn thousands_of_masters_are_one_scrape() {
    const MASTERS: usize = 2000;
    let (nowhere, http) = (Port::reserve(), Port::reserve());
    let monitor: String = (0..MASTERS)
        .map(|n| {
            let port = nowhere.number();
            format!("sentinel monitor m{n:04} 127.0.0.1 {port} 1\n")
        })
        .collect();
    let lines = format!("http-port {}\n", http.number());
    let _node = crate::support::start_sentinel(Kind::Ours, &monitor, &lines);
    let text = scrape(Web::at(&http));
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let wanted = MASTERS as f64;
    assert!((value(&text, "redis_sentinel_masters ") - wanted).abs() < 1e-9);
    let is_up = |line: &&str| line.starts_with("sentinel_master_up{");
    assert_eq!(text.lines().filter(is_up).count(), MASTERS);
    assert!(value(&text, "sentinel_loop_age_seconds ") < 2.0);
}

fn check_status(web: Web, path: &str, status: u16) -> Answer {
    let answer = web.get(path);
    assert_eq!(answer.status, status, "{path}: {answer:?}");
    answer
}

#[test]
fn a_data_server_says_what_it_is() {
    let (master_http, replica_http) = (Port::reserve(), Port::reserve());
    let master = start_server(Kind::Ours, &format!("http-port {}\n", master_http.number()));
    let lines = format!(
        "http-port {}\nreplicaof 127.0.0.1 {}\n",
        replica_http.number(),
        master.port()
    );
    let mut replica = start_server(Kind::Ours, &lines);
    let (of_master, of_replica) = (Web::at(&master_http), Web::at(&replica_http));
    wait_for("the replica is in step", secs(20), || {
        let answer = of_replica.get("/replica");
        expect_that(answer.status == 200, || format!("{answer:?}"))
    });
    let mut walked = BTreeSet::new();
    for (path, at_master, at_replica) in [
        ("/primary", 200, 503),
        ("/master", 200, 503),
        ("/replica", 503, 200),
        ("/replica?lag=10MB", 503, 200),
        ("/replica?lag=much", 400, 400),
        ("/read-only", 200, 200),
        ("/read-only?lag=x", 400, 400),
        ("/health", 200, 200),
        ("/liveness", 200, 200),
        ("/readiness", 200, 200),
        ("/metrics", 200, 200),
        ("/openapi.json", 200, 200),
        ("/docs", 200, 200),
        ("/nothing", 404, 404),
    ] {
        for (web, status) in [(of_master, at_master), (of_replica, at_replica)] {
            let answer = check_status(web, path, status);
            if status >= 400 {
                assert_ne!(answer.error(), "", "{path}");
            }
            if matches!(path, "/metrics" | "/openapi.json" | "/docs" | "/nothing") {
                continue;
            }
            let head = web.send("HEAD", path, &[], "");
            assert_eq!((head.status, &*head.body), (status, ""), "HEAD {path}");
            let options = web.send("OPTIONS", path, &[], "");
            assert_eq!(options.status, status, "OPTIONS {path}");
        }
        walked.insert(path.split('?').next().unwrap().to_owned());
    }
    let document = of_master.get("/openapi.json").json();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(walked.contains(path), "no test walks {path}");
    }
    let said = of_replica.get("/health").json();
    assert_eq!(said["role"], "replica");
    let master_at = format!("127.0.0.1:{}", master.port());
    assert_eq!(said["link"]["master"], master_at.as_str());

    // The role changes: so does what it says, in the same moment.
    let mut client = replica.client();
    assert_eq!(text(&client.call(&["REPLICAOF", "NO", "ONE"])), "OK");
    check_status(of_replica, "/primary", 200);
    check_status(of_replica, "/replica", 503);
    // A replica without its master can be read, and is not in step.
    client.call(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(
        check_status(of_replica, "/replica", 503)
            .error()
            .contains("lost its link")
    );
    check_status(of_replica, "/health", 200);
    check_status(of_replica, "/readiness", 503);
    // While a command holds the loop up, HTTP still answers, and who asks for metrics learns that.
    let number = replica.port();
    let sleeper = std::thread::spawn(move || {
        let mut client = Client::try_to_within(number, secs(60)).unwrap();
        client.call(&["DEBUG", "SLEEP", "10"]);
    });
    wait_for("it is said that the loop does not run", secs(20), || {
        let answer = of_replica.get("/health");
        expect_that(answer.status == 503, || format!("{answer:?}"))?;
        expect_that(answer.error().contains("has not run"), || answer.error())
    });
    check_status(of_replica, "/liveness", 200);
    assert!(scrape(of_replica).contains("\nredis_up 0\n"));
    sleeper.join().unwrap();
    assert!(replica.process.is_running());
}
