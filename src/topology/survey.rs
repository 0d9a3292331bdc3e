//! A look at a running set from outside, through the public commands of its members.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult,
};
use serde::Serialize;

/// How many members are asked at the same time.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// How to reach the members of a set.
#[derive(Clone, Debug)]
pub struct Access {
    /// User name; `None` is the default user.
    pub user: Option<String>,
    /// Password, offered to everyone.
    pub password: Option<String>,
    /// For connecting, and for each answer.
    pub timeout: Duration,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// IP address or name.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// Reads `HOST:PORT`; an IPv6 host may stand in brackets.
    pub fn parse(text: &str) -> Option<Address> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Address {
            host: host.to_owned(),
            port,
        })
    }

    fn is_this_machine(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The field-value list in which sentinels describe an instance.
pub(super) type Fields = HashMap<String, String>;

/// What a set looks like.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Survey {
    /// The sentinel that was asked.
    pub asked: String,
    /// True if nothing is wrong anywhere.
    pub ok: bool,
    /// Its masters, each with replicas and sentinels.
    pub masters: Vec<Group>,
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
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
    /// The master, its replicas, the sentinels.
    pub members: Vec<Member>,
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
    /// `ok`, or what is wrong with it.
    pub state: String,
    /// Its log file, if it tells us and has one.
    pub log: Option<String>,
}

impl Access {
    /// Connects to one member, with the password if it wants one.
    ///
    /// # Errors
    /// It cannot be reached in time, or refuses the password.
    pub async fn connect(&self, to: &Address) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let with_password = self.client(to, true)?;
        match with_password
            .get_multiplexed_async_connection_with_config(&config)
            .await
        {
            // It may have no password; then offering one is an error.
            Err(error) if self.password.is_some() && !error.is_io_error() => {
                let without = self.client(to, false)?;
                without
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
            }
            result => result,
        }
    }

    /// A client for one member, not yet connected.
    ///
    /// # Errors
    /// The address makes no sense.
    pub fn client(&self, to: &Address, with_password: bool) -> RedisResult<Client> {
        let mut settings = RedisConnectionInfo::default();
        if let Some(password) = self.password.as_ref().filter(|_| with_password) {
            settings = settings.set_password(password);
            if let Some(user) = &self.user {
                settings = settings.set_username(user);
            }
        }
        let address = ConnectionAddr::Tcp(to.host.clone(), to.port);
        Client::open(address.into_connection_info()?.set_redis_settings(settings))
    }
}

/// Asks the first of `sentinels` that answers, and then everyone it knows.
///
/// # Errors
/// None answers; each is listed with its reason.
pub async fn survey(access: &Access, sentinels: &[Address]) -> Result<Survey, Unanswered> {
    let mut reasons = Vec::new();
    for address in sentinels {
        match ask_sentinel(access, address).await {
            Ok(view) => return Ok(complete(access, address, view).await),
            Err(error) => reasons.push(format!("{address}: {}", first_line(&error))),
        }
    }
    Err(Unanswered(reasons))
}

/// No sentinel could be asked.
#[derive(Debug, thiserror::Error)]
#[error("no sentinel answers: {}", .0.join("; "))]
pub struct Unanswered(Vec<String>);

/// What one sentinel says about one master.
struct MasterView {
    master: Fields,
    replicas: Vec<Fields>,
    peers: Vec<Fields>,
    no_quorum: Option<String>,
}

/// Every master as one sentinel sees it.
async fn ask_sentinel(access: &Access, address: &Address) -> RedisResult<Vec<MasterView>> {
    let mut sentinel = access.connect(address).await?;
    let masters: Vec<Fields> = sentinel_command("MASTERS", None)
        .query_async(&mut sentinel)
        .await?;
    let mut views = Vec::with_capacity(masters.len());
    for master in masters {
        let name = field(&master, "name");
        let about = |subcommand| sentinel_command(subcommand, Some(name));
        let replicas = about("SLAVES").query_async(&mut sentinel).await?;
        let peers = about("SENTINELS").query_async(&mut sentinel).await?;
        let quorum: RedisResult<String> = about("CKQUORUM").query_async(&mut sentinel).await;
        views.push(MasterView {
            replicas,
            peers,
            no_quorum: quorum.err().map(|error| first_line(&error)),
            master,
        });
    }
    Ok(views)
}

/// `SENTINEL <subcommand> [<master>]`.
pub(super) fn sentinel_command(subcommand: &str, master: Option<&str>) -> redis::Cmd {
    let mut command = redis::cmd("SENTINEL");
    command.arg(subcommand).arg(master);
    command
}

/// A field, empty if it is missing.
pub(super) fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
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
        ok: masters.iter().all(|group| group.problems.is_empty()),
        masters,
    }
}

/// What a member says about itself.
#[derive(Default)]
struct Look {
    id: Option<String>,
    pid: Option<u32>,
    log: Option<String>,
    /// Of a sentinel: where it believes each master to be.
    masters: BTreeMap<String, Address>,
    error: Option<String>,
}

async fn look_at(access: &Access, address: &Address) -> Look {
    let mut look = Look::default();
    if let Err(error) = fill_look(access, address, &mut look).await {
        look.error = Some(first_line(&error));
    }
    look
}

