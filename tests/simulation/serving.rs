//! What data servers do with what reaches them.

use std::sync::Arc;

use sentinel::resp::Value;
use sentinel::sentinel::core::{HELLO_CHANNEL, Request};

use crate::agenda::{Due, NodeId};
use crate::net::{Packet, SERVER};
use crate::server::{Client, REPL_TIMEOUT_MS, ReplLink};
use crate::world::{Arrival, Body, Power, World};

/// How often replication moves on. Milliseconds.
const REPLICATE_MS: u64 = 100;

impl World {
    pub(crate) fn boot_server(&mut self, id: NodeId) {
        let now = self.now();
        let loading = if self.nodes[id].boot > 1 {
            self.dice.below(400)
        } else {
            0
        };
        if self.nodes[id].boot > 1 {
            self.server_mut(id).restart(now, loading);
        }
        self.story(id, || "starts".to_owned());
        let boot = self.nodes[id].boot;
        self.agenda.after(1, Due::Replicate { node: id, boot });
    }

    /// A packet reaches a running server.
    pub(crate) fn serve(&mut self, id: NodeId, arrival: Arrival) {
        let Arrival::Packet { conn, packet, .. } = arrival else {
            return;
        };
        match packet {
            Packet::Request(request) => self.serve_request(id, conn, *request),
            Packet::Fin | Packet::Reset => {
                self.server_mut(id).clients.remove(&conn);
                self.net.close(conn, SERVER, &mut self.agenda);
            }
            Packet::Syn | Packet::Accept | Packet::Refuse | Packet::Reply(_) => {}
        }
    }

    fn serve_request(&mut self, id: NodeId, conn: usize, request: Request) {
        let server = self.server_mut(id);
        let client = *server.clients.entry(conn).or_default();
        let needs_password = server.password.is_some() && !client.is_authenticated;
        if needs_password && !matches!(request, Request::Auth(_)) {
            let refusal = Value::error("NOAUTH Authentication required.");
            for _ in 0..request.reply_count() {
                self.reply(conn, refusal.clone());
            }
            return;
        }
        match request {
            Request::Auth(credentials) => {
                let server = self.server_mut(id);
                let is_right = server.password.as_deref() == Some(&*credentials.password);
                if let Some(client) = server.clients.get_mut(&conn) {
                    client.is_authenticated = is_right;
                }
                let reply = if is_right {
                    Value::ok()
                } else {
                    Value::error("WRONGPASS invalid username-password pair or user is disabled.")
                };
                self.reply(conn, reply);
            }
            Request::SetName(_) => self.reply(conn, Value::ok()),
            Request::Ping => self.serve_ping(id, conn),
            Request::Info => {
                let text = self.info_of(id);
                self.reply(conn, Value::bulk(text));
            }
            Request::Subscribe => self.serve_subscribe(id, conn),
            Request::Publish(payload) => {
                let heard = self.publish(id, &payload);
                self.reply(conn, Value::Integer(heard));
                for replica in self.online_replicas(id) {
                    self.publish(replica, &payload);
                }
            }
            Request::AskMasterDown { .. }
            | Request::Ordered { .. }
            | Request::Pause { .. }
            | Request::Resume { .. } => {
                self.reply(conn, Value::error("ERR unknown command 'SENTINEL'"));
            }
            Request::SlaveOf(master) => self.serve_slave_of(id, conn, master),
            Request::ScriptKill => {
                self.reply(
                    conn,
                    Value::error("NOTBUSY No scripts in execution right now."),
                );
            }
        }
    }

    fn reply(&mut self, conn: usize, value: Value) {
        if self.net.conns[conn].open[SERVER] {
            let packet = Packet::Reply(Box::new(value));
            self.net.send(conn, SERVER, packet, &mut self.agenda);
        }
    }

    fn serve_ping(&mut self, id: NodeId, conn: usize) {
        let is_loading = self.now() < self.server(id).loading_until;
        let reply = if is_loading {
            Value::error("LOADING Redis is loading the dataset in memory")
        } else {
            Value::simple("PONG")
        };
        self.reply(conn, reply);
    }

    fn serve_subscribe(&mut self, id: NodeId, conn: usize) {
        if let Some(client) = self.server_mut(id).clients.get_mut(&conn) {
            client.is_subscribed = true;
        }
        self.reply(
            conn,
            Value::Array(vec![
                Value::bulk("subscribe"),
                Value::bulk(HELLO_CHANNEL),
                Value::Integer(1),
            ]),
        );
    }

    /// Sends a hello to the subscribers here; how many there are.
    pub(crate) fn publish(&mut self, id: NodeId, payload: &Arc<str>) -> i64 {
        let subscribers: Vec<usize> = self
            .server(id)
            .clients
            .iter()
            .filter(|(_, client)| client.is_subscribed)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in &subscribers {
            self.reply(
                *conn,
                Value::Array(vec![
                    Value::bulk("message"),
                    Value::bulk(HELLO_CHANNEL),
                    Value::bulk(payload.as_bytes()),
                ]),
            );
        }
        i64::try_from(subscribers.len()).unwrap_or(i64::MAX)
    }

