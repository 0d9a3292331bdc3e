//! What a seed decides: who there is, what goes wrong, and how the run goes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use sentinel::ids::MasterName;
use sentinel::sentinel::core::MasterSettings;

use crate::agenda::NodeId;
use crate::dice::Dice;
use crate::faults::Fault;
use crate::net::Weather;
use crate::properties::{Violation, disagreement};
use crate::real::Real;
use crate::trace::Detail;
use crate::world::{Body, Group, World};

/// How a run ended.
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) lines: Vec<String>,
    pub(crate) steps: u64,
    pub(crate) virtual_ms: u64,
    pub(crate) switches: u64,
}

/// The whole run of a seed.
pub(crate) fn run(seed: u64, detail: Detail) -> Outcome {
    let mut dice = Dice::new(seed, "plan");
    let mut world = build(seed, &mut dice, detail);
    warm_up(&mut world, &mut dice);
    world.start_faults();
    let safety_ms = match dice.below(3) {
        0 => dice.between(2_000, 8_000),
        1 => dice.between(6_000, 18_000),
        _ => dice.between(15_000, 35_000),
    };
    let end = world.now() + safety_ms;
    world.run_until(end);
    converge(&mut world);
    Outcome {
        violation: world.violation.clone(),
        lines: world.trace.lines().to_vec(),
        steps: world.steps,
        virtual_ms: world.now(),
        switches: world.switches,
    }
}

/// One fault in fair weather: the master of the only group dies or hangs, and a minority of the
/// sentinels with it. How long after down-after the last sentinel that is left has switched; `None`:
/// not all have. Milliseconds.
pub(crate) fn prompt_run(seed: u64, detail: Detail) -> (Option<u64>, Vec<String>) {
    let mut dice = Dice::new(seed, "prompt");
    let sentinels = dice.pick(&[3, 3, 5, 7]);
    let mut world = World::new(seed, Weather::FAIR, detail);
    let down_after = dice.pick(&[200, 500, 1_000, 3_000]);
    world.groups.push(Group {
        names: vec![MasterName::from("m1")],
        servers: Vec::new(),
        settings: MasterSettings {
            down_after: Duration::from_millis(down_after),
            ..MasterSettings::new(u32::try_from(sentinels / 2 + 1).expect("up to 4"))
        },
        was_reset: false,
    });
    for n in 1..=3 {
        world.add_server(&format!("r{n}"), server_addr(n), 0);
    }
    for n in 1..=sentinels {
        let durable = world.configured(&[0], Some(&readable_id(n, &mut dice)));
        world.add_ours(&format!("s{n}"), sentinel_addr(n), durable);
    }
    for id in 0..world.nodes.len() {
        world.boot(id);
    }
    world.run_until(dice.between(5_000, 25_000));
    let fault_at = world.now();
    let host_too = dice.chance(300);
    if dice.chance(500) {
        world.crash(0, host_too);
    } else {
        world.stop(0, None);
    }
    // The master's host often carries a sentinel, and more than one may be gone with it.
    let mut left = world.sentinels();
    for _ in 0..dice.below((sentinels as u64).div_ceil(2)) {
        let lost = left.remove(dice.index(left.len()));
        world.crash(lost, host_too);
    }
    let end = fault_at + down_after + 20_000;
    while world.now() < end && world.violation.is_none() && !world.is_spoiled {
        world.run_until(world.now() + 1);
        let mut new = left.iter().map(|id| world.master_addr(*id, 0));
        if new.all(|addr| addr.is_some_and(|addr| addr != server_addr(1))) {
            let late = world.now().saturating_sub(fault_at + down_after);
            return (Some(late), world.trace.lines().to_vec());
        }
    }
    (None, world.trace.lines().to_vec())
}

