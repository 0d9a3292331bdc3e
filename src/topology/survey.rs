//! A look at a running set from outside, through the public commands of its members.

mod table;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use serde::Serialize;

use super::access::{Access, Address, first_line, in_time};
use crate::sentinel::core::{PAUSE_SAME_END, PausedUntil};
pub use table::tone_of;

/// How many members are asked at the same time.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// The field-value list in which sentinels describe an instance.
pub type Fields = HashMap<String, String>;

/// What a set looks like.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Survey {
    /// The sentinel that was asked.
    pub asked: String,
    /// True if nothing is wrong anywhere.
    pub ok: bool,
    /// The worst of the masters' states; [`Health::NoMaster`] if there are none.
    pub state: Health,
    /// Its masters, each with replicas and sentinels.
    pub masters: Vec<Group>,
}

/// How a master and its group are.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing is wrong.
    Ok,
    /// The master works; something else is down, or the sentinels disagree.
    Degraded,
    /// The master is down, or not known.
    NoMaster,
}

/// A master, its replicas and its sentinels.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Group {
    /// The name under which the master is monitored.
    pub name: String,
    /// Where the master is.
    pub address: String,
    /// How many sentinels must agree that it is down.
    pub quorum: u32,
    /// How it is.
    pub state: Health,
    /// Automatic failovers are paused, by the sentinel that was asked or by another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
    /// What is as somebody wanted it and should not be overlooked, one sentence each.
    pub notes: Vec<String>,
    /// The master, its replicas, the sentinels.
    pub members: Vec<Member>,
}

/// Until when automatic failovers of a master are paused, and where.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Paused {
    /// When the last of them ends by itself, milliseconds since the Unix epoch; absent: by `SENTINEL RESUME` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// The sentinels that say so.
    pub sentinels: Vec<String>,
    /// How many sentinels are known.
    pub known: usize,
    /// How many of them have not said whether it is so.
    #[serde(skip)]
    silent: usize,
    /// Whether all pauses end together; else `until_ms` is the last end.
    #[serde(skip)]
    is_one_end: bool,
}

/// One process.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Member {
    /// `master`, `replica` or `sentinel`.
    pub role: &'static str,
    /// Where it listens.
    pub address: String,
    /// The run id of a data server, the permanent id of a sentinel.
    pub id: String,
    /// Its process id on its machine, if it tells us.
    pub pid: Option<u32>,
    /// `ok`, what is wrong with it, or that it only observes.
    pub state: String,
    /// Of a replica: how many bytes of the master's stream it has not acknowledged, by the master.
    #[serde(rename = "lag_bytes")]
    pub lag: Option<u64>,
    /// Its log file, if it tells us and has one.
    pub log: Option<String>,
}

/// Asks the first of `sentinels` that answers, and knows `master` if one is named, and then everyone it
/// knows.
///
/// # Errors
/// None answers; each is listed with its reason.
pub async fn survey(
    access: &Access,
    sentinels: &[Address],
    master: Option<&str>,
) -> Result<Survey, Unanswered> {
    let mut reasons = Vec::new();
    for address in sentinels {
        match ask_sentinel(access, address, master).await {
            Ok(view) => return Ok(complete(access, address, view).await),
            Err(error) => reasons.push(format!("{address}: {}", first_line(&error))),
        }
    }
    Err(Unanswered(reasons))
}

/// No sentinel could be asked.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", if self.is_unknown_master() { "no sentinel knows it" } else { "no sentinel answers" }, .0.join("; "))]
pub struct Unanswered(Vec<String>);

impl Unanswered {
    /// Whether a sentinel did answer, and does not know the master.
    fn is_unknown_master(&self) -> bool {
        self.0.iter().any(|reason| reason.contains(NO_SUCH_MASTER))
    }
}

/// What a sentinel says of a master that it does not watch.
pub const NO_SUCH_MASTER: &str = "No such master with that name";

/// What one sentinel says about one master.
struct MasterView {
    master: Fields,
    replicas: Vec<Fields>,
    peers: Vec<Fields>,
    no_quorum: Option<String>,
}

