//! What the modelled redis-sentinel reads in INFO, and does about it.

use std::net::SocketAddr;

use crate::real::{InfoSeen, Live, Reconf, State, Whose};
use crate::real_tick::{HELLO_MS, INFO_MS};
use crate::world::World;

impl Live {
    pub(crate) fn hear_info(&mut self, world: &mut World, w: usize, whose: Whose, text: &str) {
        let now = world.now();
        let mut seen = self.watches[w].get(whose).info.clone();
        seen.link_down_ms = 0;
        let mut replicas: Vec<SocketAddr> = Vec::new();
        for line in text.split("\r\n") {
            let Some((field, value)) = line.split_once(':') else {
                continue;
            };
            read_field(&mut seen, &mut replicas, field, value);
        }
        let watch = &mut self.watches[w];
        let mut found = false;
        if whose == Whose::Master {
            for addr in replicas {
                if addr != watch.addr && watch.replicas.iter().all(|known| known.addr != addr) {
                    watch
                        .replicas
                        .push(crate::real::Instance::new(now, addr, None));
                    found = true;
                }
            }
        }
        let instance = watch.get(whose);
        instance.info_at = Some(now);
        if instance.info.is_slave != seen.is_slave {
            instance.role_since = now;
            instance.conf_since = now;
        }
        if instance.info.master != seen.master {
            instance.conf_since = now;
        }
        instance.info = seen;
        if found {
            self.flush(world);
        }
        if let (Whose::Replica(index), None) = (whose, self.tilt_since) {
            self.act_on_replica(world, w, index);
        }
    }

    fn act_on_replica(&mut self, world: &mut World, w: usize, index: usize) {
        let now = world.now();
        let watch = &mut self.watches[w];
        let is_sane = !watch.master.info.is_slave
            && watch.master.sdown_since.is_none()
            && !watch.is_odown
            && watch
                .master
                .info_at
                .is_some_and(|at| now - at < 2 * INFO_MS);
        let (addr, timeout, state) = (watch.addr, watch.timeout, watch.state);
        let is_promoted = watch.promoted == Some(watch.replicas[index].addr);
        let target = watch.promoted;
        let replica = &mut watch.replicas[index];
        let was_up_for = |ms: u64| replica.sdown_since.is_none_or(|at| now - at > ms);
        if !replica.info.is_slave {
            if is_promoted && state == State::WaitPromotion {
                watch.config_epoch = watch.failover_epoch;
                for peer in watch.all() {
                    watch.get(peer).published = 0;
                }
                self.enter(world, w, State::ReconfSlaves);
                self.flush(world);
            } else if !is_promoted
                && is_sane
                && was_up_for(4 * HELLO_MS)
                && now - replica.role_since > 4 * HELLO_MS
                && !replica.is_disconnected()
            {
                let text = format!("+convert-to-slave {}", replica.addr);
                self.send_slave_of(world, w, Whose::Replica(index), Some(addr));
                self.story(world, text);
            }
            return;
        }
        let host_port = |to: SocketAddr| (to.ip().to_string(), to.port());
        match replica.reconf {
            Reconf::Sent(_) if target.map(host_port) == Some(replica.info.master.clone()) => {
                replica.reconf = Reconf::InProgress;
            }
            _ => {}
        }
        if replica.reconf == Reconf::InProgress && replica.info.is_link_up {
            replica.reconf = Reconf::Done;
        }
        if state == State::None
            && replica.info.master != host_port(addr)
            && is_sane
            && was_up_for(timeout)
            && now - replica.conf_since > timeout
            && !replica.is_disconnected()
        {
            let text = format!("+fix-slave-config {}", replica.addr);
            self.send_slave_of(world, w, Whose::Replica(index), Some(addr));
            self.story(world, text);
        }
    }
}

fn read_field(seen: &mut InfoSeen, replicas: &mut Vec<SocketAddr>, field: &str, value: &str) {
    match field {
        "run_id" => value.clone_into(&mut seen.run_id),
        "role" => seen.is_slave = value == "slave",
        "master_host" => value.clone_into(&mut seen.master.0),
        "master_port" => seen.master.1 = value.parse().unwrap_or(0),
        "master_link_status" => seen.is_link_up = value == "up",
        "master_link_down_since_seconds" => {
            seen.link_down_ms = value.parse::<i64>().unwrap_or(0) * 1000;
        }
        "slave_priority" => seen.priority = value.parse().unwrap_or(100),
        "slave_repl_offset" => seen.offset = value.parse().unwrap_or(0),
        _ if field.starts_with("slave") && value.starts_with("ip=") => {
            let part = |key: &str| {
                let mut parts = value.split(',');
                parts
                    .find_map(|part| part.strip_prefix(key))
                    .map(str::to_owned)
            };
            let host = part("ip=").and_then(|host| host.parse().ok());
            let port = part("port=").and_then(|port| port.parse().ok());
            replicas.extend(
                host.zip(port)
                    .map(|(host, port)| SocketAddr::new(host, port)),
            );
        }
        _ => {}
    }
}
