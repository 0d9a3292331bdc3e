//! HTTP of a sentinel: every route says what its description promises, and a sentinel that is cut off vouches
//! for nobody.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::Duration;

use serde_json::Value;

use crate::support::http::{Answer, Web};
use crate::support::{
    Kind, NAME, Port, SentinelNode, Topology, expect_that, holds_for, secs, start_sentinel,
    wait_for,
};

const TOKEN: &str = "open sesame";
const BEARER: &str = "Authorization: Bearer open sesame";

/// A set of ours whose sentinels speak HTTP.
fn set_with_http() -> (Topology, Vec<Port>) {
    let ports: Vec<Port> = (0..3).map(|_| Port::reserve()).collect();
    let mut builder = Topology::of(Kind::Ours);
    for (i, port) in ports.iter().enumerate() {
        builder = builder
            .sentinel_line(i, &format!("http-port {}", port.number()))
            .sentinel_line(i, &format!("http-token \"{TOKEN}\""));
    }
    (builder.start(), ports)
}

/// A sentinel that speaks HTTP and watches masters that are not there.
pub(crate) fn lone_sentinel(masters: usize, lines: &str) -> (SentinelNode, Web, Port) {
    let (nowhere, http) = (Port::reserve(), Port::reserve());
    let monitor: String = (0..masters)
        .map(|n| {
            format!(
                "sentinel monitor m{n:03} 127.0.0.1 {} 1\n",
                nowhere.number()
            )
        })
        .collect();
    let node = start_sentinel(
        Kind::Ours,
        &monitor,
        &format!(
            "http-port {}\nhttp-token \"{TOKEN}\"\n{lines}",
            http.number()
        ),
    );
    (node, Web::at(&http), nowhere)
}

/// Waits until a route answers with a status.
pub(crate) fn wait_for_status(web: Web, path: &str, status: u16, within: Duration) -> Answer {
    wait_for(&format!("{path} answers {status}"), within, || {
        let answer = web.get(path);
        expect_that(answer.status == status, || format!("{answer:?}"))?;
        Ok(answer)
    })
}

/// One request of the walk below.
#[derive(Clone)]
struct Step {
    method: &'static str,
    /// The path as it is described.
    route: String,
    /// The path as it is asked for.
    path: String,
    headers: Vec<String>,
    body: &'static str,
    /// What must come back.
    status: u16,
}

fn read(route: &str, path: &str, status: u16) -> Step {
    Step {
        method: "get",
        route: route.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: "",
        status,
    }
}

fn change(name: &str, headers: &[&str], body: &'static str, status: u16) -> Step {
    Step {
        method: "patch",
        headers: headers.iter().map(|header| (*header).to_owned()).collect(),
        body,
        ..read("/masters/{name}", &format!("/masters/{name}"), status)
    }
}

fn order(what: &str, name: &str, headers: &[&str], status: u16) -> Step {
    Step {
        method: "post",
        headers: headers.iter().map(|header| (*header).to_owned()).collect(),
        ..read(
            &format!("/masters/{{name}}/{what}"),
            &format!("/masters/{name}/{what}"),
            status,
        )
    }
}

fn forget(name: &str, address: &str, headers: &[&str], status: u16) -> Step {
    Step {
        method: "delete",
        headers: headers.iter().map(|header| (*header).to_owned()).collect(),
        ..read(
            "/masters/{name}/instances/{address}",
            &format!("/masters/{name}/instances/{address}"),
            status,
        )
    }
}