/// Every master, or the one that is named, as one sentinel sees it.
async fn ask_sentinel(
    access: &Access,
    address: &Address,
    master: Option<&str>,
) -> RedisResult<Vec<MasterView>> {
    let mut sentinel = access.connect(address).await?;
    let masters: Vec<Fields> = match master {
        None => {
            let all = sentinel_command("MASTERS", None);
            all.query_async(&mut sentinel).await?
        }
        Some(_) => {
            let one = sentinel_command("MASTER", master);
            vec![one.query_async(&mut sentinel).await?]
        }
    };
    let mut views = Vec::with_capacity(masters.len());
    for master in masters {
        views.push(ask_about(&mut sentinel, master).await?);
    }
    Ok(views)
}

/// The rest of what a sentinel says about a master.
async fn ask_about(
    sentinel: &mut MultiplexedConnection,
    master: Fields,
) -> RedisResult<MasterView> {
    let name = field(&master, "name");
    let about = |subcommand| sentinel_command(subcommand, Some(name));
    let replicas = about("SLAVES").query_async(sentinel).await?;
    let peers = about("SENTINELS").query_async(sentinel).await?;
    let quorum: RedisResult<String> = about("CKQUORUM").query_async(sentinel).await;
    Ok(MasterView {
        replicas,
        peers,
        no_quorum: quorum.err().map(|error| first_line(&error)),
        master,
    })
}

/// What `INFO-CACHE` tells of a master: its name, and age and text of each INFO, its own first.
type Cached = (String, Vec<(u64, Option<String>)>);

/// One master as one sentinel sees it, through a connection to that sentinel alone: its other members are
/// not asked, so there are no pids and logs, and the lag is as old as the sentinel's last INFO.
///
/// # Errors
/// The sentinel does not answer, or does not know the master.
pub async fn glance(
    sentinel: &mut MultiplexedConnection,
    asked: &Address,
    name: &str,
) -> RedisResult<Group> {
    let master = sentinel_command("MASTER", Some(name));
    let master: Fields = master.query_async(sentinel).await?;
    let view = ask_about(sentinel, master).await?;
    let cached = sentinel_command("INFO-CACHE", Some(name));
    // One that does not know the command tells no lags.
    let cached: RedisResult<Vec<Cached>> = cached.query_async(sentinel).await;
    let info = cached.ok().and_then(|masters| {
        let (_, infos) = masters.into_iter().next()?;
        infos.into_iter().next()?.1
    });
    let master = address_of(&view.master);
    let agrees = Look {
        masters: BTreeMap::from([(name.to_owned(), master.clone())]),
        ..Look::default()
    };
    let mut looks = BTreeMap::from([(asked.clone(), agrees.clone())]);
    looks.extend(
        view.peers
            .iter()
            .map(|peer| (address_of(peer), agrees.clone())),
    );
    let look = Look {
        lags: lags(&info.unwrap_or_default()),
        error: flag_state(&view.master).map(|state| state.as_str().to_owned()),
        ..Look::default()
    };
    looks.insert(master, look);
    Ok(group(asked, &view, &looks))
}

/// A master in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// `ok`, or what its sentinel complains about; `paused` where it is that and well.
    pub state: &'static str,
    /// Known replicas.
    pub replicas: u32,
    /// Known sentinels, the one that was asked among them.
    pub sentinels: u32,
    /// How many must agree that it is down.
    pub quorum: u32,
    /// The epoch of its configuration.
    pub epoch: u64,
}

/// All masters of a sentinel, by name.
///
/// # Errors
/// It does not answer.
pub async fn summaries(sentinel: &mut MultiplexedConnection) -> RedisResult<Vec<Summary>> {
    let all = sentinel_command("MASTERS", None);
    let masters: Vec<Fields> = all.query_async(sentinel).await?;
    let mut summaries: Vec<Summary> = masters.iter().map(summary).collect();
    summaries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(summaries)
}

