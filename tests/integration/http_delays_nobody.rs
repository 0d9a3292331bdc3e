//! Whether its clients are slow, hostile or merely busy: what comes over HTTP costs the loops nothing.

use crate::http::{lone_sentinel, wait_for_status};
use crate::support::flood::assert_undisturbed;
use crate::support::http::Web;
use crate::support::{Kind, Port, secs, start_server, text};

#[test]
fn no_client_of_http_delays_the_sentinel() {
    let (flooded, web, _nowhere) = lone_sentinel(300, "");
    let (calm, _, _nowhere_too) = lone_sentinel(300, "");
    let paths = &["/cluster?per_page=500", "/metrics", "/masters?search=9"];
    assert_undisturbed(web, paths, flooded.port(), calm.port());
    let log = flooded.process.log();
    assert!(!log.contains("+tilt"), "{log}");
    wait_for_status(web, "/liveness", 200, secs(20));
}

#[test]
fn no_client_of_http_delays_a_data_server() {
    let http = Port::reserve();
    let web = Web::at(&http);
    let flooded = start_server(Kind::Ours, &format!("http-port {}\n", http.number()));
    let calm = start_server(Kind::Ours, "");
    for node in [&flooded, &calm] {
        // So that INFO and the histograms have something to tell.
        let mut client = node.client();
        let filled = client.call(&["DEBUG", "POPULATE", "10000"]);
        assert_eq!(text(&filled), "OK");
        for command in ["INFO", "TIME", "DBSIZE", "ROLE", "LASTSAVE"] {
            client.call(&[command]);
        }
    }
    let paths = &["/metrics", "/health", "/openapi.json"];
    assert_undisturbed(web, paths, flooded.port(), calm.port());
    wait_for_status(web, "/primary", 200, secs(20));
}