/// The liveness phase: faults have stopped, and everyone must agree in time, and stay so.
pub(crate) fn converge(world: &mut World) {
    const LOOK_MS: u64 = 500;
    const STABLE_MS: u64 = 3_000;
    /// A sentinel in TILT does nothing for so long, and its own last fault may have brought it there.
    const TILT_MS: u64 = 30_000;
    /// To find one another, and for a false alarm or two where `down-after` is close to what the network takes.
    const GRACE_MS: u64 = 30_000;
    if world.violation.is_some() || world.is_spoiled {
        return;
    }
    world.stop_faults();
    let timeouts = world
        .groups
        .iter()
        .map(|group| group.settings.failover_timeout);
    let timeout = timeouts.max().unwrap_or_default();
    let bound = world.now() + TILT_MS + GRACE_MS + sentinel::clock::millis(4 * timeout);
    let mut settled_at = None;
    while world.violation.is_none() && !world.is_spoiled && !world.properties.is_split() {
        world.run_until(world.now() + LOOK_MS);
        match disagreement(world) {
            None => {
                let since = *settled_at.get_or_insert(world.now());
                if world.now() >= since + STABLE_MS {
                    return;
                }
            }
            Some(why) => {
                settled_at = None;
                if world.now() > bound {
                    world.violate("convergence", why);
                }
            }
        }
    }
}

/// Address of the n-th sentinel, counted from 1.
pub(crate) fn sentinel_addr(n: usize) -> SocketAddr {
    let last = u8::try_from(n).expect("few sentinels");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 26379)
}

/// Address of the n-th data server, counted from 1.
pub(crate) fn server_addr(n: usize) -> SocketAddr {
    let last = u8::try_from(n).expect("few servers");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 1, last)), 6379)
}

/// An id in which the sentinel's number can be read.
pub(crate) fn readable_id(n: usize, dice: &mut Dice) -> String {
    format!("{n}{}", &dice.hex()[1..])
}

fn build(seed: u64, dice: &mut Dice, detail: Detail) -> World {
    let mut world = World::new(seed, weather(dice), detail);
    let sentinels = match dice.below(10) {
        0 => 1,
        1 => 2,
        2 => dice.pick(&[4, 4, 6, 7]),
        3 | 4 => 5,
        _ => 3,
    };
    // A share of the runs has redis-sentinels among the sentinels.
    let real_per_mille = dice.pick(&[0, 0, 0, 500]);
    let groups = if dice.chance(800) {
        1
    } else {
        dice.index(2) + 2
    };
    let mut servers = 0;
    for g in 0..groups {
        world.groups.push(Group {
            names: vec![MasterName::from(&*format!("m{}", g + 1))],
            servers: Vec::new(),
            settings: settings(sentinels, real_per_mille > 0, dice),
            was_reset: false,
        });
        let replicas = dice.pick(&[1, 2, 2, 2, 3]);
        for _ in 0..=replicas {
            servers += 1;
            let id = world.add_server(&format!("r{servers}"), server_addr(servers), g);
            if dice.chance(100) {
                world.server_mut(id).priority = dice.pick(&[0, 10, 50]);
            }
        }
    }
    let all: Vec<usize> = (0..groups).collect();
    for n in 1..=sentinels {
        if dice.chance(real_per_mille) {
            let real = Real::new(&readable_id(n, dice), all.clone());
            world.add_real(&format!("s{n}"), sentinel_addr(n), real);
            continue;
        }
        let id = dice.chance(800).then(|| readable_id(n, dice));
        let durable = world.configured(&all, id.as_deref());
        world.add_ours(&format!("s{n}"), sentinel_addr(n), durable);
    }
    // By a die of its own, as below.
    let mut own = Dice::new(seed, "observer");
    if own.chance(200) {
        let durable = world.configured(&all, Some(&readable_id(9, &mut own)));
        world.add_observer("s9", sentinel_addr(9), durable);
    }
    if !dice.chance(40) {
        world.faults.kinds = faults(&world, dice);
        // By a die of its own: without echoes every seed is the run that it was before there were any.
        if Dice::new(seed, "echoes").chance(300) {
            world.faults.kinds.extend([Fault::Echo; 3]);
        }
        if Dice::new(seed, "pauses").chance(300) {
            world.faults.kinds.extend([Fault::Pause; 3]);
        }
    }
    world.faults.pause_ms_max = dice.pick(&[1_500, 4_000, 8_000, 15_000]);
    world
}