async fn fill_look(access: &Access, address: &Address, look: &mut Look) -> RedisResult<()> {
    let mut member = access.connect(address).await?;
    let info: String = redis::cmd("INFO")
        .arg("server")
        .query_async(&mut member)
        .await?;
    let info = |name: &str| {
        let mut lines = info.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::to_owned)
    };
    look.pid = info("process_id").and_then(|pid| pid.parse().ok());
    if info("redis_mode").as_deref() == Some("sentinel") {
        look.id = sentinel_command("MYID", None)
            .query_async(&mut member)
            .await?;
        let masters: Vec<Fields> = sentinel_command("MASTERS", None)
            .query_async(&mut member)
            .await?;
        let masters = masters.iter();
        look.masters = masters
            .map(|m| (field(m, "name").to_owned(), address_of(m)))
            .collect();
        // A sentinel has no CONFIG GET; its file can be read if it is on this machine.
        let file = info("config_file").filter(|_| address.is_this_machine());
        look.log = file.and_then(|file| log_named_in(&std::fs::read_to_string(file).ok()?));
    } else {
        look.id = info("run_id");
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
            log: look.and_then(|look| look.log.clone()),
        }
    };
    let sentinel_state = |at: &Address| {
        let Some(look) = looks.get(at) else {
            return "unknown".to_owned();
        };
        match (&look.error, look.masters.get(&name)) {
            (Some(error), _) => error.clone(),
            (None, None) => format!("does not monitor {name}"),
            (None, Some(believed)) if *believed != address => format!("says {believed}"),
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
        member(
            "replica",
            fields,
            server_state(fields, Some(field(fields, "master-link-status"))),
        )
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
            Some(state) => state,
            None => sentinel_state(&at),
        };
        (at, member("sentinel", fields, state))
    }));
    sentinels.sort_by(|a, b| a.0.cmp(&b.0));
    members.extend(sentinels.into_iter().map(|(_, member)| member));
    let bad = members.iter().filter(|member| member.state != OK);
    let mut problems: Vec<String> = bad
        .map(|bad| format!("{} {}: {}", bad.role, bad.address, bad.state))
        .collect();
    problems.extend(view.no_quorum.clone());
    Group {
        name,
        address: address.to_string(),
        quorum: field(&view.master, "quorum").parse().unwrap_or(0),
        problems,
        members,
    }
}

/// The state of a member with which nothing is wrong.
pub(super) const OK: &str = "ok";

fn own_fields(address: &Address) -> Fields {
    Fields::from([
        ("ip".to_owned(), address.host.clone()),
        ("port".to_owned(), address.port.to_string()),
    ])
}

/// The first thing that the flags of an instance complain about.
fn flag_state(fields: &Fields) -> Option<String> {
    let flags: Vec<&str> = field(fields, "flags").split(',').collect();
    let has = |flag| flags.contains(&flag);
    if has("o_down") || has("s_down") {
        Some("down".to_owned())
    } else if has("disconnected") {
        Some("disconnected".to_owned())
    } else if has("failover_in_progress") {
        Some("failover in progress".to_owned())
    } else {
        None
    }
}

/// `link`: the state of a replica's link to its master.
fn server_state(fields: &Fields, link: Option<&str>) -> String {
    match (flag_state(fields), link) {
        (Some(state), _) => state,
        (None, Some(link)) if link != OK => "no link to its master".to_owned(),
        (None, _) => OK.to_owned(),
    }
}

fn first_line(error: &RedisError) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// How many characters of an id the table shows; JSON has all.
const ID_SHOWN: usize = 12;

impl Survey {
    /// The survey as text: a table for each master, and what is wrong.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for group in &self.masters {
            if !text.is_empty() {
                text.push('\n');
            }
            let sentinels = group
                .members
                .iter()
                .filter(|member| member.role == "sentinel")
                .count();
            text.push_str(&format!(
                "{}: master {}, quorum {} of {sentinels} sentinels\n",
                group.name, group.address, group.quorum
            ));
            text.push_str(&columns(group.members.iter().map(Member::row)));
            for problem in &group.problems {
                text.push_str(&format!("! {problem}\n"));
            }
        }
        if self.masters.is_empty() {
            text.push_str(&format!("{} monitors no masters\n", self.asked));
        }
        text
    }
}

impl Member {
    fn row(&self) -> [String; 6] {
        let dash = || "-".to_owned();
        let id: String = self.id.chars().take(ID_SHOWN).collect();
        [
            self.role.to_owned(),
            self.address.clone(),
            if id.is_empty() { dash() } else { id },
            self.pid.map_or_else(dash, |pid| pid.to_string()),
            self.state.clone(),
            self.log.clone().unwrap_or_else(dash),
        ]
    }
}

fn columns(rows: impl Iterator<Item = [String; 6]>) -> String {
    let head = ["ROLE", "ADDRESS", "ID", "PID", "STATE", "LOG"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0);
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
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
    fn the_table_lines_up() {
        let survey = Survey {
            asked: "127.0.0.1:26379".to_owned(),
            ok: true,
            masters: vec![seen("ok", 6379)],
        };
        let table = survey.table();
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
    fn addresses_are_read_and_written() {
        for text in ["10.0.0.1:26379", "[::1]:26379", "cache.example:1"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for text in ["26379", ":1", "a:0", "a:b", "a:65536"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_log_is_the_last_one_named() {
        let config = "logfile \"\"\nport 1\nlogfile \"/a b/log\"\n";
        assert_eq!(log_named_in(config).as_deref(), Some("/a b/log"));
        assert_eq!(log_named_in("logfile \"\"\n"), None);
    }
}
