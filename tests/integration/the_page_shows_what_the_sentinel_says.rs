//! The page in headless Chromium: what it shows is what the sentinel says, through a failover and with a
//! thousand masters; it can be used by keyboard and on a phone; it breaks no rule of its own policy and talks
//! to nobody else.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::browser::Browser;
use crate::support::{
    Kind, NAME, Port, Process, SentinelNode, Topology, expect_that, secs, start_sentinel, wait_for,
};

/// Headers are bytes, and fetch takes no text beyond Latin-1.
const TOKEN: &str = "open sesame ☂";

/// A set of ours whose first sentinel has a page.
fn set_with_page() -> (Topology, Port) {
    let port = Port::reserve();
    let set = Topology::of(Kind::Ours)
        .sentinel_line(0, &format!("http-port {}", port.number()))
        .sentinel_line(0, &format!("http-token \"{TOKEN}\""))
        .start();
    (set, port)
}

fn origin(port: &Port) -> String {
    format!("http://127.0.0.1:{}/", port.number())
}

/// What the page shows of the master.
fn shown(page: &mut Browser) -> [String; 6] {
    let text = page.eval(
        "[...document.querySelectorAll('[data-key=quorum] dd')].map((it) => it.textContent)[1] ?? ''",
    );
    [
        page.text("#name"),
        page.text("#address"),
        page.text("#epoch"),
        page.count("#topology .node.replica").to_string(),
        page.count("#topology .node.sentinel").to_string(),
        text.as_str().unwrap_or_default().to_owned(),
    ]
}

/// The same by `SENTINEL MASTER`.
fn said(sentinel: &SentinelNode) -> [String; 6] {
    let master = sentinel.master();
    let peers: u64 = master["num-other-sentinels"].parse().unwrap();
    [
        master["name"].clone(),
        format!("{}:{}", master["ip"], master["port"]),
        master["config-epoch"].clone(),
        master["num-slaves"].clone(),
        (peers + 1).to_string(),
        master["quorum"].clone(),
    ]
}

fn wait_until_same(page: &mut Browser, sentinel: &SentinelNode) {
    wait_for("the page shows what SENTINEL MASTER says", secs(20), || {
        let (shown, said) = (shown(page), said(sentinel));
        expect_that(shown == said, || format!("{shown:?}, but {said:?}"))
    });
}

/// Nothing went wrong in the page, and it talked to nobody else.
#[track_caller]
fn check_clean(page: &mut Browser, origin: &str) {
    assert_eq!(page.errors(), Vec::<String>::new());
    let requests = page.requests();
    assert!(requests.len() > 5, "{requests:?}");
    let outside = |url: &&String| !url.starts_with(origin) && !url.starts_with("data:");
    assert_eq!(requests.iter().find(outside), None);
}

#[track_caller]
fn check_no_sideways_scrolling(page: &mut Browser) {
    // After a change of its size the page is laid out a moment later.
    page.wait_until("document.documentElement.scrollWidth <= innerWidth");
}

#[test]
fn through_a_failover() {
    let (mut set, port) = set_with_page();
    let mut page = Browser::start(1360, 1000);
    page.open(&origin(&port));
    wait_until_same(&mut page, &set.sentinels[0]);
    page.wait_until("document.querySelector('#status').textContent === 'OK'");
    assert_eq!(page.count("[data-key=servers] tbody tr"), 3);
    assert_eq!(page.count("[data-key=sentinels] tbody tr"), 3);
    page.wait_until("document.querySelectorAll('#topology .edge.ok').length === 5");
    // Much happens while an answer is waited for.
    page.eval(
        "{ const { fetch } = window; window.fetch = async (...all) => { await new Promise((done) => setTimeout(done, 300)); return fetch(...all); }; }",
    );
    let old = set.master_port();
    set.server_at(old).kill();
    let new = set.wait_for_switch(old, secs(20));
    page.wait_until(&format!(
        "document.querySelector('#address').textContent === '127.0.0.1:{new}'"
    ));
    wait_until_same(&mut page, &set.sentinels[0]);
    let sentence = format!("The master is now 127.0.0.1:{new}; it was 127.0.0.1:{old}");
    page.wait_until(&format!(
        "document.querySelector('#timeline').textContent.includes('{sentence}')"
    ));
    page.wait_until("document.querySelector('#topology .node.replica.bad') !== null");
    page.wait_until(
        "document.querySelector('.problems')?.textContent.includes('1 of 2 replicas') ?? false",
    );
    // The failover again, phase by phase.
    page.wait_until("document.querySelector('.summary')?.textContent.startsWith('done') ?? false");
    let first = "document.querySelector('[data-phase=\"0\"]').click()";
    page.eval(first);
    page.wait_until("document.querySelector('#topology').dataset.scene === 'past'");
    let past = format!(
        "document.querySelector('#topology .node.master').dataset.node === '127.0.0.1:{old}'"
    );
    page.wait_until(&past);
    page.eval("document.querySelector('[data-name=end]').click()");
    page.wait_until(&past.replace(&old.to_string(), &new.to_string()));
    page.press("Escape");
    page.wait_until("document.querySelector('#topology').dataset.scene === 'live'");
    // Text can not become markup, whatever a script does.
    let refused = page.eval(
        "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'done'; } catch (error) { return error.name; } })()",
    );
    assert_eq!(refused, "TypeError");
    page.resize(360, 740);
    check_no_sideways_scrolling(&mut page);
    let told = page
        .errors()
        .iter()
        .filter(|error| !error.contains("TrustedHTML"))
        .count();
    assert_eq!(told, 0, "{:?}", page.errors());
    let origin = origin(&port);
    assert_eq!(
        page.requests()
            .iter()
            .find(|url| !url.starts_with(&origin) && !url.starts_with("data:")),
        None
    );
}

