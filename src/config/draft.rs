//! Reading `sentinel …` lines into a state, in redis-sentinel's three passes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::errors::Refusal;
use super::forms::parse_integer;
use super::statements::{
    GLOBALS, SETTINGS, canonical, check_master_name, default_globals, port, usage,
};
use crate::ids::{Epoch, MasterName, SentinelId};
use crate::sentinel::core::{
    Durable, DurableMaster, DurablePeer, Globals, MasterSettings, PausedUntil, is_plain,
};

/// The end of the year 9999: later than any moment that can be shown.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

/// In which of redis-sentinel's three passes a directive is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// What concerns the whole sentinel.
    Globals,
    /// `monitor`.
    Monitors,
    /// What concerns one master.
    Masters,
}

impl Pass {
    /// In order.
    pub const ALL: [Pass; 3] = [Pass::Globals, Pass::Monitors, Pass::Masters];

    /// That of a directive; unknown ones fail in the last.
    pub fn of(name: &str) -> Pass {
        match canonical(name) {
            Some("monitor") => Pass::Monitors,
            Some("myid" | "current-epoch") => Pass::Globals,
            Some(name) if GLOBALS.iter().any(|g| g.name == name) => Pass::Globals,
            Some(_) | None => Pass::Masters,
        }
    }
}

/// A state that is being read.
#[derive(Debug)]
pub struct Draft {
    id: Option<SentinelId>,
    current_epoch: Epoch,
    /// The values so far.
    pub globals: Globals,
    masters: Vec<DurableMaster>,
    by_name: HashMap<MasterName, usize>,
    /// Replicas read so far, with whether the line said `known-slave`.
    replicas: HashMap<(usize, Arc<str>, u16), bool>,
    peers: HashSet<(usize, SentinelId)>,
}

impl Default for Draft {
    fn default() -> Draft {
        Draft {
            id: None,
            current_epoch: Epoch(0),
            globals: default_globals(),
            masters: Vec::new(),
            by_name: HashMap::new(),
            replicas: HashMap::new(),
            peers: HashSet::new(),
        }
    }
}

impl Draft {
    /// Applies one line: the words after `sentinel`. `again`: the line is from the command line, which
    /// is the same at every start, so what it adds may be there already.
    ///
    /// # Errors
    /// The line is wrong. The reasons are redis-sentinel's.
    pub fn apply(&mut self, words: &[&str], again: bool) -> Result<(), Refusal> {
        let unrecognized = || Refusal::new("Unrecognized sentinel configuration statement.");
        let (given, values) = words.split_first().ok_or_else(unrecognized)?;
        let name = canonical(given).ok_or_else(unrecognized)?;
        let applied = match (name, values) {
            ("myid", [id]) => self.set_id(id),
            ("current-epoch", [number]) => {
                self.raise_epoch(number)?;
                Ok(())
            }
            ("monitor", [name, host, port, quorum]) => {
                self.monitor(name, host, port, quorum, again)
            }
            ("config-epoch", [master, number]) => {
                let at = self.find(master)?;
                self.masters[at].config_epoch = self.raise_epoch(number)?;
                Ok(())
            }
            ("leader-epoch", [master, number]) => {
                let at = self.find(master)?;
                self.masters[at].leader_epoch = self.raise_epoch(number)?;
                Ok(())
            }
            ("known-replica", [master, host, port]) => {
                let old_spelling = given.eq_ignore_ascii_case("known-slave");
                self.replica(master, host, port, old_spelling)
            }
            ("known-sentinel", [master, host, port, id]) => self.peer(master, host, port, id),
            // An old form without the id: redis-sentinel ignores it too.
            ("known-sentinel", [master, _, _]) => self.find(master).map(|_| ()),
            ("rename-command", [master, old, new]) => self.rename(master, old, new),
            ("paused", [master, until]) => self.pause(master, until),
            (name, [value]) => match GLOBALS.iter().find(|g| g.name == name) {
                Some(global) => (global.set)(&mut self.globals, value),
                None => Err(unrecognized()),
            },
            (name, [master, value]) => match SETTINGS.iter().find(|s| s.name == name) {
                Some(setting) => {
                    let at = self.find(master)?;
                    (setting.set)(&mut self.masters[at].settings, value)
                }
                None => Err(unrecognized()),
            },
            (_, _) => Err(unrecognized()),
        };
        applied.map_err(|refusal| match refusal.hint {
            Some(_) => refusal,
            None => refusal.hint(usage(name)),
        })
    }

    /// The state that was read.
    pub fn finish(self) -> Durable {
        Durable {
            id: self.id,
            current_epoch: self.current_epoch,
            globals: Arc::new(self.globals),
            masters: self.masters.into_iter().map(Arc::new).collect(),
        }
    }

    fn find(&self, master: &str) -> Result<usize, Refusal> {
        let found = self.by_name.get(&MasterName::from(master));
        found.copied().ok_or_else(|| {
            Refusal::new("No such master with specified name.")
                .hint(format!("a line 'sentinel monitor {master} …' somewhere"))
        })
    }

