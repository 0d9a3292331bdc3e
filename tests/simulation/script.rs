//! Golden-trace scripts: commands in, the whole trace out, both in one text file.
//!
//! Above the line `----` are commands, below it the trace that they gave when the file was last
//! rewritten (`UPDATE_TRACES=1`). A difference fails; whether a new trace is right is for a reader of
//! the diff to say. What a script is about it also says as `expect` and `forbid`, which no rewriting
//! can change.
//!
//! | command | does |
//! |---|---|
//! | `seed N` | another seed; first of all |
//! | `master NAME r1 r2 … [key=value …]` | a master and its replicas; keys are the directives' names |
//! | `also NAME` | the same master is monitored under a second name |
//! | `sentinels s1 s2 …`, `redis-sentinels s3 …` | sentinels, all over all masters |
//! | `start` | all of them run |
//! | `mark` | forgets the trace so far |
//! | `advance 10s`, `advance 250ms` | time passes |
//! | `crash X [host]`, `restart X` | the process ends, with its host or alone; it starts |
//! | `hang X`, `resume X`, `stall X 3s` | SIGSTOP, SIGCONT |
//! | `delay X Y 30ms` | from now on packets from X to Y take longer |
//! | `isolate X …`, `mute X …`, `deafen X …`, `block X Y`, `heal`, `cut X` | the network |
//! | `disk S fails`, `disk S works`, `disk S takes 500ms` | the disk of a sentinel |
//! | `clock X 3600s` | its wall clock is ahead by so much |
//! | `observers s4 …` | sentinels with `observe-only`, over all masters |
//! | `failover S NAME`, `reset S NAME`, `simulate S after-election` | operators' commands |
//! | `pause S NAME [10s]`, `unpause S NAME`, `forget S NAME X` | more of them |
//! | `publish S PAYLOAD` | a client publishes a hello at a sentinel |
//! | `ask S HOST PORT EPOCH CANDIDATE` | a client asks a sentinel for its vote |
//! | `slaveof R none`, `slaveof R HOST PORT`, `offset R N`, `priority R N`, `password R P`, `loading R 3s` | a data server |
//! | `expect [within 100ms] WHO TEXT` | since `mark`, a line of WHO (`any`, `all`) holds TEXT |
//! | `forbid WHO TEXT`, `most N WHO TEXT` | no line, at most N lines of WHO hold TEXT |
//! | `agree NAME R` | all sentinels name R as the master |
//! | `waiting X N` | at most N messages wait for a process that hangs |
//! | `knows S NAME N replicas N sentinels` | what a sentinel knows of a master |

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use sentinel::ids::{Epoch, MasterName, SentinelId};
use sentinel::sentinel::core::{Addr, MasterSettings, Operator, Request};

use crate::agenda::NodeId;
use crate::dice::Dice;
use crate::net::{Packet, Weather};
use crate::ours::DiskMode;
use crate::plan::{readable_id, sentinel_addr, server_addr};
use crate::real::Real;
use crate::trace::Detail;
use crate::world::{Arrival, Body, Group, World};

const SEPARATOR: &str = "----\n";

/// Runs the script of that name and compares its trace.
pub(crate) fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}", path.display());
    });
    let (commands, golden) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
    let mut stage = Stage::new();
    let mut problems = Vec::new();
    for (index, line) in commands.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        if let Err(problem) = stage.command(&words) {
            problems.push(format!("{name}.txt:{}: {line}\n  {problem}", index + 1));
        }
    }
    if let Some(violation) = &stage.world.violation {
        problems.push(format!(
            "property {}: {}",
            violation.property, violation.text
        ));
    }
    let mut trace = String::new();
    for line in stage.world.trace.lines() {
        let _ = writeln!(trace, "{line}");
    }
    if std::env::var("UPDATE_TRACES").is_ok() {
        let text = format!("{commands}{SEPARATOR}{trace}");
        std::fs::write(&path, text).expect("the script can be rewritten");
    } else if trace != golden {
        problems.push(difference(golden, &trace));
    }
    assert!(
        problems.is_empty(),
        "{}\n\nthe trace:\n{trace}",
        problems.join("\n")
    );
}

/// The names of all scripts there are.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("the scripts are there");
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_suffix(".txt")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/scripts")
}

fn difference(golden: &str, trace: &str) -> String {
    let mut old = golden.lines();
    let mut new = trace.lines();
    let mut line = 0;
    loop {
        line += 1;
        match (old.next(), new.next()) {
            (None, None) => return "the traces differ in white space".to_owned(),
            (a, b) if a == b => {}
            (a, b) => {
                let shown = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return format!(
                    "line {line} of the trace differs (UPDATE_TRACES=1 rewrites it)\n- {}\n+ {}",
                    shown(a),
                    shown(b)
                );
            }
        }
    }
}

