//! What clients that keep copies of keys hear of changes (`CLIENT TRACKING`), and when: as from redis-server.

use crate::support::{Client, Kind, ServerNode, start_server, text};

/// A redis-server and one of ours.
fn both() -> [ServerNode; 2] {
    [Kind::Real, Kind::Ours].map(|kind| start_server(kind, ""))
}

/// Sends lines in one piece; all that comes, `count` values.
fn hear(client: &mut Client, lines: &[&str], count: usize) -> Vec<String> {
    let bytes = lines.join("\r\n") + "\r\n";
    client.send_raw(bytes.as_bytes()).expect("it is sent");
    let mut next = || text(&client.receive().expect("a value"));
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_change_is_told_though_another_prefix_follows_in_the_same_turn() {
    let [real, ours] = both().map(|server| {
        let mut client = server.client();
        client.call(&["HELLO", "3"]);
        let lines = [
            "CLIENT TRACKING ON BCAST PREFIX a",
            "SET a1 x",
            "CLIENT TRACKING ON BCAST PREFIX b",
        ];
        hear(&mut client, &lines, 4)
    });
    assert_eq!(ours, real);
    assert_eq!(ours[3], "invalidate a1");
}
