//! One master, its replicas and its sentinels, of any mixture of programs.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::{Client, Kind, Port, Process, expect_that, fields, maps, secs, text, texts, wait_for};

/// The name under which the sentinels know the master.
pub(crate) const NAME: &str = "mymaster";

/// A data server: its program, its folder, its port.
pub(crate) struct ServerNode {
    /// Whose program it is.
    pub(crate) kind: Kind,
    /// The process.
    pub(crate) process: Process,
    port: Port,
    dir: TempDir,
}

impl ServerNode {
    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.port())
    }

    /// Its folder: `server.conf`, `server-<port>.log`, `dump.rdb`.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on its folder and port, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        self.process.start_again();
        wait_for_pong(&mut self.process, self.port.number());
    }

    /// One field of its INFO; `None` when it does not answer or has no such field.
    pub(crate) fn info(&self, name: &str) -> Option<String> {
        let mut client = Client::try_to_within(self.port(), secs(1)).ok()?;
        let info = text(&client.try_call(&["INFO"]).ok()?);
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    }

    /// `Ok` when it follows the server on `master` with the link up.
    pub(crate) fn follows(&self, master: u16) -> Result<(), String> {
        let info = |name| self.info(name).unwrap_or_default();
        let found = (
            info("role"),
            info("master_port"),
            info("master_link_status"),
        );
        let wanted = ("slave".to_owned(), master.to_string(), "up".to_owned());
        expect_that(found == wanted, || format!("{}: {found:?}", self.port()))
    }
}

/// A sentinel: its program, its folder, its port.
pub(crate) struct SentinelNode {
    /// Whose program it is.
    pub(crate) kind: Kind,
    /// The process.
    pub(crate) process: Process,
    port: Port,
    dir: TempDir,
}

impl SentinelNode {
    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.port())
    }

    /// Its configuration, which it rewrites.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("sentinel.conf")
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on its folder and port, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        self.process.start_again();
        wait_for_pong(&mut self.process, self.port.number());
    }

    /// The master's port by `SENTINEL GET-MASTER-ADDR-BY-NAME`; `None` when it does not say.
    pub(crate) fn master_port(&self) -> Option<u16> {
        let mut client = Client::try_to_within(self.port(), secs(1)).ok()?;
        let reply = client
            .try_call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])
            .ok()?;
        texts(&reply).get(1)?.parse().ok()
    }

    /// `SENTINEL MASTER`, as names and values.
    pub(crate) fn master(&self) -> std::collections::BTreeMap<String, String> {
        fields(&self.client().call(&["SENTINEL", "MASTER", NAME]))
    }

    /// `SENTINEL REPLICAS`.
    pub(crate) fn replicas(&self) -> Vec<std::collections::BTreeMap<String, String>> {
        maps(&self.client().call(&["SENTINEL", "REPLICAS", NAME]))
    }

    /// `Ok` when it knows `replicas` replicas and `peers` peers of the master `name`, none of them is down or
    /// disconnected, and it has read the INFO of every replica: without it none can be promoted.
    pub(crate) fn sees(&self, name: &str, replicas: usize, peers: usize) -> Result<(), String> {
        let mut client = Client::try_to(self.port()).map_err(|error| error.to_string())?;
        let mut healthy = |what: &str| {
            let reply = client
                .try_call(&["SENTINEL", what, name])
                .map_err(|error| error.to_string())?;
            let shown = maps(&reply)
                .into_iter()
                .map(|map| match map["runid"].as_str() {
                    "" => format!("{} without INFO", map["flags"]),
                    // A real one makes such a replica follow the master that it knows, even one that is being promoted.
                    _ if map
                        .get("role-reported")
                        .is_some_and(|role| role == "master") =>
                    {
                        format!("{} that says that it is a master", map["flags"])
                    }
                    _ => map["flags"].clone(),
                });
            Ok::<_, String>(shown.collect::<Vec<_>>())
        };
        let found = (healthy("REPLICAS")?, healthy("SENTINELS")?);
        let wanted = (
            vec!["slave".to_owned(); replicas],
            vec!["sentinel".to_owned(); peers],
        );
        expect_that(found == wanted, || {
            format!("sentinel {}: {found:?}", self.port())
        })
    }
}

/// What to start. Every part has a default; see [`Topology::of`].
pub(crate) struct TopologyBuilder {
    servers: Vec<(Kind, String)>,
    sentinels: Vec<(Kind, String)>,
    quorum: usize,
    down_after: Duration,
    failover_timeout: Duration,
    parallel_syncs: usize,
}

