//! Reading an INFO reply: the few fields that decisions rest on. Garbage is skipped, never trusted.

use super::instance::Role;

/// The most replicas of one master that are taken from its INFO; more would be an attack or a mistake.
pub(super) const REPLICAS_MAX: usize = 1024;

/// The fields that matter. `None` or empty: absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// `run_id`, exactly 40 characters.
    pub run_id: Option<String>,
    /// `role`.
    pub(super) role: Option<Role>,
    /// `master_replid`.
    pub repl_id: Option<String>,
    /// `slaveN` lines.
    pub replicas: Vec<ListedReplica>,
    /// `master_repl_offset`.
    pub master_offset: Option<u64>,
    /// `master_host`.
    pub master_host: Option<String>,
    /// `master_port`.
    pub master_port: Option<u16>,
    /// `master_link_status` is `up`.
    pub link_up: Option<bool>,
    /// `master_link_down_since_seconds`, in milliseconds.
    pub link_down_ms: i64,
    /// `slave_priority`.
    pub priority: Option<u32>,
    /// `slave_repl_offset`.
    pub repl_offset: Option<u64>,
    /// `replica_announced`.
    pub announced: Option<bool>,
    /// `master_sync_in_progress` or `loading`.
    pub incomplete: bool,
}

/// A replica as its master lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedReplica {
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How far it has acknowledged the master's history.
    pub offset: Option<u64>,
}

impl Info {
    /// Reads the text of an INFO reply.
    ///
    /// As in the original, fields that only a replica has count only after a `role:slave` line.
    pub fn parse(text: &[u8]) -> Info {
        let mut info = Info::default();
        for line in text.split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            let (key, value) = (&line[..colon], &line[colon + 1..]);
            // A cheap first look: most of the hundred-odd lines are of no interest.
            if matches!(key.first(), Some(b'r' | b's' | b'm' | b'l'))
                && let Ok(value) = std::str::from_utf8(value)
            {
                info.field(key, value.trim_end());
            }
        }
        info
    }

    fn field(&mut self, key: &[u8], value: &str) {
        let is_replica = self.role == Some(Role::Replica);
        match key {
            b"run_id" if value.len() == 40 && is_token(value) => {
                self.run_id = Some(value.to_owned());
            }
            b"role" => {
                self.role = match value {
                    "master" => Some(Role::Master),
                    "slave" => Some(Role::Replica),
                    _ => self.role,
                }
            }
            b"master_replid" if is_token(value) => self.repl_id = Some(value.to_owned()),
            b"loading" | b"master_sync_in_progress" => self.incomplete |= value == "1",
            b"master_link_down_since_seconds" => {
                self.link_down_ms = value.parse::<i64>().unwrap_or(0).saturating_mul(1000);
            }
            b"master_repl_offset" => self.master_offset = value.parse().ok(),
            b"master_host" if is_replica && is_token(value) => {
                self.master_host = Some(value.to_owned());
            }
            b"master_port" if is_replica => self.master_port = value.parse().ok(),
            b"master_link_status" if is_replica => {
                self.link_up = Some(value.eq_ignore_ascii_case("up"));
            }
            b"slave_priority" if is_replica => self.priority = value.parse().ok(),
            b"slave_repl_offset" if is_replica => self.repl_offset = value.parse().ok(),
            b"replica_announced" if is_replica => {
                self.announced = value.parse::<i64>().ok().map(|n| n != 0);
            }
            [b's', b'l', b'a', b'v', b'e', digits @ ..]
                if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) =>
            {
                if let Some(replica) = parse_replica(value)
                    && self.replicas.len() < REPLICAS_MAX
                {
                    self.replicas.push(replica);
                }
            }
            _ => {}
        }
    }
}

/// `ip=<host>,port=<port>,…`, or the form of very old servers, `<host>,<port>,<state>`.
fn parse_replica(value: &str) -> Option<ListedReplica> {
    let field = |name: &str| value.split(',').find_map(|part| part.strip_prefix(name));
    let (host, port) = if value.contains("ip=") {
        (field("ip=")?, field("port=")?)
    } else {
        let mut parts = value.split(',');
        (parts.next()?, parts.next()?)
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    is_token(host).then(|| ListedReplica {
        host: host.to_owned(),
        port,
        offset: field("offset=").and_then(|offset| offset.parse().ok()),
    })
}

/// Text that can stand in a configuration line, an event or a hello: visible, no comma, no quote.
pub(super) fn is_token(text: &str) -> bool {
    const TOKEN_BYTES_MAX: usize = 255;
    text.len() <= TOKEN_BYTES_MAX && is_plain(text)
}

/// Text that needs no quotes in a file and no escapes in a hello.
pub fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, ',' | '"' | '\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_and_its_replicas() {
        let info = Info::parse(
            b"# Server\r\nrun_id:0123456789012345678901234567890123456789\r\n# Replication\r\n\
              role:master\r\nconnected_slaves:2\r\n\
              slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=0\r\n\
              slave1:10.0.0.3,6381,online\r\nslave2:ip=x y,port=1\r\nslave_x:1\r\n\
              slave3:ip=10.0.0.9,port=0\r\nmaster_replid:abc\r\nmaster_repl_offset:20\r\n",
        );
        assert_eq!(info.role, Some(Role::Master));
        let listed = |host: &str, port, offset| ListedReplica {
            host: host.to_owned(),
            port,
            offset,
        };
        assert_eq!(
            info.replicas,
            [
                listed("127.0.0.1", 6380, Some(14)),
                listed("10.0.0.3", 6381, None)
            ]
        );
        assert_eq!(info.master_offset, Some(20));
        assert_eq!(info.run_id.unwrap().len(), 40);
        assert_eq!(info.repl_id.as_deref(), Some("abc"));
    }

    #[test]
    fn a_replica() {
        let info = Info::parse(
            b"role:slave\nmaster_host:127.0.0.1\nmaster_port:6379\nmaster_link_status:UP\n\
              slave_repl_offset:99\nslave_priority:7\nreplica_announced:0\n\
              master_link_down_since_seconds:-1\nmaster_sync_in_progress:1\n",
        );
        assert_eq!(info.role, Some(Role::Replica));
        assert_eq!(
            (info.master_host.as_deref(), info.master_port),
            (Some("127.0.0.1"), Some(6379))
        );
        assert_eq!(
            (info.link_up, info.repl_offset, info.priority),
            (Some(true), Some(99), Some(7))
        );
        assert_eq!(
            (info.announced, info.link_down_ms, info.incomplete),
            (Some(false), -1000, true)
        );
    }

    #[test]
    fn replica_fields_before_the_role_do_not_count() {
        assert_eq!(
            Info::parse(b"slave_priority:7\nrole:slave\n").priority,
            None
        );
    }

    #[test]
    fn garbage_is_skipped() {
        let info = Info::parse(b"\xff\xfe:\x00\r\nrole\r\n:\r\nrun_id:short\r\nrole:king\r\n");
        assert_eq!(info, Info::default());
    }
}