/// A world on which a script plays.
struct Stage {
    world: World,
    servers: usize,
    sentinels: usize,
    dice: Dice,
    marked_at: u64,
}

type Done = Result<(), String>;

impl Stage {
    fn new() -> Stage {
        Stage::with_seed(1)
    }

    fn with_seed(seed: u64) -> Stage {
        Stage {
            world: World::new(seed, Weather::FAIR, Detail::Story),
            servers: 0,
            sentinels: 0,
            dice: Dice::new(seed, "script"),
            marked_at: 0,
        }
    }

    fn command(&mut self, words: &[&str]) -> Done {
        if !matches!(
            words[0],
            "expect" | "forbid" | "most" | "agree" | "waiting" | "knows" | "mark"
        ) {
            let now = self.world.now();
            self.world.trace.story(now, ">", || words.join(" "));
        }
        match words {
            ["seed", seed] => {
                *self = Stage::with_seed(number(seed)?);
                Ok(())
            }
            ["master", name, rest @ ..] => self.add_master(name, rest),
            ["also", name] => {
                let group = self.world.groups.last_mut().ok_or("no master yet")?;
                group.names.push(MasterName::from(*name));
                Ok(())
            }
            ["sentinels", names @ ..] => self.add_sentinels(names, false),
            ["redis-sentinels", names @ ..] => self.add_sentinels(names, true),
            ["observers", names @ ..] => {
                let groups: Vec<usize> = (0..self.world.groups.len()).collect();
                for name in names {
                    self.sentinels += 1;
                    let id = readable_id(self.sentinels, &mut self.dice);
                    let durable = self.world.configured(&groups, Some(&id));
                    let addr = sentinel_addr(self.sentinels);
                    self.world.add_observer(name, addr, durable);
                }
                Ok(())
            }
            ["start"] => {
                for id in 0..self.world.nodes.len() {
                    self.world.boot(id);
                }
                Ok(())
            }
            ["mark"] => {
                self.marked_at = self.world.now();
                self.world.trace.clear();
                Ok(())
            }
            ["advance", time] => {
                let until = self.world.now() + ms(time)?;
                self.world.run_until(until);
                Ok(())
            }
            ["delay", from, to, time] => {
                let (from, to, time) = (self.node(from)?, self.node(to)?, ms(time)?);
                self.world.net.detours.push((from, to, time));
                Ok(())
            }
            [
                "crash" | "restart" | "hang" | "resume" | "stall" | "clock" | "disk",
                ..,
            ] => self.node_command(words),
            ["isolate" | "mute" | "deafen" | "block" | "heal" | "cut", ..] => {
                self.network_command(words)
            }
            [
                "failover" | "reset" | "simulate" | "publish" | "ask" | "pause" | "unpause"
                | "forget",
                ..,
            ] => self.operator_command(words),
            [
                "slaveof" | "offset" | "priority" | "password" | "loading",
                ..,
            ] => self.server_command(words),
            [
                "expect" | "forbid" | "most" | "agree" | "waiting" | "knows",
                ..,
            ] => self.judge(words),
            _ => Err("no such command".to_owned()),
        }
    }

    fn node(&self, name: &str) -> Result<NodeId, String> {
        self.world
            .find(name)
            .ok_or(format!("nobody is called {name}"))
    }

    fn add_master(&mut self, name: &str, rest: &[&str]) -> Done {
        let mut settings = MasterSettings::new(2);
        let mut servers = Vec::new();
        for word in rest {
            let Some((key, value)) = word.split_once('=') else {
                servers.push(*word);
                continue;
            };
            let time = || number(value).map(Duration::from_millis);
            match key {
                "quorum" => settings.quorum = small(value)?,
                "down-after-milliseconds" => settings.down_after = time()?,
                "failover-timeout" => settings.failover_timeout = time()?,
                "parallel-syncs" => settings.parallel_syncs = small(value)?,
                "auth-pass" => settings.auth_pass = Some(value.into()),
                "master-reboot-down-after-period" => settings.reboot_down_after = time()?,
                "refused-after-milliseconds" => settings.refused_after = time()?,
                _ => return Err(format!("no such setting: {key}")),
            }
        }
        let group = self.world.groups.len();
        self.world.groups.push(Group {
            names: vec![MasterName::from(name)],
            servers: Vec::new(),
            settings,
            was_reset: false,
        });
        for server in servers {
            self.servers += 1;
            self.world
                .add_server(server, server_addr(self.servers), group);
        }
        Ok(())
    }