fn summary(master: &Fields) -> Summary {
    let number = |name| field(master, name).parse().unwrap_or(0_u32);
    Summary {
        name: field(master, "name").to_owned(),
        address: address_of(master).to_string(),
        state: match (flag_state(master), paused(master)) {
            (Some(flagged), _) => flagged.as_str(),
            (None, Some(_)) => PAUSED,
            (None, None) => OK,
        },
        replicas: number("num-slaves"),
        sentinels: number("num-other-sentinels").saturating_add(1),
        quorum: number("quorum"),
        epoch: field(master, "config-epoch").parse().unwrap_or(0),
    }
}

/// `SENTINEL <subcommand> [<master>]`.
pub fn sentinel_command(subcommand: &str, master: Option<&str>) -> redis::Cmd {
    let mut command = redis::cmd("SENTINEL");
    command.arg(subcommand).arg(master);
    command
}

/// A field, empty if it is missing.
pub fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map_or("", String::as_str)
}

fn address_of(fields: &Fields) -> Address {
    Address {
        host: field(fields, "ip").to_owned(),
        port: field(fields, "port").parse().unwrap_or(0),
    }
}

/// Asks every member that the sentinel knows, and puts all together.
async fn complete(access: &Access, asked: &Address, views: Vec<MasterView>) -> Survey {
    let mut addresses = BTreeSet::from([asked.clone()]);
    for view in &views {
        let instances = view
            .replicas
            .iter()
            .chain(&view.peers)
            .chain([&view.master]);
        addresses.extend(instances.map(address_of));
    }
    let looks: BTreeMap<Address, Look> = stream::iter(addresses)
        .map(|address| async {
            let look = look_at(access, &address).await;
            (address, look)
        })
        .buffer_unordered(CONNECTIONS_MAX)
        .collect()
        .await;
    let masters: Vec<Group> = views
        .iter()
        .map(|view| group(asked, view, &looks))
        .collect();
    Survey {
        asked: asked.to_string(),
        ok: !masters.is_empty() && masters.iter().all(|group| group.problems.is_empty()),
        state: worst(&masters),
        masters,
    }
}

fn worst(masters: &[Group]) -> Health {
    let states = masters.iter().map(|group| group.state);
    states.max().unwrap_or(Health::NoMaster)
}

/// What a member says about itself.
#[derive(Clone, Default)]
struct Look {
    id: Option<String>,
    pid: Option<u32>,
    log: Option<String>,
    /// Of a sentinel: where it believes each master to be.
    masters: BTreeMap<String, Address>,
    /// Of a sentinel: whether, and until when, it has paused the automatic failovers of each master.
    pauses: BTreeMap<String, Option<PausedUntil>>,
    /// Of a sentinel: it takes part in nothing.
    only_observes: bool,
    /// Of a master: how far behind each replica is.
    lags: BTreeMap<Address, u64>,
    error: Option<String>,
}

async fn look_at(access: &Access, address: &Address) -> Look {
    let mut look = Look::default();
    // All of it: of many members, one that dawdles must not hold up what is shown of the others.
    let filled = in_time(
        access.timeout.saturating_mul(2),
        fill_look(access, address, &mut look),
    )
    .await;
    if let Err(error) = filled {
        look.error = Some(first_line(&error));
    }
    look
}

async fn fill_look(access: &Access, address: &Address, look: &mut Look) -> RedisResult<()> {
    let mut member = access.connect(address).await?;
    let server = info(&mut member, "server").await?;
    let info_of = |name: &str| info_field(&server, name).map(str::to_owned);
    look.pid = info_of("process_id").and_then(|pid| pid.parse().ok());
    if info_of("redis_mode").as_deref() == Some("sentinel") {
        look.id = sentinel_command("MYID", None)
            .query_async(&mut member)
            .await?;
        let masters: Vec<Fields> = sentinel_command("MASTERS", None)
            .query_async(&mut member)
            .await?;
        let name = |master| field(master, "name").to_owned();
        look.masters = masters.iter().map(|m| (name(m), address_of(m))).collect();
        look.pauses = masters.iter().map(|m| (name(m), paused(m))).collect();
        let sentinel = info(&mut member, "sentinel").await?;
        look.only_observes = info_field(&sentinel, "sentinel_observe_only") == Some("1");
        // A sentinel has no CONFIG GET; its file can be read if it is on this machine.
        let file = info_of("config_file").filter(|_| address.is_this_machine());
        look.log = file.and_then(|file| log_named_in(&std::fs::read_to_string(file).ok()?));
    } else {
        look.id = info_of("run_id");
        let replication = info(&mut member, "replication").await;
        look.lags = lags(&replication.unwrap_or_default());
        let log: RedisResult<Vec<String>> = redis::cmd("CONFIG")
            .arg("GET")
            .arg("logfile")
            .query_async(&mut member)
            .await;
        look.log = log
            .ok()
            .and_then(|log| log.into_iter().nth(1))
            .filter(|log| !log.is_empty());
    }
    Ok(())
}