    /// The replicas that follow this server at this moment.
    fn online_replicas(&self, id: NodeId) -> Vec<NodeId> {
        let me = (id, self.nodes[id].boot);
        let follows = |replica: &NodeId| {
            let is_up = matches!(&self.nodes[*replica].body, Body::Server(server)
                if matches!(server.link, ReplLink::Up { from, .. } if from == me));
            is_up && self.nodes[*replica].power == Power::Running
        };
        let group = self.server(id).group;
        let servers = &self.groups[group].servers;
        servers.iter().copied().filter(follows).collect()
    }

    fn serve_slave_of(&mut self, id: NodeId, conn: usize, master: Option<(Arc<str>, u16)>) {
        let now = self.now();
        let master = master.map(|(host, port)| (host.to_string(), port));
        let shown = master
            .as_ref()
            .map_or("NO ONE".to_owned(), |(host, port)| format!("{host}:{port}"));
        let changed = self.server_mut(id).slave_of(now, master);
        self.story(id, || {
            let effect = if changed { "" } else { " (already)" };
            format!("executes SLAVEOF {shown}{effect}")
        });
        self.reply(conn, Value::ok());
        for _ in 0..4 {
            self.reply(conn, Value::simple("QUEUED"));
        }
        let others: Vec<(usize, Client)> = self
            .server(id)
            .clients
            .iter()
            .filter(|(other, _)| **other != conn)
            .map(|(other, client)| (*other, *client))
            .collect();
        let killed = |subscribed: bool| {
            let of_kind = |(_, client): &&(usize, Client)| client.is_subscribed == subscribed;
            Value::Integer(i64::try_from(others.iter().filter(of_kind).count()).unwrap_or(0))
        };
        self.reply(
            conn,
            Value::Array(vec![Value::ok(), Value::ok(), killed(false), killed(true)]),
        );
        for (other, _) in &others {
            self.server_mut(id).clients.remove(other);
            self.net.close(*other, SERVER, &mut self.agenda);
        }
    }

    fn info_of(&self, id: NodeId) -> String {
        let me = (id, self.nodes[id].boot);
        let server = self.server(id);
        let mut replicas = Vec::new();
        for &other in &self.groups[server.group].servers {
            let node = &self.nodes[other];
            let is_online = match self.server(other).link {
                ReplLink::Up { from, .. } if from == me => true,
                ReplLink::Syncing { from, .. } if from == me => false,
                ReplLink::Up { .. } | ReplLink::Syncing { .. } | ReplLink::Down { .. } => continue,
            };
            let (host, port) = (node.addr.ip().to_string(), node.addr.port());
            replicas.push((host, port, self.server(other).offset, is_online));
        }
        server.info(self.now(), self.nodes[id].addr.port(), &replicas)
    }

    /// Replication moves on by a step.
    pub(crate) fn replicate(&mut self, id: NodeId) {
        let now = self.now();
        let boot = self.nodes[id].boot;
        let jitter = self.dice.below(REPLICATE_MS / 2);
        self.agenda
            .after(REPLICATE_MS + jitter, Due::Replicate { node: id, boot });
        if self.nodes[id].power == Power::Stopped {
            return;
        }
        let Some((host, port)) = self.server(id).master.clone() else {
            let server = self.server_mut(id);
            server.offset += server.write_rate * REPLICATE_MS;
            return;
        };
        let addr = host
            .parse()
            .ok()
            .map(|ip| std::net::SocketAddr::new(ip, port));
        let Some(master) = addr.and_then(|addr| self.net.node_at(addr)) else {
            return;
        };
        let from = (master, self.nodes[master].boot);
        let is_reachable = self.net.is_open(id, master) && self.net.is_open(master, id);
        let is_answering = is_reachable && self.nodes[master].power == Power::Running;
        let is_gone = is_reachable && self.nodes[master].power == Power::Crashed;
        let serves = match &self.nodes[master].body {
            Body::Server(server) => {
                now >= server.loading_until
                    && (server.is_master() || matches!(server.link, ReplLink::Up { .. }))
            }
            Body::Ours(_) | Body::Real(_) => false,
        };
        if now < self.server(id).loading_until {
            return;
        }
        match self.server(id).link {
            ReplLink::Up { from: old, .. } | ReplLink::Syncing { from: old, .. }
                if is_gone || (is_answering && old != from) =>
            {
                self.server_mut(id).lose_link(now);
            }
            ReplLink::Up { heard, .. } if !is_answering => {
                if heard + REPL_TIMEOUT_MS < now {
                    self.server_mut(id).lose_link(now);
                }
            }
            ReplLink::Up { .. } => {
                let history = self.server(master).history();
                let server = self.server_mut(id);
                server.link = ReplLink::Up { from, heard: now };
                server.follow(&history);
            }
            ReplLink::Syncing { until, .. } if now >= until => {
                if is_answering && serves {
                    let history = self.server(master).history();
                    let server = self.server_mut(id);
                    server.repl_id.clone_from(&history.repl_id);
                    server.follow(&history);
                    server.link = ReplLink::Up { from, heard: now };
                } else {
                    self.server_mut(id).lose_link(now);
                }
            }
            ReplLink::Syncing { .. } => {}
            ReplLink::Down { .. } if is_answering && serves && master != id => {
                let history = self.server(master).history();
                self.server_mut(id).connect_to(now, from, &history);
            }
            ReplLink::Down { .. } => {}
        }
    }
}