impl TopologyBuilder {
    /// The sentinels' programs. The quorum becomes a majority of them.
    pub(crate) fn sentinels(mut self, kinds: &[Kind]) -> Self {
        self.sentinels = kinds.iter().map(|kind| (*kind, String::new())).collect();
        self.quorum = kinds.len() / 2 + 1;
        self
    }

    /// How many replicas, all of one program.
    pub(crate) fn replicas(mut self, kind: Kind, count: usize) -> Self {
        self.servers.truncate(1);
        self.servers
            .extend(std::iter::repeat_n((kind, String::new()), count));
        self
    }

    /// How many sentinels must agree on ODOWN.
    pub(crate) fn quorum(mut self, quorum: usize) -> Self {
        self.quorum = quorum;
        self
    }

    /// `down-after-milliseconds`.
    pub(crate) fn down_after(mut self, down_after: Duration) -> Self {
        self.down_after = down_after;
        self
    }

    /// `failover-timeout`.
    pub(crate) fn failover_timeout(mut self, failover_timeout: Duration) -> Self {
        self.failover_timeout = failover_timeout;
        self
    }

    /// `parallel-syncs`.
    pub(crate) fn parallel_syncs(mut self, parallel_syncs: usize) -> Self {
        self.parallel_syncs = parallel_syncs;
        self
    }

    /// More lines for the configuration of server `i`; 0 is the master.
    pub(crate) fn server_line(mut self, i: usize, line: &str) -> Self {
        let (_, lines) = &mut self.servers[i];
        writeln!(lines, "{line}").expect("a string takes everything");
        self
    }

    /// One more line for the configuration of sentinel `i`, after its `monitor` line.
    pub(crate) fn sentinel_line(mut self, i: usize, line: &str) -> Self {
        let (_, lines) = &mut self.sentinels[i];
        writeln!(lines, "{line}").expect("a string takes everything");
        self
    }

    /// Starts everything and waits until every replica is in sync and every sentinel knows them all.
    pub(crate) fn start(self) -> Topology {
        let master = start_server(self.servers[0].0, &self.servers[0].1);
        let port = master.port();
        let mut servers = vec![master];
        for (kind, lines) in &self.servers[1..] {
            servers.push(start_server(
                *kind,
                &format!("replicaof 127.0.0.1 {port}\n{lines}"),
            ));
        }
        wait_for("the replicas follow the master", secs(20), || {
            servers[1..].iter().try_for_each(|node| node.follows(port))
        });
        let sentinels: Vec<SentinelNode> = self
            .sentinels
            .iter()
            .map(|(kind, lines)| start_sentinel(*kind, &self.monitor_lines(port), lines))
            .collect();
        let set = Topology { servers, sentinels };
        wait_for(
            "the sentinels know the replicas and each other",
            secs(20),
            || set.is_known_to_all(),
        );
        set
    }

    fn monitor_lines(&self, port: u16) -> String {
        format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} {}\n\
             sentinel down-after-milliseconds {NAME} {}\n\
             sentinel failover-timeout {NAME} {}\n\
             sentinel parallel-syncs {NAME} {}\n",
            self.quorum,
            self.down_after.as_millis(),
            self.failover_timeout.as_millis(),
            self.parallel_syncs,
        )
    }
}

/// A running set. Dropping it ends every process.
pub(crate) struct Topology {
    /// The data servers; the first was the master at the start.
    pub(crate) servers: Vec<ServerNode>,
    /// The sentinels.
    pub(crate) sentinels: Vec<SentinelNode>,
}

impl Topology {
    /// One master and two replicas of `kind`; three sentinels of the same kind with quorum 2, down-after
    /// 1 s, failover-timeout 10 s, parallel-syncs 1.
    pub(crate) fn of(kind: Kind) -> TopologyBuilder {
        TopologyBuilder {
            servers: vec![(kind, String::new()); 3],
            sentinels: vec![(kind, String::new()); 3],
            quorum: 2,
            down_after: secs(1),
            failover_timeout: secs(10),
            parallel_syncs: 1,
        }
    }

    /// The master's port, on which all sentinels must agree.
    pub(crate) fn master_port(&self) -> u16 {
        wait_for("the sentinels agree on the master", secs(10), || {
            self.agreed()
        })
    }

    /// The data server on `port`.
    pub(crate) fn server_at(&mut self, port: u16) -> &mut ServerNode {
        self.servers
            .iter_mut()
            .find(|node| node.port() == port)
            .unwrap_or_else(|| panic!("no server of this set listens on {port}"))
    }