/// A section of what a member says about itself.
async fn info(member: &mut MultiplexedConnection, section: &str) -> RedisResult<String> {
    redis::cmd("INFO").arg(section).query_async(member).await
}

/// A field of `INFO`.
fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// How many bytes each replica has not acknowledged, by the `INFO replication` of their master.
fn lags(info: &str) -> BTreeMap<Address, u64> {
    let lines = || info.lines().filter_map(|line| line.split_once(':'));
    let offset = lines().find(|(name, _)| *name == "master_repl_offset");
    let Some(offset) = offset.and_then(|(_, value)| value.trim().parse::<u64>().ok()) else {
        return BTreeMap::new();
    };
    let replica = |(name, value): (&str, &str)| {
        let number = name.strip_prefix("slave")?;
        number.parse::<u32>().ok()?;
        let part = |key: &str| {
            let mut parts = value
                .trim()
                .split(',')
                .filter_map(|part| part.split_once('='));
            parts.find_map(|(name, value)| (name == key).then_some(value))
        };
        let address = Address {
            host: part("ip")?.to_owned(),
            port: part("port")?.parse().ok()?,
        };
        Some((
            address,
            offset.saturating_sub(part("offset")?.parse().ok()?),
        ))
    };
    lines().filter_map(replica).collect()
}

/// The value of the last `logfile` line of a configuration.
fn log_named_in(config: &str) -> Option<String> {
    let line = config
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("logfile "))?;
    let value = line.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.replace(r#"\""#, "\"").replace(r"\\", r"\"))
}

fn group(asked: &Address, view: &MasterView, looks: &BTreeMap<Address, Look>) -> Group {
    let name = field(&view.master, "name").to_owned();
    let address = address_of(&view.master);
    let member = |role, fields: &Fields, state: String| {
        let address = address_of(fields);
        let look = looks.get(&address);
        let id = look.and_then(|look| look.id.clone());
        Member {
            role,
            address: address.to_string(),
            id: id.unwrap_or_else(|| field(fields, "runid").to_owned()),
            pid: look.and_then(|look| look.pid),
            state,
            lag: None,
            log: look.and_then(|look| look.log.clone()),
        }
    };
    let lag = |replica: &Fields| looks.get(&address)?.lags.get(&address_of(replica)).copied();
    let sentinel_state = |at: &Address| {
        let Some(look) = looks.get(at) else {
            return "unknown".to_owned();
        };
        match (&look.error, look.masters.get(&name)) {
            (Some(error), _) => error.clone(),
            (None, None) => format!("does not monitor {name}"),
            (None, Some(believed)) if *believed != address => format!("says {believed}"),
            (None, Some(_)) if look.only_observes => OBSERVES.to_owned(),
            (None, Some(_)) => OK.to_owned(),
        }
    };
    let mut members = vec![member(
        "master",
        &view.master,
        server_state(&view.master, None),
    )];
    let mut replicas: Vec<&Fields> = view.replicas.iter().collect();
    replicas.sort_by_key(|fields| address_of(fields));
    members.extend(replicas.into_iter().map(|fields| {
        let state = server_state(fields, Some(field(fields, "master-link-status")));
        Member {
            lag: lag(fields),
            ..member("replica", fields, state)
        }
    }));
    let mut sentinels = vec![(
        asked.clone(),
        Member {
            address: asked.to_string(),
            ..member("sentinel", &own_fields(asked), sentinel_state(asked))
        },
    )];
    sentinels.extend(view.peers.iter().map(|fields| {
        let at = address_of(fields);
        let state = match flag_state(fields) {
            Some(state) => state.as_str().to_owned(),
            None => sentinel_state(&at),
        };
        (at, member("sentinel", fields, state))
    }));
    sentinels.sort_by(|a, b| a.0.cmp(&b.0));
    let told = sentinels.iter().filter_map(|(at, _)| {
        let told = if at == asked {
            Some(paused(&view.master))
        } else {
            looks.get(at)?.pauses.get(&name).copied()
        };
        Some((at, told))
    });
    let paused = Paused::of(told);
    members.extend(sentinels.into_iter().map(|(_, member)| member));
    let is_fine = |member: &&Member| [OK, OBSERVES].contains(&member.state.as_str());
    let bad = members.iter().filter(|member| !is_fine(member));
    let mut problems: Vec<String> = bad
        .map(|bad| format!("{} {}: {}", bad.role, bad.address, bad.state))
        .collect();
    problems.extend(view.no_quorum.clone());
    let is_reached = looks.get(&address).is_some_and(|look| look.error.is_none());
    let state = match flag_state(&view.master) {
        Some(Flagged::Down) => Health::NoMaster,
        Some(Flagged::Disconnected) if !is_reached => Health::NoMaster,
        Some(_) => Health::Degraded,
        None if problems.is_empty() => Health::Ok,
        None => Health::Degraded,
    };
    Group {
        name,
        state,
        paused,
        address: address.to_string(),
        quorum: field(&view.master, "quorum").parse().unwrap_or(0),
        problems,
        notes: notes(&members),
        members,
    }
}

