//! What a `BGSAVE` keeps beside the data while clients change keys everywhere: never more than 15 % of the memory of
//! before, also while one large hash is being written out.

use rand::RngExt;

use crate::data::{Dice, seeds};
use crate::support::{Client, Kind, ServerNode, secs, start_server, text};

const KEYS: usize = 400_000;
const FIELDS: usize = 200_000;
/// Changes that are sent together.
const BURST: usize = 500;
/// Bursts before the save, so that what clients need themselves is there.
const BEFORE: usize = 40;
/// What a round may add to the resident memory, in hundredths of what it was.
const EXTRA_PERCENT: u64 = 15;

struct Writer {
    client: Client,
    dice: Dice,
}

impl Writer {
    fn burst(&mut self) {
        let value = "v".repeat(64);
        for _ in 0..BURST {
            let key = format!("key:{}", self.dice.random_range(0..KEYS));
            let sent = self.client.send(&["SET", &key, &value]);
            sent.unwrap();
        }
        for _ in 0..BURST {
            self.client.receive().unwrap();
        }
    }
}

/// The most memory while a save goes on under changes, and what it was before. KiB.
fn save_under_changes(server: &ServerNode, writer: &mut Writer) -> (u64, u64) {
    let mut control = server.client();
    (0..BEFORE).for_each(|_| writer.burst());
    let before = server.process.rss_kib();
    server.process.forget_peak();
    let reply = text(&control.call(&["BGSAVE"]));
    assert_eq!(reply, "Background saving started");
    let mut bursts = 0;
    while server.info("rdb_bgsave_in_progress").unwrap() == "1" {
        writer.burst();
        bursts += 1;
    }
    assert!(bursts > 5, "the save was over after {bursts} bursts");
    assert_eq!(server.info("rdb_last_bgsave_status").unwrap(), "ok");
    (server.process.peak_kib(), before)
}

#[test]
fn while_keys_and_a_large_hash_are_written_out() {
    let server = start_server(Kind::Ours, "");
    // With so many keys to make, beside other tests.
    let mut control = Client::try_to_within(server.port(), secs(60)).unwrap();
    let populated = control.call(&["DEBUG", "POPULATE", &KEYS.to_string(), "key", "64"]);
    assert_eq!(text(&populated), "OK");
    let mut writer = Writer {
        client: server.client(),
        dice: Dice::of(seeds([])[0]),
    };
    for has_hash in [false, true] {
        if has_hash {
            let value = "f".repeat(32);
            for first in (0..FIELDS).step_by(1000) {
                let fields: Vec<String> = (first..first + 1000)
                    .map(|n| format!("field:{n}"))
                    .collect();
                let mut words = vec!["HSET", "large"];
                fields
                    .iter()
                    .for_each(|field| words.extend([field, value.as_str()]));
                control.call(&words);
            }
        }
        let (peak, before) = save_under_changes(&server, &mut writer);
        assert!(
            peak * 100 <= before * (100 + EXTRA_PERCENT),
            "{before} KiB became {peak} KiB, with a hash: {has_hash}"
        );
        eprintln!("{before} KiB became {peak} KiB, with a hash: {has_hash}");
    }
}
