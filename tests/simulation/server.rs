//! A data server as sentinels see one: its role, its replication, its INFO, its clients. No network in
//! here; the world carries its messages.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::agenda::NodeId;
use crate::dice::Dice;

/// A master that says nothing for so long has lost its replica's link. Milliseconds; servers have 60 s
/// by default, which would only make runs longer.
pub(crate) const REPL_TIMEOUT_MS: u64 = 5_000;

/// How far replication with the configured master has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplLink {
    /// Not connected since then; `None`: never was.
    Down { since: Option<u64> },
    /// Receiving a full copy from that incarnation of the master.
    Syncing { until: u64, from: (NodeId, u32) },
    /// Following that incarnation, heard at that time.
    Up { from: (NodeId, u32), heard: u64 },
}

/// A connection that a server has accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Client {
    pub(crate) is_subscribed: bool,
    pub(crate) is_authenticated: bool,
}

/// One data server.
pub(crate) struct Server {
    /// The index of its group: the servers of one master.
    pub(crate) group: usize,
    /// The address that it replicates, as `SLAVEOF` gave it; `None`: it is a master. Kept by `CONFIG
    /// REWRITE`.
    pub(crate) master: Option<(String, u16)>,
    pub(crate) link: ReplLink,
    pub(crate) run_id: String,
    pub(crate) repl_id: String,
    /// The history before its promotion, and where that ended.
    pub(crate) repl_id2: Option<(String, u64)>,
    pub(crate) offset: u64,
    pub(crate) priority: u32,
    /// Bytes of writes per millisecond while it is a master.
    pub(crate) write_rate: u64,
    pub(crate) password: Option<String>,
    /// Until then PING answers `-LOADING`.
    pub(crate) loading_until: u64,
    pub(crate) clients: BTreeMap<usize, Client>,
    dice: Dice,
}

impl Server {
    pub(crate) fn new(group: usize, master: Option<(String, u16)>, mut dice: Dice) -> Server {
        Server {
            group,
            master,
            link: ReplLink::Down { since: None },
            run_id: dice.hex(),
            repl_id: dice.hex(),
            repl_id2: None,
            offset: 1,
            priority: 100,
            write_rate: 1,
            password: None,
            loading_until: 0,
            clients: BTreeMap::new(),
            dice,
        }
    }

    pub(crate) fn is_master(&self) -> bool {
        self.master.is_none()
    }

    /// Its process starts again: another run id, another history, the newest writes lost.
    pub(crate) fn restart(&mut self, now: u64, loading_ms: u64) {
        self.run_id = self.dice.hex();
        self.repl_id = self.dice.hex();
        self.repl_id2 = None;
        self.offset = self.offset.saturating_sub(self.dice.below(500)).max(1);
        self.link = ReplLink::Down { since: None };
        self.loading_until = now + loading_ms;
        self.clients.clear();
    }

    /// `SLAVEOF`. True when it changed anything.
    pub(crate) fn slave_of(&mut self, now: u64, master: Option<(String, u16)>) -> bool {
        if self.master == master {
            return false;
        }
        if master.is_none() {
            let ended = std::mem::replace(&mut self.repl_id, self.dice.hex());
            self.repl_id2 = Some((ended, self.offset + 1));
        }
        self.master = master;
        self.link = ReplLink::Down { since: Some(now) };
        true
    }

    /// Connects to a master: whether the missing part of the history suffices, and the time a full copy
    /// takes otherwise.
    pub(crate) fn connect_to(&mut self, now: u64, from: (NodeId, u32), master: &History) {
        let is_same = master.repl_id == self.repl_id
            || master
                .repl_id2
                .as_ref()
                .is_some_and(|(id, end)| *id == self.repl_id && self.offset < *end);
        self.link = if is_same && self.offset <= master.offset {
            self.follow(master);
            ReplLink::Up { from, heard: now }
        } else {
            let until = now + self.dice.between(50, 1500);
            ReplLink::Syncing { until, from }
        };
    }

    /// Takes over what its master has.
    pub(crate) fn follow(&mut self, master: &History) {
        self.offset = master.offset;
        if self.repl_id != master.repl_id {
            self.repl_id.clone_from(&master.repl_id);
            self.repl_id2.clone_from(&master.repl_id2);
        }
    }