fn notes(members: &[Member]) -> Vec<String> {
    let observers = members.iter().filter(|member| member.state == OBSERVES);
    let note = |member: &Member| {
        format!(
            "sentinel {} only observes, and is not counted",
            member.address
        )
    };
    observers.map(note).collect()
}

/// Until when a sentinel has paused the automatic failovers of a master; `None`: it has not.
fn paused(master: &Fields) -> Option<PausedUntil> {
    let until = field(master, "paused-until").parse().ok()?;
    Some(PausedUntil::from_number(until))
}

impl Paused {
    /// Of what the known sentinels have said, or have not (`None`); the longest pause counts. `None`: no sentinel has
    /// paused.
    fn of<'a>(
        told: impl Iterator<Item = (&'a Address, Option<Option<PausedUntil>>)>,
    ) -> Option<Paused> {
        let (mut known, mut silent) = (0, 0);
        let (mut sentinels, mut ends) = (Vec::new(), Vec::new());
        for (at, until) in told {
            known += 1;
            silent += usize::from(until.is_none());
            if let Some(until) = until.flatten() {
                sentinels.push(at.to_string());
                ends.push(match until {
                    PausedUntil::Resumed => None,
                    PausedUntil::At(at) => Some(at.0),
                });
            }
        }
        // They are told the time that is left, each a moment after the other.
        let is_one_end = ends.windows(2).all(|two| match (two[0], two[1]) {
            (Some(one), Some(other)) => {
                Duration::from_millis(one.abs_diff(other)) <= PAUSE_SAME_END
            }
            (one, other) => one == other,
        });
        let last = ends
            .into_iter()
            .reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)));
        last.map(|until_ms| Paused {
            until_ms,
            sentinels,
            known,
            silent,
            is_one_end,
        })
    }
}

/// The state of a member with which nothing is wrong.
const OK: &str = "ok";
/// The state of a master with which nothing is wrong, and whose automatic failovers are paused.
const PAUSED: &str = "paused";
/// The state of a sentinel that takes part in nothing.
const OBSERVES: &str = "observes";

fn own_fields(address: &Address) -> Fields {
    Fields::from([
        ("ip".to_owned(), address.host.clone()),
        ("port".to_owned(), address.port.to_string()),
    ])
}

/// What the flags of an instance complain about first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flagged {
    /// Subjectively or objectively down.
    Down,
    /// Its sentinel has no connection to it.
    Disconnected,
    /// It is being replaced.
    FailoverInProgress,
}

impl Flagged {
    /// In words.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Flagged::Down => "down",
            Flagged::Disconnected => "disconnected",
            Flagged::FailoverInProgress => "failover in progress",
        }
    }
}

