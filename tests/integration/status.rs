//! `sentinel status`: the same table for any running set, and an exit status to rely on.

use std::process::{Command, Output};

use crate::support::{Kind, NAME, Port, Topology, expect_that, secs, wait_for};

fn status(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentinel"));
    command
        .arg("status")
        .args(args)
        .output()
        .expect("our own binary runs")
}

#[test]
fn status_tells_of_a_real_redis_sentinel_set() {
    let mut set = Topology::of(Kind::Real).start();
    let nobody = Port::reserve();
    // The first one named does not answer; the second is asked.
    let args = [
        "--sentinel".to_owned(),
        format!("127.0.0.1:{}", nobody.number()),
        "--sentinel".to_owned(),
        format!("127.0.0.1:{}", set.sentinels[0].port()),
        // Who is stopped does not answer, and until the failover there is not much time.
        "--timeout".to_owned(),
        "500ms".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = wait_for("all is well", secs(30), || {
        let output = status(&args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(0) {
            Ok(text)
        } else {
            Err(text)
        }
    });
    let rows = |role: &str| output.lines().filter(|line| line.starts_with(role)).count();
    assert_eq!(
        (rows("master "), rows("replica "), rows("sentinel ")),
        (1, 2, 3),
        "{output}"
    );

    let master = set.master_port();
    set.server_at(master).process.stop();
    wait_for("there is no master", secs(30), || {
        let output = status(&args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_named = text.contains(&format!("! master 127.0.0.1:{master}: down"));
        expect_that(output.status.code() == Some(2) && is_named, || text)
    });
    let output = wait_for("the dead one is named", secs(30), || {
        let output = status(&args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_named = text.contains(&format!("! replica 127.0.0.1:{master}: down"));
        // While it is down there is no master; then a replica is missing.
        if output.status.code() == Some(1) && is_named {
            Ok(text)
        } else {
            Err(text)
        }
    });
    assert!(output.contains("ROLE"), "{output}");
    set.server_at(master).process.resume();

    let mut one = vec![NAME];
    one.extend(&args);
    let text = String::from_utf8_lossy(&status(&one).stdout).into_owned();
    assert!(text.starts_with(NAME), "{text}");
    one[0] = "unknown";
    let output = status(&one);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no sentinel knows it"), "{text}");
}

#[test]
fn status_says_who_does_not_answer() {
    let nobody = Port::reserve();
    let address = format!("127.0.0.1:{}", nobody.number());
    let output = status(&["--sentinel", &address, "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("no sentinel answers") && error.contains(&address),
        "{error}"
    );
    assert!(output.stdout.is_empty());
    assert_eq!(status(&["--sentinel", "nonsense"]).status.code(), Some(64));
    assert_eq!(status(&["--nonsense"]).status.code(), Some(64));
}
