//! `MONITOR`: every command that runs, shown to those who asked.

use bytes::Bytes;

use super::Server;
use super::observe::shown_words;
use crate::front::{Call, ClientAddr, ClientId, ReplyMode};

impl Server {
    /// Shows a call to the monitors.
    pub(super) fn show_to_monitors(&mut self, call: &Call<'_>) {
        let micros = self.clock.unix_micros();
        let client = self.front.clients.current(call.client);
        let from = match &client.addr {
            ClientAddr::Unix(path) => format!("unix:{path}"),
            ClientAddr::Tcp(_) => client.addr.to_string(),
        };
        let mut line = format!(
            "+{}.{:06} [{} {from}]",
            micros / 1_000_000,
            micros % 1_000_000,
            client.db
        )
        .into_bytes();
        for word in shown_words(self.front.table.catalog(), call).iter() {
            line.push(b' ');
            quote(word, &mut line);
        }
        line.extend_from_slice(b"\r\n");
        let line = Bytes::from(line);
        let now = call.now.mono;
        for id in self.monitors.clone() {
            let client = self.front.clients.get(id);
            let leaves_out =
                client.is_some_and(|c| matches!(c.reply_mode, ReplyMode::Off | ReplyMode::Skip));
            if !leaves_out {
                self.front.clients.send(id, line.clone(), now);
            }
        }
    }

    /// Adds a client to the monitors, or takes it away.
    pub(crate) fn set_monitor(&mut self, id: ClientId, is_monitor: bool) {
        self.monitors.retain(|known| *known != id);
        if is_monitor {
            self.monitors.push(id);
        }
        if let Some(client) = self.front.clients.get_mut(id) {
            client.is_monitor = is_monitor;
        }
    }
}

/// A word in quotes, with what cannot be printed escaped.
pub(super) fn quote(word: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_redis_does() {
        let mut out = Vec::new();
        quote(b"a \"\\\n\r\t\x07\x08\x00\xff~", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""a \"\\\n\r\t\a\b\x00\xff~""#
        );
    }
}