    /// Loses its link.
    pub(crate) fn lose_link(&mut self, now: u64) {
        if !matches!(self.link, ReplLink::Down { .. }) {
            self.link = ReplLink::Down { since: Some(now) };
        }
    }

    /// Its replication history.
    pub(crate) fn history(&self) -> History {
        History {
            repl_id: self.repl_id.clone(),
            repl_id2: self.repl_id2.clone(),
            offset: self.offset,
        }
    }

    /// The text of INFO. `replicas`: who follows it: host, port, offset, and whether it is online.
    pub(crate) fn info(
        &self,
        now: u64,
        port: u16,
        replicas: &[(String, u16, u64, bool)],
    ) -> String {
        let mut text = String::with_capacity(1200);
        let _ = write!(
            text,
            "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nos:Linux 6.1.0 x86_64\r\n\
             arch_bits:64\r\nprocess_id:4711\r\nrun_id:{}\r\ntcp_port:{port}\r\n\
             uptime_in_seconds:{}\r\nhz:10\r\n\r\n# Clients\r\nconnected_clients:{}\r\n\
             blocked_clients:0\r\n\r\n# Persistence\r\nloading:{}\r\nasync_loading:0\r\n\r\n",
            self.run_id,
            now / 1000,
            self.clients.len(),
            u8::from(now < self.loading_until),
        );
        match &self.master {
            None => text.push_str("# Replication\r\nrole:master\r\n"),
            Some((host, port)) => self.info_of_link(&mut text, now, host, *port),
        }
        let _ = write!(text, "connected_slaves:{}\r\n", replicas.len());
        for (index, (host, port, offset, is_online)) in replicas.iter().enumerate() {
            let state = if *is_online { "online" } else { "wait_bgsave" };
            let _ = write!(
                text,
                "slave{index}:ip={host},port={port},state={state},offset={offset},lag=0\r\n"
            );
        }
        let zeros = "0".repeat(40);
        let (id2, end) = match &self.repl_id2 {
            Some((id, end)) => (id.as_str(), i64::try_from(*end).unwrap_or(i64::MAX)),
            None => (zeros.as_str(), -1),
        };
        let _ = write!(
            text,
            "master_failover_state:no-failover\r\nmaster_replid:{}\r\nmaster_replid2:{id2}\r\n\
             master_repl_offset:{}\r\nsecond_repl_offset:{end}\r\nrepl_backlog_active:1\r\n\r\n\
             # CPU\r\nused_cpu_sys:0.1\r\n\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n",
            self.repl_id, self.offset,
        );
        text
    }

    fn info_of_link(&self, text: &mut String, now: u64, host: &str, port: u16) {
        let is_up = matches!(self.link, ReplLink::Up { .. });
        let is_syncing = matches!(self.link, ReplLink::Syncing { .. });
        let _ = write!(
            text,
            "# Replication\r\nrole:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\n\
             master_link_status:{}\r\nmaster_last_io_seconds_ago:{}\r\n\
             master_sync_in_progress:{}\r\nslave_read_repl_offset:{offset}\r\n\
             slave_repl_offset:{offset}\r\n",
            if is_up { "up" } else { "down" },
            if is_up { 0 } else { -1 },
            u8::from(is_syncing),
            offset = self.offset,
        );
        if !is_up {
            let seconds = match self.link {
                ReplLink::Down { since: Some(since) } => (now - since) / 1000,
                ReplLink::Syncing { .. } => 1,
                ReplLink::Down { since: None } | ReplLink::Up { .. } => 0,
            };
            let never = matches!(self.link, ReplLink::Down { since: None });
            let sign = if never {
                "-1".to_owned()
            } else {
                seconds.to_string()
            };
            let _ = write!(text, "master_link_down_since_seconds:{sign}\r\n");
        }
        let _ = write!(
            text,
            "slave_priority:{}\r\nslave_read_only:1\r\nreplica_announced:1\r\n",
            self.priority
        );
    }
}

/// What a replica needs to know of its master.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) repl_id: String,
    pub(crate) repl_id2: Option<(String, u64)>,
    pub(crate) offset: u64,
}