    fn add_sentinels(&mut self, names: &[&str], are_real: bool) -> Done {
        let groups: Vec<usize> = (0..self.world.groups.len()).collect();
        for name in names {
            self.sentinels += 1;
            let id = readable_id(self.sentinels, &mut self.dice);
            let addr = sentinel_addr(self.sentinels);
            if are_real {
                self.world
                    .add_real(name, addr, Real::new(&id, groups.clone()));
            } else {
                let durable = self.world.configured(&groups, Some(&id));
                self.world.add_ours(name, addr, durable);
            }
        }
        Ok(())
    }

    fn node_command(&mut self, words: &[&str]) -> Done {
        let id = self.node(words.get(1).ok_or("whom?")?)?;
        let world = &mut self.world;
        match words {
            ["crash", _] => world.crash(id, false),
            ["crash", _, "host"] => world.crash(id, true),
            ["restart", _] => world.boot(id),
            ["hang", _] => world.stop(id, None),
            ["resume", _] => world.resume(id),
            ["stall", _, time] => world.stop(id, Some(ms(time)?)),
            ["clock", _, ahead] => world.nodes[id].skew_ms = 86_400_000 + ms(ahead)?,
            ["disk", _, how @ ..] => {
                let mode = match how {
                    ["fails"] => DiskMode::Fails { ms: 1 },
                    ["works"] => DiskMode::Works { ms: (1, 1) },
                    ["takes", time] => DiskMode::Works {
                        ms: (ms(time)?, ms(time)?),
                    },
                    _ => return Err("fails, works or takes TIME".to_owned()),
                };
                world.ours_mut(id).ok_or("none of ours")?.disk.mode = mode;
            }
            _ => return Err("wrong words".to_owned()),
        }
        Ok(())
    }

    fn network_command(&mut self, words: &[&str]) -> Done {
        let mut nodes = Vec::new();
        for name in &words[1..] {
            nodes.push(self.node(name)?);
        }
        match words[0] {
            "isolate" => self.world.partition(&nodes, true, true),
            "mute" => self.world.partition(&nodes, true, false),
            "deafen" => self.world.partition(&nodes, false, true),
            "block" => {
                let [a, b] = nodes[..] else {
                    return Err("block two nodes".to_owned());
                };
                self.world.net.set_blocked(a, b, true);
                self.world.net.set_blocked(b, a, true);
            }
            "heal" => self.world.heal(),
            _ => {
                for id in nodes {
                    self.world.cut(id);
                }
            }
        }
        Ok(())
    }

    fn operator_command(&mut self, words: &[&str]) -> Done {
        let id = self.node(words.get(1).ok_or("whom?")?)?;
        let arrival = match words {
            ["failover", _, name] => Arrival::Operator(Operator::Failover(MasterName::from(*name))),
            ["reset", _, name] => Arrival::Operator(Operator::Reset(vec![MasterName::from(*name)])),
            ["pause", _, name, rest @ ..] => Arrival::Operator(Operator::Pause {
                name: MasterName::from(*name),
                length: match rest {
                    [] => None,
                    [time, ..] => Some(Duration::from_millis(ms(time)?)),
                },
                forwarded: false,
            }),
            ["unpause", _, name] => Arrival::Operator(Operator::Resume {
                name: MasterName::from(*name),
                forwarded: false,
            }),
            ["forget", _, name, whom] => {
                let addr = self.world.nodes[self.node(whom)?].addr;
                Arrival::Operator(Operator::Forget {
                    name: MasterName::from(*name),
                    addr: Addr::numeric(addr.ip(), addr.port()),
                })
            }
            ["simulate", _, flag] => Arrival::Operator(Operator::SimulateFailure {
                after_election: *flag == "after-election",
                after_promotion: *flag == "after-promotion",
            }),
            ["publish", _, payload] => Arrival::Published(self.with_ids(payload)),
            ["ask", _, host, port, epoch, candidate] => {
                let request = Request::AskMasterDown {
                    host: (*host).into(),
                    port: u16::try_from(number(port)?).map_err(|_| "no such port")?,
                    epoch: Epoch(number(epoch)?),
                    candidate: Some(SentinelId::from(&*self.with_ids(candidate))),
                };
                let conn = self.world.client_of(id);
                Arrival::Packet {
                    conn,
                    end: crate::net::SERVER,
                    packet: Packet::Request(Box::new(request)),
                }
            }
            _ => return Err("wrong words".to_owned()),
        };
        self.world.arrive(id, arrival);
        Ok(())
    }

    /// `{s1}` stands for the id of s1.
    fn with_ids(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for node in &self.world.nodes {
            let id = match &node.body {
                Body::Ours(ours) => ours.id.as_ref(),
                Body::Real(real) => Some(&real.id),
                Body::Server(_) => None,
            };
            if let Some(id) = id {
                text = text.replace(&format!("{{{}}}", node.name), id.as_str());
            }
        }
        text
    }