/// The first thing that the flags of an instance complain about.
pub(super) fn flag_state(fields: &Fields) -> Option<Flagged> {
    let flags: Vec<&str> = field(fields, "flags").split(',').collect();
    let has = |flag| flags.contains(&flag);
    if has("o_down") || has("s_down") {
        Some(Flagged::Down)
    } else if has("disconnected") {
        Some(Flagged::Disconnected)
    } else if has("failover_in_progress") {
        Some(Flagged::FailoverInProgress)
    } else {
        None
    }
}

/// `link`: the state of a replica's link to its master.
fn server_state(fields: &Fields, link: Option<&str>) -> String {
    match (flag_state(fields), link) {
        (Some(state), _) => state.as_str().to_owned(),
        (None, Some(link)) if link != OK => "no link to its master".to_owned(),
        (None, _) => OK.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::topology::{Paint, Tone};

    pub(in crate::topology) fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn instance(port: &str, flags: &str, link: &str) -> Fields {
        fields(&[
            ("name", "m"),
            ("ip", "127.0.0.1"),
            ("port", port),
            ("runid", "0123456789abcdef"),
            ("flags", flags),
            ("quorum", "2"),
            ("master-link-status", link),
        ])
    }

    fn at(port: u16) -> Address {
        Address::parse(&format!("127.0.0.1:{port}")).unwrap()
    }

    /// A look at a sentinel that believes the master to be at `master`.
    fn sentinel_look(master: u16) -> Look {
        Look {
            masters: BTreeMap::from([("m".to_owned(), at(master))]),
            ..Look::default()
        }
    }

    fn seen(replica_link: &str, peer_believes: u16) -> Group {
        let view = MasterView {
            master: instance("6379", "master", ""),
            replicas: vec![instance("6380", "slave", replica_link)],
            peers: vec![instance("26380", "sentinel", "")],
            no_quorum: None,
        };
        let looks = BTreeMap::from([
            (at(26379), sentinel_look(6379)),
            (at(26380), sentinel_look(peer_believes)),
        ]);
        group(&at(26379), &view, &looks)
    }

    #[test]
    fn a_healthy_set_has_no_problems() {
        let group = seen("ok", 6379);
        assert!(group.problems.is_empty(), "{:?}", group.problems);
        let roles: Vec<&str> = group.members.iter().map(|member| member.role).collect();
        assert_eq!(roles, ["master", "replica", "sentinel", "sentinel"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let group = seen("err", 6380);
        assert_eq!(
            group.problems,
            [
                "replica 127.0.0.1:6380: no link to its master",
                "sentinel 127.0.0.1:26380: says 127.0.0.1:6380"
            ]
        );
    }

    #[test]
    fn a_master_that_is_down_is_no_master() {
        let state = |flags: &str| {
            let view = MasterView {
                master: instance("6379", flags, ""),
                replicas: Vec::new(),
                peers: Vec::new(),
                no_quorum: None,
            };
            let reached = BTreeMap::from([(at(6379), Look::default())]);
            let alone = group(&at(26379), &view, &BTreeMap::new()).state;
            (alone, group(&at(26379), &view, &reached).state)
        };
        let (down, degraded) = (Health::NoMaster, Health::Degraded);
        assert_eq!(state("master,s_down,o_down"), (down, down));
        assert_eq!(state("master,disconnected"), (down, degraded));
        assert_eq!(state("master,failover_in_progress"), (degraded, degraded));
        assert_eq!(worst(&[]), Health::NoMaster);
        assert_eq!(worst(&[seen("ok", 6379), seen("err", 6379)]), degraded);
    }

    #[test]
    fn a_pause_is_told_and_is_no_problem() {
        let mut master = instance("6379", "master,paused", "");
        assert_eq!(summary(&master).state, "ok");
        master.insert("paused-until".to_owned(), "0".to_owned());
        assert_eq!(summary(&master).state, "paused");
        assert_eq!(tone_of("paused"), Tone::Warn);
        let view = MasterView {
            master,
            replicas: Vec::new(),
            peers: Vec::new(),
            no_quorum: None,
        };
        let looks = BTreeMap::from([(at(26379), sentinel_look(6379))]);
        let group = group(&at(26379), &view, &looks);
        assert_eq!(group.state, Health::Ok);
        let table = group.table(Paint::OFF);
        let told = "\nautomatic failovers are paused until SENTINEL RESUME\n";
        assert!(table.ends_with(told), "{table}");
    }

    /// One that was not passed on, or to none but others, is told of wherever one asks.
    #[test]
    fn a_pause_is_told_with_where_it_holds() {
        #[track_caller]
        fn check(told: &[(u16, Option<u64>)], silent: &[u16], expected: Option<&str>) {
            let told = told
                .iter()
                .map(|(port, until)| (*port, Some(until.map(PausedUntil::from_number))));
            let (ports, told): (Vec<u16>, Vec<_>) =
                told.chain(silent.iter().map(|port| (*port, None))).unzip();
            let addresses: Vec<_> = ports.into_iter().map(at).collect();
            let group = Group {
                paused: Paused::of(addresses.iter().zip(told)),
                ..seen("ok", 6379)
            };
            assert_eq!(group.paused_line().as_deref(), expected);
        }
        check(&[(1, None), (2, None)], &[3], None);
        let day = "automatic failovers are paused until 1970-01-02T00:00:00Z";
        check(
            &[(1, None), (2, Some(86_400_000)), (3, Some(1000))],
            &[],
            Some(&format!(
                "{day} at the latest, on 2 of 3 sentinels: 127.0.0.1:2, 127.0.0.1:3"
            )),
        );
        check(
            &[(1, Some(86_400_000))],
            &[2, 3],
            Some(&format!(
                "{day}, on 1 of 3 sentinels (2 did not answer): 127.0.0.1:1"
            )),
        );
        check(
            &[(1, Some(86_400_000)), (2, Some(86_400_000 - 20))],
            &[],
            Some(&format!("{day}, on all 2 sentinels")),
        );
        let line = "automatic failovers are paused until SENTINEL RESUME, on all 2 sentinels";
        check(&[(1, Some(0)), (2, Some(0))], &[], Some(line));
        let told = [(&at(1), Some(Some(PausedUntil::from_number(7))))];
        let paused = Paused::of(told.into_iter());
        let json = serde_json::to_value(paused).unwrap();
        let expected = serde_json::json!({"until_ms": 7, "sentinels": ["127.0.0.1:1"], "known": 1});
        assert_eq!(json, expected);
    }

    #[test]
    fn lags_are_those_that_the_master_tells() {
        let info = "role:master\r\nslave0:ip=::1,port=6380,state=online,offset=90,lag=0\r\n\
                    slave1:ip=h,port=1,state=online,offset=101,lag=1\r\nmaster_repl_offset:100\r\n\
                    slave_read_repl_offset:3\r\n";
        let found: Vec<(String, u64)> = lags(info)
            .into_iter()
            .map(|(address, lag)| (address.to_string(), lag))
            .collect();
        assert_eq!(
            found,
            [("[::1]:6380".to_owned(), 10), ("h:1".to_owned(), 0)]
        );
        assert!(lags("role:slave\r\n").is_empty());
    }

    #[test]
    fn the_table_lines_up() {
        let survey = Survey {
            asked: "127.0.0.1:26379".to_owned(),
            ok: true,
            state: Health::Ok,
            masters: vec![seen("ok", 6379)],
        };
        let table = survey.table(Paint::OFF);
        let state = table
            .lines()
            .nth(1)
            .and_then(|head| head.find("STATE"))
            .unwrap();
        for row in table.lines().skip(2) {
            assert_eq!(&row[state..state + 2], "ok", "{table}");
        }
        assert!(table.starts_with("m: master 127.0.0.1:6379, quorum 2 of 2 sentinels\n"));
    }

    #[test]
    fn the_log_is_the_last_one_named() {
        let config = "logfile \"\"\nport 1\nlogfile \"/a b/log\"\n";
        assert_eq!(log_named_in(config).as_deref(), Some("/a b/log"));
        assert_eq!(log_named_in("logfile \"\"\n"), None);
    }
}
