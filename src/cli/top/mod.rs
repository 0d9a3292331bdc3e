//! `sentinel top`: masters, replicas, lag and events, live in the terminal.

mod model;
mod render;

use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::args::TopArgs;
use super::client::block_on;
use super::terminal::{Screen, draw, in_place, keys, size};
use super::watch::follow_all;
use crate::clock::unix_now;
use crate::topology::{
    Access, Address, Group, Heard, Summary, describe, first_line, glance, master_of, summaries,
};
use model::{Model, Then};

/// Looks that wait to be drawn.
const LOOKS_MAX: usize = 4;

/// What was seen at a look.
#[derive(Clone, Debug)]
enum Look {
    /// A sentinel answered.
    Masters {
        /// Which.
        asked: String,
        masters: Vec<Summary>,
    },
    /// More about the selected master.
    Group(Box<Group>),
    /// Nobody answers.
    Failed(String),
}

pub(super) fn run(args: &TopArgs) -> anyhow::Result<()> {
    let access = args.client.access()?;
    block_on(top(access, args))
}

async fn top(access: Access, args: &TopArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut resized = signal(SignalKind::window_change())?;
    let _screen = Screen::enter()?;
    let mut keys = keys()?;
    let sentinels = &args.client.sentinels;
    let (_followers, mut heard) = follow_all(&access, sentinels);
    let (select, selected) = watch::channel(None);
    let (out, mut looks) = mpsc::channel(LOOKS_MAX);
    let mut looking = JoinSet::new();
    let observer = Observer {
        access,
        sentinels: sentinels.clone(),
        interval: args.interval,
        selected,
        out,
    };
    looking.spawn_local(observer.run());
    let paint = args.client.color.paint();
    let mut model = Model::default();
    let mut clears = true;
    loop {
        let size = size(std::io::stdout());
        let lines = render::screen(&mut model, size, paint);
        draw(&in_place(&lines, size, clears))?;
        clears = false;
        select.send_if_modified(|name| {
            let wanted = model.selected().map(str::to_owned);
            let is_other = *name != wanted;
            *name = wanted;
            is_other
        });
        tokio::select! {
            key = keys.recv() => match key.map(|key| model.press(key)) {
                Some(Then::Draw) => {}
                // The terminal is gone, or the user has seen enough.
                Some(Then::Quit) | None => return Ok(()),
            },
            Some(look) = looks.recv() => match look {
                Look::Masters { asked, masters } => model.set_masters(asked, masters),
                Look::Group(group) => model.set_group(*group),
                Look::Failed(reason) => model.set_failure(reason),
            },
            Some(heard) = heard.recv() => note(&mut model, &heard),
            _ = resized.recv() => clears = true,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        }
    }
}

fn note(model: &mut Model, heard: &Heard) {
    let now = unix_now();
    match heard {
        Heard::Event(event) => {
            if let Some(text) = describe(event) {
                let about = master_of(event).map_or_else(String::new, |name| format!("{name}: "));
                model.add_event(now, event, about + &text);
            }
        }
        Heard::Connected { by } => {
            model.add_note(now, "connected", format!("sentinel {by} is heard"))
        }
        Heard::Disconnected { by, reason } => {
            model.add_note(
                now,
                "disconnected",
                format!("sentinel {by} cannot be heard: {reason}"),
            );
        }
    }
}

/// Looks again and again, through one sentinel as long as that answers.
struct Observer {
    access: Access,
    sentinels: Vec<Address>,
    interval: Duration,
    selected: watch::Receiver<Option<String>>,
    out: mpsc::Sender<Look>,
}

impl Observer {
    async fn run(mut self) {
        let mut reasons = Vec::new();
        loop {
            for address in self.sentinels.clone() {
                match self.access.connect(&address).await {
                    Ok(mut sentinel) => {
                        reasons.clear();
                        let lost = self.observe(&address, &mut sentinel).await;
                        match lost {
                            Ok(()) => return,
                            Err(error) => {
                                reasons.push(format!("{address}: {}", first_line(&error)))
                            }
                        }
                    }
                    Err(error) => reasons.push(format!("{address}: {}", first_line(&error))),
                }
            }
            let failed = Look::Failed(reasons.join("; "));
            reasons.clear();
            if self.out.send(failed).await.is_err() {
                return;
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Looks until the sentinel no longer answers; `Ok`: until nobody is interested.
    async fn observe(
        &mut self,
        address: &Address,
        sentinel: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        loop {
            let masters = Look::Masters {
                asked: address.to_string(),
                masters: summaries(sentinel).await?,
            };
            if self.out.send(masters).await.is_err() {
                return Ok(());
            }
            let next = tokio::time::sleep(self.interval);
            tokio::pin!(next);
            loop {
                let name = self.selected.borrow_and_update().clone();
                if let Some(name) = name {
                    match glance(sentinel, address, &name).await {
                        Ok(group) => drop(self.out.send(Look::Group(Box::new(group))).await),
                        Err(error) if error.is_io_error() => return Err(error),
                        // The master has just been removed.
                        Err(_) => {}
                    }
                }
                tokio::select! {
                    () = &mut next => break,
                    changed = self.selected.changed() => if changed.is_err() {
                        return Ok(());
                    },
                }
            }
        }
    }
}