    fn server_command(&mut self, words: &[&str]) -> Done {
        let id = self.node(words.get(1).ok_or("which?")?)?;
        let now = self.world.now();
        let server = self.world.server_mut(id);
        match words {
            ["slaveof", _, "none"] => {
                server.slave_of(now, None);
            }
            ["slaveof", _, host, port] => {
                let port = u16::try_from(number(port)?).map_err(|_| "no such port")?;
                server.slave_of(now, Some(((*host).to_owned(), port)));
            }
            ["offset", _, offset] => server.offset = number(offset)?,
            ["priority", _, priority] => server.priority = small(priority)?,
            ["password", _, password] => {
                server.password = Some((*password).to_owned());
                for client in server.clients.values_mut() {
                    client.is_authenticated = false;
                }
            }
            ["loading", _, time] => server.loading_until = now + ms(time)?,
            _ => return Err("wrong words".to_owned()),
        }
        Ok(())
    }

    fn judge(&self, words: &[&str]) -> Done {
        match words {
            ["agree", name, server] => {
                let group = self.world.group_named(name).ok_or("no such master")?;
                let addr = self.world.nodes[self.node(server)?].addr;
                for id in self.world.sentinels() {
                    let said = self.world.master_addr(id, group);
                    if said.is_some() && said != Some(addr) {
                        return Err(format!("{} names {said:?}", self.world.nodes[id].name));
                    }
                }
                Ok(())
            }
            ["waiting", server, most] => {
                let id = self.node(server)?;
                let waiting = self.world.nodes[id].inbox.len() as u64;
                if waiting > number(most)? {
                    return Err(format!("{waiting} messages wait for {server}"));
                }
                Ok(())
            }
            ["knows", who, name, replicas, "replicas", peers, "sentinels"] => {
                let Body::Ours(ours) = &self.world.nodes[self.node(who)?].body else {
                    return Err(format!("{who} is none of ours"));
                };
                let core = ours.core.as_ref().ok_or("it does not run")?;
                let durable = core.durable();
                let mut masters = durable.masters.iter();
                let known = masters.find(|known| known.name.as_str() == *name);
                let known = known.ok_or("no such master")?;
                let found = (known.replicas.len() as u64, known.peers.len() as u64);
                if found != (number(replicas)?, number(peers)?) {
                    return Err(format!("it knows {found:?}"));
                }
                Ok(())
            }
            ["expect", "within", time, who, text @ ..] => {
                let end = self.marked_at + ms(time)?;
                self.expect(who, &text.join(" "), end)
            }
            ["expect", who, text @ ..] => self.expect(who, &text.join(" "), u64::MAX),
            ["forbid", who, text @ ..] => self.at_most(0, who, &text.join(" ")),
            ["most", count, who, text @ ..] => self.at_most(number(count)?, who, &text.join(" ")),
            _ => Err("wrong words".to_owned()),
        }
    }

    fn expect(&self, who: &str, text: &str, end: u64) -> Done {
        let whose: Vec<String> = match who {
            "all" => {
                let sentinels = self.world.sentinels();
                let names = sentinels
                    .iter()
                    .map(|id| self.world.nodes[*id].name.clone());
                names.collect()
            }
            who => vec![who.to_owned()],
        };
        for who in whose {
            let found = self.matching(&who, text).into_iter().min();
            match found {
                Some(at) if at <= end => {}
                Some(at) => return Err(format!("{who}: only at {at} ms, not by {end} ms")),
                None => return Err(format!("{who}: no line holds {text:?}")),
            }
        }
        Ok(())
    }

    fn at_most(&self, count: u64, who: &str, text: &str) -> Done {
        let found = self.matching(who, text).len() as u64;
        if found > count {
            return Err(format!("{found} lines of {who} hold {text:?}"));
        }
        Ok(())
    }

    /// When the lines of `who` were written that hold `text`.
    fn matching(&self, who: &str, text: &str) -> Vec<u64> {
        let mut times = Vec::new();
        for line in self.world.trace.lines() {
            let mut words = line.trim_start().splitn(3, ' ');
            let (time, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let rest = words.next().unwrap_or("");
            if name != ">" && (who == "any" || who == name) && rest.contains(text) {
                times.push(time.replace('.', "").parse().unwrap_or(0));
            }
        }
        times
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn small(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn ms(text: &str) -> Result<u64, String> {
    if let Some(ms) = text.strip_suffix("ms") {
        return number(ms);
    }
    let seconds = text.strip_suffix('s').ok_or("a time ends in s or ms")?;
    Ok(number(seconds)? * 1000)
}
