//! Host names: looked up off the loop, told as names or as addresses as the setting says.

use crate::support::{
    Kind, expect_that, fields, secs, start_sentinel, start_server, texts, wait_for,
};

#[test]
fn a_master_by_name() {
    // The name may stand for either loopback address.
    let server = start_server(Kind::Real, "bind 127.0.0.1 -::1\n");
    let monitor = format!(
        "sentinel resolve-hostnames yes\nsentinel monitor m localhost {0} 1\n\
         sentinel monitor nowhere no.such.host.invalid {0} 1\n",
        server.port()
    );
    let node = start_sentinel(Kind::Ours, &monitor, "");
    let mut client = node.client();
    wait_for("the master answers", secs(20), || {
        let master = fields(&client.call(&["SENTINEL", "MASTER", "m"]));
        expect_that(master["flags"] == "master", || format!("{master:?}"))
    });
    let mut addr = || texts(&client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"]));
    let ip = addr()[0].clone();
    assert!(ip == "127.0.0.1" || ip == "::1", "{ip}");
    let set = ["SENTINEL", "CONFIG", "SET", "announce-hostnames", "yes"];
    assert!(!node.client().call(&set).is_error());
    assert_eq!(addr(), ["localhost".to_owned(), server.port().to_string()]);
}