#[test]
fn an_ordered_failover_by_keyboard_alone() {
    let (mut set, port) = set_with_page();
    let mut page = Browser::start(1360, 1000);
    page.open(&origin(&port));
    wait_until_same(&mut page, &set.sentinels[0]);
    page.press("Tab");
    assert_eq!(page.text(":focus"), "Skip to the master");
    // The picture is one stop; arrows move in it.
    page.tab_to("#topology .node");
    assert_eq!(
        page.eval("document.activeElement.classList.contains('master')"),
        true
    );
    page.press("ArrowRight");
    page.press("Enter");
    page.wait_until(
        "document.querySelector('#inspector')?.textContent.includes('Priority') ?? false",
    );
    assert_eq!(
        page.eval("document.activeElement.matches('.node.replica')"),
        true
    );
    assert_eq!(
        page.count("[data-act]"),
        0,
        "nothing can be ordered without the token"
    );
    page.eval("document.querySelector('.skip').focus()");
    page.tab_to("#unlock");
    page.press("Enter");
    page.type_text(TOKEN);
    page.press("Enter");
    page.wait_until("document.querySelector('[data-act=failover]') !== null");
    let old = set.master_port();
    page.tab_to("[data-act=failover]");
    page.press("Enter");
    page.wait_until("document.querySelector('dialog').open");
    assert!(page.text("dialog").contains(&format!("127.0.0.1:{old}")));
    page.tab_to("dialog [type=submit]");
    page.press("Enter");
    page.wait_until("document.querySelector('.result.ok')?.textContent.startsWith('The failover has begun') ?? false");
    page.press("Escape");
    let new = set.wait_for_switch(old, secs(20));
    page.wait_until(&format!(
        "document.querySelector('#address').textContent === '127.0.0.1:{new}'"
    ));
    wait_until_same(&mut page, &set.sentinels[0]);
    // A pause, and its end.
    let mut order = |what: &str, said: &str, is_paused: bool| {
        page.tab_to(&format!("[data-act={what}]"));
        page.press("Enter");
        page.tab_to("dialog [type=submit]");
        page.press("Enter");
        page.wait_until(&format!(
            "document.querySelector('.result.ok')?.textContent.includes('{said} on ') ?? false"
        ));
        // What has been done is not ordered again from the field that is left.
        page.eval("document.querySelector('#how-long')?.focus()");
        page.press("Enter");
        page.press("Escape");
        page.wait_until(&format!(
            "(document.querySelector('#paused') !== null) === {is_paused}"
        ));
        // One that is too busy to answer is told again.
        wait_for("the last sentinel knows", secs(20), || {
            let flags = set.sentinels[2].master()["flags"].clone();
            expect_that(flags.contains("paused") == is_paused, || flags)
        });
    };
    order("pause", "automatic failovers are paused", true);
    order("resume", "automatic failovers are resumed", false);
    let kept =
        page.eval("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])");
    assert!(
        !kept.to_string().contains("sesame"),
        "the token is in memory alone: {kept}"
    );
    check_clean(&mut page, &origin(&port));
    let requests = page.requests();
    let pauses = requests.iter().filter(|url| url.contains("/pause"));
    assert_eq!(pauses.count(), 1, "{requests:?}");
}