fn weather(dice: &mut Dice) -> Weather {
    let latency = dice.pick(&[(0, 1), (0, 2), (1, 1), (1, 20), (20, 80)]);
    let is_rough = dice.chance(400);
    Weather {
        latency,
        delayed_per_mille: if is_rough {
            dice.pick(&[2, 20, 100])
        } else {
            0
        },
        delay: dice.pick(&[(50, 300), (200, 1_000), (200, 4_000)]),
        broken_per_100k: if is_rough {
            dice.pick(&[0, 50, 500])
        } else {
            0
        },
    }
}

fn settings(sentinels: usize, has_real: bool, dice: &mut Dice) -> MasterSettings {
    let majority = sentinels / 2 + 1;
    let quorum = if dice.chance(700) {
        majority
    } else {
        dice.index(sentinels) + 1
    };
    let ms = Duration::from_millis;
    // With less a redis-sentinel may call every new master down (W3) and never settle.
    let least = if has_real { 2_000 } else { 0 };
    let down_after = dice
        .pick(&[300, 500, 1_000, 1_000, 2_000, 4_000])
        .max(least);
    MasterSettings {
        refused_after: ms(dice.pick(&[0, 0, 0, 0, 200, 1_000])),
        reboot_down_after: ms(dice.pick(&[0, 0, 0, 0, 0, 3_000])),
        down_after: ms(down_after),
        failover_timeout: ms(dice.pick(&[3_000, 6_000, 10_000, 20_000])),
        parallel_syncs: u32::try_from(dice.between(1, 3)).expect("up to 3"),
        ..MasterSettings::new(u32::try_from(quorum).expect("up to 7"))
    }
}

fn faults(world: &World, dice: &mut Dice) -> Vec<Fault> {
    let mut kinds = Vec::new();
    for kind in Fault::COMMON {
        if dice.chance(600) {
            for _ in 0..dice.between(1, 3) {
                kinds.push(kind);
            }
        }
    }
    if dice.chance(700) {
        kinds.push(Fault::MasterDown);
    }
    if !world.needs_discovery() && dice.chance(150) {
        kinds.push(Fault::Reset);
    }
    kinds
}

impl World {
    /// Whether a quorum may be less than a majority of the sentinels that exist. Then only a sentinel
    /// that knows all others may be trusted with elections, as in the original: nothing goes wrong
    /// before all are known, and none is made to forget.
    fn needs_discovery(&self) -> bool {
        let sentinels = self.voters().len();
        let mut groups = self.groups.iter();
        groups.any(|group| (group.settings.quorum as usize) < sentinels / 2 + 1)
    }

    /// Whether every sentinel's file names every other.
    fn all_are_known(&self) -> bool {
        let others = self.voters().len() - 1;
        self.voters()
            .into_iter()
            .all(|id: NodeId| match &self.nodes[id].body {
                Body::Ours(ours) => {
                    let masters = &ours.disk.file.masters;
                    masters.iter().all(|master| master.peers.len() == others)
                }
                Body::Real(real) => real.knows_peers(others),
                Body::Server(_) => true,
            })
    }
}

fn warm_up(world: &mut World, dice: &mut Dice) {
    const DISCOVERY_MS_MAX: u64 = 90_000;
    let boot_all = |world: &mut World| {
        for id in 0..world.nodes.len() {
            world.boot(id);
        }
    };
    if !world.needs_discovery() {
        boot_all(world);
        world.run_until(dice.between(0, 8_000));
        return;
    }
    let weather = std::mem::replace(&mut world.net.weather, Weather::FAIR);
    boot_all(world);
    while world.violation.is_none() && !world.is_spoiled && !world.all_are_known() {
        if world.now() > DISCOVERY_MS_MAX {
            world.violate("discovery", "not all sentinels know each other".to_owned());
        }
        world.run_until(world.now() + 250);
    }
    world.net.weather = weather;
}