    /// Waits until all running sentinels name one master that is not `old`, and it accepts writes.
    /// Returns its port.
    pub(crate) fn wait_for_switch(&mut self, old: u16, within: Duration) -> u16 {
        wait_for("all sentinels name one new master", within, || {
            let port = self.agreed()?;
            expect_that(port != old, || format!("all still name the old one, {old}"))?;
            let mut client =
                Client::try_to_within(port, secs(1)).map_err(|error| format!("{port}: {error}"))?;
            let reply = client
                .try_call(&["SET", "wait_for_switch", "1"])
                .map_err(|error| format!("{port}: {error}"))?;
            expect_that(!reply.is_error(), || format!("{port}: {}", text(&reply)))?;
            Ok(port)
        })
    }

    /// Waits until every running server but the master follows the master on `port`.
    pub(crate) fn wait_for_replicas_of(&mut self, port: u16, within: Duration) {
        wait_for("every replica follows the master", within, || {
            self.servers
                .iter_mut()
                .filter(|node| node.port.number() != port)
                .filter_map(|node| node.process.is_running().then_some(&*node))
                .try_for_each(|node| node.follows(port))
        });
    }

    /// Waits until every running server but the master follows the master on which the sentinels agree, and
    /// returns its port. For sets with real sentinels, which may fail over once more after a switch, because
    /// one of them still held the old master's state for the new one's.
    pub(crate) fn wait_for_replicas(&mut self, within: Duration) -> u16 {
        wait_for("every replica follows the agreed master", within, || {
            let master = self.agreed()?;
            self.servers
                .iter_mut()
                .filter(|node| node.port.number() != master)
                .filter_map(|node| node.process.is_running().then_some(&*node))
                .try_for_each(|node| node.follows(master))?;
            Ok(master)
        })
    }

    /// Waits until every sentinel sees all other servers as replicas, all peers, and nothing down.
    pub(crate) fn wait_until_settled(&self, within: Duration) {
        wait_for(
            "the sentinels see every server and each other",
            within,
            || self.is_known_to_all(),
        );
    }

    fn is_known_to_all(&self) -> Result<(), String> {
        let (replicas, peers) = (self.servers.len() - 1, self.sentinels.len() - 1);
        self.sentinels
            .iter()
            .try_for_each(|sentinel| sentinel.sees(NAME, replicas, peers))
    }

    /// The port that every sentinel that answers names; at least one must.
    fn agreed(&self) -> Result<u16, String> {
        let ports: Vec<Option<u16>> = self
            .sentinels
            .iter()
            .map(SentinelNode::master_port)
            .collect();
        let mut answers = ports.iter().flatten();
        let first = answers.next().ok_or("no sentinel answers")?;
        expect_that(answers.all(|port| port == first), || {
            format!("they name {ports:?}")
        })?;
        Ok(*first)
    }
}

/// Starts one data server with more lines of configuration, and waits until it answers.
pub(crate) fn start_server(kind: Kind, lines: &str) -> ServerNode {
    let port = Port::reserve();
    let number = port.number();
    let dir = TempDir::new().expect("a temporary folder");
    let config = dir.path().join("server.conf");
    let text = format!(
        "port {number}\nbind 127.0.0.1\ndir {}\nsave \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n\
         enable-debug-command yes\n{lines}",
        dir.path().display()
    );
    std::fs::write(&config, text).expect("a configuration can be written");
    let name = format!("server-{number}");
    let mut process = Process::start(&name, dir.path(), kind.server(&config));
    wait_for_pong(&mut process, number);
    ServerNode {
        kind,
        process,
        port,
        dir,
    }
}

/// Starts one sentinel that monitors what `monitor` says, and waits until it answers.
pub(crate) fn start_sentinel(kind: Kind, monitor: &str, lines: &str) -> SentinelNode {
    let port = Port::reserve();
    let number = port.number();
    let dir = TempDir::new().expect("a temporary folder");
    let config = dir.path().join("sentinel.conf");
    let text = format!(
        "port {number}\nbind 127.0.0.1\ndir {}\n{monitor}{lines}",
        dir.path().display()
    );
    std::fs::write(&config, text).expect("a configuration can be written");
    let name = format!("sentinel-{number}");
    let mut process = Process::start(&name, dir.path(), kind.sentinel(&config));
    wait_for_pong(&mut process, number);
    SentinelNode {
        kind,
        process,
        port,
        dir,
    }
}

fn wait_for_pong(process: &mut Process, port: u16) {
    wait_for(&format!("port {port} answers PING"), secs(10), || {
        if !process.is_running() {
            panic!("port {port}: the program has ended: {}", process.log());
        }
        let mut client = Client::try_to_within(port, secs(1)).map_err(|error| error.to_string())?;
        let reply = client
            .try_call(&["PING"])
            .map_err(|error| error.to_string())?;
        // With a password in its configuration it answers all the same.
        let reply = text(&reply);
        let answers = reply == "PONG" || reply.starts_with("NOAUTH");
        expect_that(answers, || reply.clone())
    });
}
