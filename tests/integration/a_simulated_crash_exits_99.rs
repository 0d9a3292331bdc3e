//! `SENTINEL SIMULATE-FAILURE`: the process is gone at the promised moment, with status 99.

use crate::support::{Kind, NAME, Topology, secs, text};

#[test]
fn at_its_election() {
    let mut set = Topology::of(Kind::Real).sentinels(&[Kind::Ours]).start();
    let node = &mut set.sentinels[0];
    let mut client = node.client();
    let crash = ["SENTINEL", "SIMULATE-FAILURE", "crash-after-election"];
    assert_eq!(text(&client.call(&crash)), "OK");
    // It may be gone before the answer is.
    if let Ok(reply) = client.try_call(&["SENTINEL", "FAILOVER", NAME]) {
        assert_eq!(text(&reply), "OK");
    }
    let status = node.process.wait(secs(20));
    assert_eq!(status.code(), Some(99), "{}", node.process.log());
    assert!(node.process.log().contains("+elected-leader"));
}