/// curl walks every route.
#[test]
fn every_route_answers_as_it_is_described() {
    let (set, ports) = set_with_http();
    let web = Web::at(&ports[0]);
    wait_for_status(web, "/masters/mymaster/primary", 200, secs(20));
    let (master, replica) = (set.servers[0].port(), set.servers[1].port());
    let (at_master, at_replica) = (
        format!("127.0.0.1:{master}"),
        format!("127.0.0.1:{replica}"),
    );
    let at_peer = format!("127.0.0.1:{}", set.sentinels[2].port());
    let primary = format!("/masters/{NAME}/instances/127.0.0.1:{master}/primary");
    let replica = format!("/masters/{NAME}/instances/127.0.0.1:{replica}/replica");
    let lagging = format!("{replica}?lag=10MB&max_age=1m");
    let not_primary = replica.replace("/replica", "/primary");
    let not_replica = primary.replace("/primary", "/replica");
    let unknown = format!("/masters/{NAME}/instances/127.0.0.1:1/primary");
    let text_form = format!("/masters/{NAME}/primary?format=text&max_age=5s");
    let json = ["Content-Type: application/json", BEARER];
    let mut steps = vec![
        read("/masters", "/masters", 200),
        read("/masters", "/masters?search=MYM&page=2", 200),
        read("/masters", "/masters?page=0", 400),
        read("/masters", "/masters?per_page=501", 400),
        read("/masters", "/masters?page=x", 400),
        read("/masters", "/masters?master=other", 404),
        read("/masters/{name}", "/masters/mymaster", 200),
        read("/masters/{name}", "/masters/other", 404),
        read("/masters/{name}/history", "/masters/mymaster/history", 200),
        read("/masters/{name}/history", "/masters/other/history", 404),
        read("/cluster", "/cluster", 200),
        read("/cluster", "/cluster?master=mymaster", 200),
        read("/cluster", "/cluster?master=other", 404),
        read("/events", "/events?tail=many", 400),
        read("/events", "/events?tail=1025", 400),
        read("/metrics", "/metrics", 200),
        read("/masters/{name}/history", "/masters/mymaster/history", 200),
        read(
            "/masters/{name}/history",
            "/masters/mymaster/history?count=0",
            400,
        ),
        read("/masters/{name}/history", "/masters/other/history", 404),
        change("mymaster", &json, r#"{"quorum": 3}"#, 200),
        change("mymaster", &json, r#"{"quorum": 2}"#, 200),
        change("other", &json, r#"{"quorum": 2}"#, 404),
        change("mymaster", &json, "{}", 400),
        change("mymaster", &json, "{", 400),
        change("mymaster", &json, r#"{"quorum": "2"}"#, 422),
        change("mymaster", &json, r#"{"down_after": 2}"#, 422),
        change("mymaster", &[BEARER], r#"{"quorum": 2}"#, 415),
        change("mymaster", &[], r#"{"quorum": 2}"#, 401),
        order("pause", "mymaster", &[BEARER], 200),
        order("pause", "other", &[BEARER], 404),
        order("pause", "mymaster", &[], 401),
        order("resume", "mymaster", &[BEARER], 200),
        order("resume", "other", &[BEARER], 404),
        order("resume", "mymaster", &[], 401),
        forget("mymaster", "127.0.0.1:1", &[BEARER], 404),
        forget("mymaster", "nowhere", &[BEARER], 400),
        forget("other", "127.0.0.1:1", &[BEARER], 404),
        forget("mymaster", &at_master, &[BEARER], 409),
        forget("mymaster", &at_replica, &[], 401),
        order("failover", "other", &[BEARER], 404),
        order("failover", "mymaster", &[], 401),
        order("failover", "mymaster", &[BEARER], 202),
        // A sentinel: a replica may just be on its way to become the master.
        forget("mymaster", &at_peer, &[BEARER], 200),
    ];
    let of_master = |path: &str, status| read("/masters/{name}/primary", path, status);
    let of_instance = |what: &str, path: &str, status| {
        let route = format!("/masters/{{name}}/instances/{{address}}/{what}");
        read(&route, path, status)
    };
    let healths = [
        read("/liveness", "/liveness", 200),
        read("/readiness", "/readiness", 200),
        of_master("/masters/mymaster/primary", 200),
        of_master(&text_form, 200),
        of_master("/masters/other/primary", 404),
        of_master("/masters/mymaster/primary?max_age=2h", 400),
        of_instance("primary", &primary, 200),
        of_instance("primary", &not_primary, 503),
        of_instance("primary", &unknown, 503),
        of_instance("replica", &lagging, 200),
        of_instance("replica", &not_replica, 503),
    ];
    for method in ["get", "head", "options"] {
        let steps_of = healths.iter().cloned();
        // Before the failover that is ordered above.
        steps.splice(0..0, steps_of.map(|step| Step { method, ..step }));
    }
    let document = web.get("/openapi.json").json();
    let mut walked = BTreeSet::from([("get".to_owned(), "/events".to_owned())]);
    for step in steps {
        let Step {
            method,
            path,
            status,
            ..
        } = &step;
        let headers: Vec<&str> = step.headers.iter().map(String::as_str).collect();
        let answer = web.curl(&method.to_uppercase(), path, &headers, step.body);
        assert_eq!(answer.status, *status, "{method} {path}: {answer:?}");
        check_described(&document["paths"][&step.route][*method], &answer, path);
        if *method == "head" {
            assert_eq!(answer.body, "", "{method} {path}");
        } else if *status >= 400 {
            assert_ne!(answer.error(), "", "{method} {path}");
        }
        walked.insert(((*method).to_owned(), step.route));
    }
    let described: BTreeSet<(String, String)> = (document["paths"].as_object().unwrap().iter())
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.clone(), path.clone()))
        })
        .collect();
    assert_eq!(
        walked, described,
        "a route that no test walks, or one that is not described"
    );
}

/// Whether status and type of an answer are described.
fn check_described(operation: &Value, answer: &Answer, path: &str) {
    let response = &operation["responses"][answer.status.to_string()];
    assert!(
        response.is_object(),
        "{path}: {} is not described",
        answer.status
    );
    let types = response["content"].as_object();
    let kind = answer.header("content-type").split(';').next().unwrap();
    let is_described = types.is_some_and(|types| types.contains_key(kind));
    assert!(
        is_described,
        "{path}: {kind} is not described for {}",
        answer.status
    );
}

#[test]
fn what_is_not_there_is_said_in_json() {
    let (_node, web, _nowhere) = lone_sentinel(1, "");
    let answer = web.get("/no/such/route");
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (404, "no such route")
    );
    let answer = web.send("DELETE", "/masters", &[], "");
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), "GET,HEAD");
    assert_eq!(answer.error(), "DELETE means nothing here");
    let answer = web.send("OPTIONS", "/cluster", &["Origin: http://evil.example"], "");
    assert_eq!(answer.status, 405);
    for path in ["/liveness", "/openapi.json", "/docs", "/no/such/route"] {
        let answer = web.send("GET", path, &["Origin: http://evil.example"], "");
        let cors = answer
            .headers
            .keys()
            .find(|name| name.starts_with("access-control"));
        assert_eq!(cors, None, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    for path in ["/", "/docs"] {
        let page = web.get(path);
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let outside = page.body.matches("http://").count() + page.body.matches("https://").count();
        assert_eq!(outside, 0, "{path}: nothing comes from outside");
    }
    assert_eq!(
        web.get("/page/page.js").header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert_eq!(web.get("/page/other.js").error(), "no such route");
}

#[test]
fn a_sentinel_that_is_cut_off_vouches_for_nobody() {
    let (mut set, ports) = set_with_http();
    let web = Web::at(&ports[0]);
    let primary = "/masters/mymaster/primary";
    let port = set.servers[0].port();
    let instance = format!("/masters/{NAME}/instances/127.0.0.1:{port}/primary");
    let answer = wait_for_status(web, primary, 200, secs(20)).json();
    assert_eq!(answer["address"], format!("127.0.0.1:{port}"));
    wait_for("all three confirm it", secs(10), || {
        let answer = web.get(primary).json();
        expect_that(answer["confirmed"] == 3, || answer.to_string())
    });
    let text = web.get("/masters/mymaster/primary?format=text");
    assert_eq!(text.body, format!("127.0.0.1:{port}"));
    // The others hang. The master works, and this sentinel still reaches it.
    set.sentinels[1].process.stop();
    set.sentinels[2].process.stop();
    for path in [primary, &instance] {
        let answer = wait_for_status(web, path, 503, secs(10));
        assert!(
            answer.error().contains("only 1 of 3 sentinels"),
            "{answer:?}"
        );
    }
    holds_for("it stays unsure", secs(1), || {
        let answer = web.get(primary);
        expect_that(answer.status == 503, || format!("{answer:?}"))
    });
    assert_eq!(web.get("/liveness").status, 200);
    set.sentinels[1].process.resume();
    wait_for_status(web, primary, 200, secs(20));
}

#[test]
fn health_and_events_follow_a_failover() {
    let (mut set, ports) = set_with_http();
    let (web, other) = (Web::at(&ports[0]), Web::at(&ports[1]));
    wait_for_status(web, "/masters/mymaster/primary", 200, secs(20));
    let mut events = web.events("/events", &[]);
    let old = set.master_port();
    set.server_at(old).kill();
    let down = events.wait_for("+sdown");
    assert_eq!(down.data["master"], NAME);
    let odown = events.wait_for("+odown");
    let switch = events.wait_for("+switch-master");
    let new = set.wait_for_switch(old, secs(20));
    let payload = format!("{NAME} 127.0.0.1 {old} 127.0.0.1 {new}");
    assert_eq!(switch.data["payload"], payload);
    let at = |port: u16| format!("/masters/{NAME}/instances/127.0.0.1:{port}/primary");
    for web in [web, other] {
        wait_for_status(web, &at(new), 200, secs(20));
        let answer = web.get(&at(old));
        assert_eq!(answer.status, 503, "{answer:?}");
        let is_named = answer
            .error()
            .contains(&format!("the master is 127.0.0.1:{new}"));
        assert!(is_named, "{answer:?}");
        let text = web.get("/masters/mymaster/primary?format=text");
        assert_eq!(text.body, format!("127.0.0.1:{new}"));
    }
    // What came after +odown comes again, in order, and nothing before it.
    let mut again = web.events("/events", &[&format!("Last-Event-ID: {}", odown.id)]);
    let first = again.next().unwrap();
    assert_eq!(
        first.data["number"],
        odown.data["number"].as_u64().unwrap() + 1
    );
    assert_eq!(again.wait_for("+switch-master").id, switch.id);
    let mut anew = web.events("/events", &["Last-Event-ID: 00000000-5"]);
    assert_eq!(anew.next().unwrap().kind, "reset");
    assert_eq!(
        anew.next().unwrap().data["number"],
        1,
        "all that is kept follows"
    );
    // One of the sentinels has led it, and says how.
    let led = |web: Web| {
        let history = web.get("/masters/mymaster/history").json();
        let records = history["records"].as_array().unwrap().clone();
        let mut led = records.into_iter();
        led.find(|record| record["decision"] == "failover" && record["outcome"] == "done")
    };
    wait_for("the leader's record is there", secs(20), || {
        let all = ports.iter().map(Web::at);
        let record = all.filter_map(led).next().ok_or("no record")?;
        expect_that(record["to"] == format!("127.0.0.1:{new}"), || {
            record.to_string()
        })
    });
    // The picture is that of SENTINEL MASTER.
    set.wait_for_replicas_of(new, secs(20));
    let sentinel = &set.sentinels[0];
    wait_for("the picture is complete", secs(20), || {
        let shown = web.get("/cluster?master=mymaster").json();
        let master = &shown["masters"][0];
        let said = sentinel.master();
        let found = (
            master["instances"][0]["flags"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            master["config_epoch"].to_string(),
            master["port"].to_string(),
            master["sentinels"]
                .as_u64()
                .unwrap_or(0)
                .saturating_sub(1)
                .to_string(),
        );
        let wanted = (
            said["flags"].clone(),
            said["config-epoch"].clone(),
            said["port"].clone(),
            said["num-other-sentinels"].clone(),
        );
        expect_that(found == wanted, || format!("{found:?}, not {wanted:?}"))
    });
    let healthy = (set.servers.iter().map(|node| node.port()))
        .find(|port| ![old, new].contains(port))
        .unwrap();
    let replica = format!("/masters/{NAME}/instances/127.0.0.1:{healthy}/replica?lag=1MB");
    wait_for_status(web, &replica, 200, secs(20));
    let dead = format!("/masters/{NAME}/instances/127.0.0.1:{old}/replica");
    assert_eq!(web.get(&dead).status, 503);
}

#[test]
fn an_ordered_failover_and_changed_settings_are_the_sentinels_own() {
    let (mut set, ports) = set_with_http();
    let web = Web::at(&ports[0]);
    wait_for_status(web, "/masters/mymaster/primary", 200, secs(20));
    let json = ["Content-Type: application/json", BEARER];
    let changes = r#"{"down_after_ms": 4321, "parallel_syncs": 2}"#;
    let answer = web.send("PATCH", "/masters/mymaster", &json, changes);
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = set.sentinels[0].master();
    assert_eq!(said["down-after-milliseconds"], "4321");
    assert_eq!(said["parallel-syncs"], "2");
    let on_disk = std::fs::read_to_string(set.sentinels[0].config()).unwrap();
    assert!(
        on_disk.contains("down-after-milliseconds mymaster 4321"),
        "{on_disk}"
    );
    let answer = web.send("POST", "/masters/mymaster/pause?duration=5m", &[BEARER], "");
    let told = answer.json()["sentinels"].clone();
    assert_eq!(
        told.as_array().map(Vec::len),
        Some(4),
        "a line for each, and one for all: {told}"
    );
    let is_paused = |web: Web| web.get("/masters/mymaster").json()["paused"]["until_ms"].is_u64();
    for port in &ports {
        wait_for("every sentinel shows the pause", secs(10), || {
            expect_that(is_paused(Web::at(port)), || "not paused".to_owned())
        });
    }
    let answer = web.send("POST", "/masters/mymaster/resume", &[BEARER], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    wait_for("the pause is over", secs(10), || {
        expect_that(!is_paused(web), || "still paused".to_owned())
    });
    let old = set.master_port();
    let answer = web.send("POST", "/masters/mymaster/failover", &[BEARER], "");
    assert_eq!(answer.status, 202, "{answer:?}");
    set.wait_for_switch(old, secs(20));
    wait_for_status(web, "/masters/mymaster/primary", 200, secs(20));
}

#[test]
fn without_a_token_nothing_can_be_changed() {
    let (nowhere, http) = (Port::reserve(), Port::reserve());
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", nowhere.number());
    let lines = format!("http-port {}\n", http.number());
    let node = start_sentinel(Kind::Ours, &monitor, &lines);
    let web = Web::at(&http);
    for bearer in ["Authorization: Bearer x", "Authorization: Bearer ", "X: y"] {
        let answer = web.send("POST", "/masters/mymaster/failover", &[bearer], "");
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    drop(node);
    let (node, web, _nowhere) = lone_sentinel(1, "");
    for bearer in [
        "Authorization: Bearer open",
        "Authorization: Basic open sesame",
        "X: y",
    ] {
        let answer = web.send("POST", "/masters/m000/failover", &[bearer], "");
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let shown = web.get("/masters/m000").body + &web.get("/cluster").body + &node.process.log();
    assert!(!shown.contains(TOKEN), "the token is shown");
}

#[test]
fn a_lone_sentinel_is_alive_and_says_when_it_is_not_ready() {
    let (node, web, _nowhere) = lone_sentinel(1, "sentinel down-after-milliseconds m000 3000\n");
    assert_eq!(web.get("/liveness").status, 200);
    let answer = web.get("/readiness");
    assert_eq!(
        answer.status, 503,
        "the master has not been heard of: {answer:?}"
    );
    assert!(answer.error().contains("m000"), "{answer:?}");
    wait_for_status(web, "/readiness", 200, secs(20));
    let answer = wait_for_status(web, "/masters/m000/primary", 503, secs(5));
    assert!(answer.error().contains("finds m000 down"), "{answer:?}");
    // A stall of more than 2 s: it does not trust itself.
    let mut node = node;
    node.process.stop();
    std::thread::sleep(secs(3));
    node.process.resume();
    for path in ["/readiness", "/masters/m000/primary"] {
        // HTTP may go on before the loop does, and then says that.
        wait_for("it is in TILT", secs(5), || {
            let answer = web.get(path);
            let is_it = answer.status == 503 && answer.error().contains("TILT");
            expect_that(is_it, || format!("{answer:?}"))
        });
    }
}

#[test]
fn thousands_of_masters_come_in_pages() {
    let (_node, web, _nowhere) = lone_sentinel(1203, "");
    let page = web.get("/cluster?page=3&per_page=500").json();
    assert_eq!(page["found"], 1203);
    assert_eq!(page["pages"], 3);
    assert_eq!(page["masters"].as_array().unwrap().len(), 203);
    assert_eq!(page["sentinel"]["masters"]["total"], 1203);
    let found = web.get("/masters?search=M777").json();
    assert_eq!(found["found"], 1);
    assert_eq!(found["masters"][0]["name"], "m777");
    let beyond = web.get("/masters?page=4000000000&per_page=500").json();
    assert_eq!(beyond["masters"].as_array().unwrap().len(), 0);
}

#[test]
fn what_a_client_may_send_is_limited() {
    let (_node, web, _nowhere) = lone_sentinel(1, "");
    let many: Vec<String> = (0..70).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(web.try_send("GET", "/liveness", &many, ""), 431);
    let long = format!("X: {}", "y".repeat(20_000));
    refused(web.try_send("GET", "/liveness", &[&long], ""), 431);
    let large = format!(r#"{{"quorum": {}1}}"#, " ".repeat(20_000));
    let json = ["Content-Type: application/json", BEARER];
    refused(web.try_send("PATCH", "/masters/m000", &json, &large), 413);
    // One that never ends its head, one that says nothing, and one that never sends its body.
    let mut streams = Vec::new();
    let halves = [
        "GET /liveness HTTP/1.1\r\nHost: x\r\nX-",
        "",
        "PATCH /masters/m000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer open sesame\r\n\
         Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
    ];
    for half in halves {
        let mut stream = web.connect().unwrap();
        stream.write_all(half.as_bytes()).unwrap();
        streams.push(stream);
    }
    for (mut stream, half) in streams.into_iter().zip(halves) {
        let mut rest = String::new();
        let closed = stream.read_to_string(&mut rest);
        assert!(closed.is_ok(), "still open: {half:?}");
        if half.starts_with("PATCH") {
            assert!(rest.starts_with("HTTP/1.1 408"), "{rest}");
        }
    }
    // Streams of events beyond the limit.
    let streams: Vec<_> = (0..64).map(|_| web.events("/events", &[])).collect();
    let answer = web.get("/events");
    assert_eq!(answer.status, 503, "{answer:?}");
    drop(streams);
    wait_for("a place becomes free", secs(20), || {
        let mut stream = web.connect().map_err(|error| error.to_string())?;
        let ask = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(ask).map_err(|error| error.to_string())?;
        let mut head = [0; 12];
        stream
            .read_exact(&mut head)
            .map_err(|error| error.to_string())?;
        expect_that(&head == b"HTTP/1.1 200", || {
            String::from_utf8_lossy(&head).into_owned()
        })
    });
    assert_eq!(web.get("/liveness").status, 200);
}

/// With this status, unless the end of the connection, which is not waited for, overtook the answer.
#[track_caller]
fn refused(answer: std::io::Result<Answer>, status: u16) {
    if let Ok(answer) = answer {
        assert_eq!(answer.status, status, "{answer:?}");
    }
}