    fn set_id(&mut self, id: &str) -> Result<(), Refusal> {
        if id.len() != SentinelId::LEN || !is_plain(id) {
            return Err(Refusal::new("Malformed Sentinel id in myid option."));
        }
        self.id = Some(SentinelId::from(id));
        Ok(())
    }

    fn raise_epoch(&mut self, number: &str) -> Result<Epoch, Refusal> {
        // Beyond that nothing could ever be newer, and every peer of ours refuses it.
        const EPOCH_LIMIT: u64 = 1 << 63;
        let epoch = parse_integer(number)
            .filter(|epoch| *epoch < EPOCH_LIMIT)
            .map(Epoch)
            .ok_or_else(|| {
                Refusal::new("Invalid epoch.")
                    .hint("a number below 2^63, as on the other sentinels")
            })?;
        self.current_epoch = self.current_epoch.max(epoch);
        Ok(epoch)
    }

    fn monitor(
        &mut self,
        name: &str,
        host: &str,
        port_word: &str,
        quorum: &str,
        again: bool,
    ) -> Result<(), Refusal> {
        check_master_name(name)?;
        let quorum = parse_integer(quorum)
            .filter(|quorum| *quorum >= 1_u32)
            .ok_or_else(|| Refusal::new("Quorum must be 1 or greater."))?;
        let (host, port) = self.address(host, port_word)?;
        let name = MasterName::from(name);
        if let Some(&at) = self.by_name.get(&name) {
            if again {
                self.masters[at].settings.quorum = quorum;
                return Ok(());
            }
            return Err(
                Refusal::new("Duplicate master name.").hint("one 'sentinel monitor' line per name")
            );
        }
        self.by_name.insert(name.clone(), self.masters.len());
        self.masters.push(DurableMaster {
            name,
            host,
            port,
            settings: MasterSettings::new(quorum),
            config_epoch: Epoch(0),
            leader_epoch: Epoch(0),
            replicas: Vec::new(),
            peers: Vec::new(),
            paused: None,
        });
        Ok(())
    }

    fn address(&self, host: &str, port_word: &str) -> Result<(Arc<str>, u16), Refusal> {
        let refusal = Refusal::new("Can't resolve instance hostname.");
        if !is_plain(host) {
            return Err(refusal.hint("an address without blanks, commas and quotes"));
        }
        if host.parse::<IpAddr>().is_err() && !self.globals.resolve_hostnames {
            return Err(refusal.hint("an IP address, or 'sentinel resolve-hostnames yes'"));
        }
        Ok((Arc::from(host), port(port_word)?))
    }

    fn replica(
        &mut self,
        master: &str,
        host: &str,
        port: &str,
        old_spelling: bool,
    ) -> Result<(), Refusal> {
        let at = self.find(master)?;
        let (host, port) = self.address(host, port)?;
        let key = (at, Arc::clone(&host), port);
        match self.replicas.insert(key, old_spelling) {
            None => self.masters[at].replicas.push((host, port)),
            // redis-sentinel 7.0 keeps `known-slave` lines and adds the same as `known-replica`.
            Some(earlier) if earlier != old_spelling => {}
            Some(_) => {
                return Err(Refusal::new("Duplicate hostname and port for replica."));
            }
        }
        Ok(())
    }

    fn peer(&mut self, master: &str, host: &str, port: &str, id: &str) -> Result<(), Refusal> {
        let at = self.find(master)?;
        let (host, port) = self.address(host, port)?;
        if !is_plain(id) {
            return Err(Refusal::new("Malformed Sentinel id."));
        }
        let id = SentinelId::from(id);
        if !self.peers.insert((at, id.clone())) {
            return Err(Refusal::new("Duplicate runid for sentinel."));
        }
        self.masters[at].peers.push(DurablePeer { host, port, id });
        Ok(())
    }

    fn pause(&mut self, master: &str, until: &str) -> Result<(), Refusal> {
        let at = self.find(master)?;
        let until = parse_integer(until)
            .filter(|ms| *ms <= UNIX_MS_MAX)
            .ok_or_else(|| Refusal::new("Invalid end of a pause."))?;
        self.masters[at].paused = Some(PausedUntil::from_number(until));
        Ok(())
    }

    fn rename(&mut self, master: &str, old: &str, new: &str) -> Result<(), Refusal> {
        let at = self.find(master)?;
        if old.is_empty() || new.is_empty() {
            return Err(Refusal::new("Empty name in rename-command."));
        }
        let renamed = Arc::make_mut(&mut self.masters[at].settings.renamed_commands);
        if renamed
            .insert(old.to_ascii_uppercase(), new.to_owned())
            .is_some()
        {
            return Err(Refusal::new(
                "Same command renamed multiple times with rename-command.",
            ));
        }
        Ok(())
    }
}