#[test]
fn a_thousand_masters() {
    let (nowhere, port) = (Port::reserve(), Port::reserve());
    let mut monitor = String::new();
    for n in 0..1000 {
        // None is there; three of them are found down soon, the others not while this test runs.
        let patience = if n % 400 == 100 { 1000 } else { 3_600_000 };
        let at = nowhere.number();
        writeln!(monitor, "sentinel monitor m{n:03} 127.0.0.1 {at} 1").unwrap();
        writeln!(
            monitor,
            "sentinel down-after-milliseconds m{n:03} {patience}"
        )
        .unwrap();
    }
    let sentinel = start_sentinel(
        Kind::Ours,
        &monitor,
        &format!("http-port {}\n", port.number()),
    );
    let mut page = Browser::start(1360, 900);
    page.open(&origin(&port));
    page.wait_until("document.querySelector('#pager').textContent.includes('1–25 of 1000')");
    assert_eq!(page.count("#masters .entry"), 25);
    page.wait_until("document.querySelector('#name')?.textContent === 'm000'");
    page.eval("document.querySelector('[data-key=next]').click()");
    page.wait_until("document.querySelector('#masters .entry')?.dataset.name === 'm025'");
    assert!(page.text("#pager").contains("26–50 of 1000"));
    // The three that are not there.
    page.eval("document.querySelector('[data-filter=problems]').click()");
    page.wait_until("[...document.querySelectorAll('#masters .entry')].map((it) => it.dataset.name).join() === 'm100,m500,m900'");
    sentinel.client().call(&["SENTINEL", "PAUSE", "m042"]);
    page.eval("document.querySelector('[data-filter=paused]').click()");
    page.wait_until("[...document.querySelectorAll('#masters .entry')].map((it) => it.dataset.name).join() === 'm042'");
    page.eval("document.querySelector('[data-filter=all]').click()");
    // By keyboard: to the search, through what it finds, and into one.
    page.press("/");
    page.type_text("m77");
    page.wait_until("document.querySelectorAll('#masters .entry').length === 10");
    page.tab_to("#masters .entry");
    page.press("ArrowDown");
    page.press("ArrowDown");
    page.press("Enter");
    page.wait_until("document.querySelector('#name')?.textContent === 'm772'");
    assert_eq!(page.text("#masters [aria-current] .name"), "m772");
    let elements = page.count("*");
    assert!(elements < 3000, "{elements} elements");
    // Without a token that could be right the page does not ask for one.
    page.eval("document.querySelector('#unlock').click()");
    let asked = page.text("dialog");
    assert!(asked.contains("No token is configured") && asked.contains("http-token-file"));
    assert_eq!(page.count("dialog input"), 0);
    page.press("Escape");
    // On a phone: the list, or one master.
    page.resize(360, 740);
    assert_eq!(
        page.eval("document.querySelector('#list').checkVisibility()"),
        false
    );
    check_no_sideways_scrolling(&mut page);
    page.eval("document.querySelector('.back').click()");
    page.wait_until("document.querySelector('#list').checkVisibility()");
    check_no_sideways_scrolling(&mut page);
    check_clean(&mut page, &origin(&port));
}

#[test]
fn the_description_of_the_routes() {
    let port = Port::reserve();
    let nowhere = Port::reserve();
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", nowhere.number());
    let _sentinel = start_sentinel(
        Kind::Ours,
        &monitor,
        &format!("http-port {}\n", port.number()),
    );
    let mut page = Browser::start(360, 740);
    page.open(&format!("{}docs", origin(&port)));
    page.wait_until("document.body.textContent.includes('/masters/{name}/failover')");
    check_no_sideways_scrolling(&mut page);
    assert_eq!(page.errors(), Vec::<String>::new());
}

/// A set as a newcomer has it, on the default ports if they are free, healthy and while a failover is looked at
/// again. `cargo test --test integration the_pictures_of_readme -- --ignored` writes the pictures.
#[test]
#[ignore = "writes the pictures of README"]
fn the_pictures_of_readme() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screenshots");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topology.yaml");
    std::fs::write(&file, format!("sentinel: ['http-token \"{TOKEN}\"']\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentinel"));
    command.arg("up").arg(&file).env("TMPDIR", folder.path());
    let up = Process::start("up", folder.path(), command);
    let word = |before: &str| {
        let log = up.log();
        let word = log
            .split_once(before)
            .and_then(|(_, rest)| rest.split_ascii_whitespace().next());
        word.map(str::to_owned).ok_or(log)
    };
    let url = wait_for("`up` names the page", secs(60), || word("Look at "));
    let pid = wait_for("`up` names the master", secs(5), || word("kill -9 "));
    let unlock = |page: &mut Browser| {
        page.eval("document.querySelector('#unlock').click()");
        page.type_text(TOKEN);
        page.press("Enter");
        page.wait_until("document.querySelector('[data-act=failover]') !== null");
    };

    let mut page = Browser::start(1280, 860);
    page.open(&url);
    page.wait_until("document.querySelectorAll('#topology .edge.ok').length === 5");
    unlock(&mut page);
    page.picture(&pictures.join("page-light.png"));

    let killed = Command::new("kill").args(["-9", &pid]).status().unwrap();
    assert!(killed.success());
    // Who leads knows all phases.
    let leader = wait_for("one is elected", secs(20), || {
        word("+elected-leader      sentinel ")
    });
    let http: u16 = leader.parse::<u16>().unwrap() + 10_000;
    page.open(&format!("http://127.0.0.1:{http}/"));
    page.wait_until("document.querySelector('.summary')?.textContent.startsWith('done') ?? false");
    page.wait_until("document.querySelectorAll('#topology .node.replica.bad').length === 1");
    unlock(&mut page);
    page.prefer("dark");
    page.eval("document.querySelector('[data-name=promote]').click()");
    page.wait_until("document.querySelector('#topology').dataset.scene === 'past'");
    page.picture(&pictures.join("page-dark.png"));
    assert_eq!(page.errors(), Vec::<String>::new());
}
