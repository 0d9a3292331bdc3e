//! `sentinel up`: a whole topology on this machine, and a view of what happens in it.

mod access;
mod agree;
mod child;
mod events;
mod paint;
mod plan;
pub(crate) mod progress;
mod survey;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::clock::{Clock, Mono, UnixMillis};
pub use access::{Access, Address, first_line, in_time, is_loopback};
pub(crate) use child::{JANITOR, TIED, become_tied, clean_up_after_parent};
use child::{Janitor, Keeper, News, SAVE_GRACE, STOP_GRACE, What, describe_end};
pub use events::{Heard, Merge, Published, describe, event_label, follow, master_of};
pub use paint::{Cell, ColorArgs, NO_COLOR, Paint, Tone, columns, heads, printable};
use plan::{ChildPlan, Plan, Role};
pub use plan::{TopologyFile, UpArgs};
use progress::Progress;
pub use survey::{
    Fields, Group, Health, Member, NO_SUCH_MASTER, Paused, Summary, Survey, Unanswered, field,
    glance, sentinel_command, summaries, survey, tone_of,
};

/// How long a topology may take until all sentinels agree.
const AGREEMENT_MAX: Duration = Duration::from_secs(60);
/// How often the sentinels are asked whether they agree.
const ASK_PERIOD: Duration = Duration::from_millis(100);
/// News that wait to be printed.
const NEWS_MAX: usize = 256;
/// Lines of a dead child's log that are shown.
const LOG_LINES_SHOWN: usize = 10;

/// Runs a topology until Ctrl-C, SIGTERM or SIGHUP. Must be called on the main thread, before any
/// other is started.
///
/// # Errors
/// The topology makes no sense, a port is busy, a child could not be started or died before the
/// sentinels agreed. Nothing is left running.
pub fn up(args: &UpArgs) -> anyhow::Result<()> {
    let file = match &args.file {
        Some(path) => TopologyFile::load(path)?,
        None => TopologyFile::default(),
    };
    let plan = Plan::make(&file.overridden_by(args))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run(plan, args.color.paint()))
}

async fn run(mut plan: Plan, paint: Paint) -> anyhow::Result<()> {
    // Before the first child, so that no signal finds us without a handler.
    let mut stop_signals = StopSignals::listen()?;
    let ourselves = std::env::current_exe().context("find this program's own file")?;
    let folder = match plan.temporary.take() {
        Some(temporary) => {
            let janitor = Janitor::start(&ourselves, temporary.path());
            // From here on the janitor removes it, whatever happens to us.
            Some((janitor.context("start the janitor")?, temporary.keep()))
        }
        None => None,
    };
    let (stop, stopped) = watch::channel(false);
    let (tell, news) = mpsc::channel(NEWS_MAX);
    let mut keepers = JoinSet::new();
    let mut view = View::new(plan, news, paint);
    for index in 0..view.plan.children.len() {
        let keeper = view.keeper(index, &ourselves);
        keepers.spawn_local(keeper.keep(stopped.clone(), tell.clone()));
    }
    let result = tokio::select! {
        result = view.watch() => result,
        name = stop_signals.next() => say(&format!("\n{name}: stopping")),
    };
    // Nobody reads the news any more; a full channel must not hold a keeper up.
    drop(view);
    let _ = stop.send(true);
    while keepers.join_next().await.is_some() {}
    let removed = match folder {
        Some((janitor, path)) => clear_away(janitor, &path).await?,
        None => String::new(),
    };
    let said = say(&format!("all stopped{removed}"));
    result.and(said)
}

/// Removes our folder, and says so.
async fn clear_away(janitor: Janitor, folder: &Path) -> anyhow::Result<String> {
    let is_removed = janitor.finish().await.unwrap_or(false);
    if !is_removed && folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    Ok(format!(", {} removed", folder.display()))
}

/// Prints a line at once: the output may be a file or a pipe that somebody watches.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("write to standard output")
}

/// What is known about the running topology.
struct View {
    plan: Plan,
    news: mpsc::Receiver<News>,
    access: Access,
    clock: Clock,
    /// Of the children, as far as they run.
    pids: Vec<Option<u32>>,
    /// Where the master is, by the last switch.
    master_port: u16,
    /// When the master died, until somebody took its place.
    master_died: Option<Mono>,
    merge: Merge,
    paint: Paint,
}

impl View {
    fn new(plan: Plan, news: mpsc::Receiver<News>, paint: Paint) -> View {
        View {
            news,
            paint,
            access: Access {
                user: None,
                password: plan.password.clone(),
                timeout: Duration::from_secs(2),
                tls: None,
            },
            clock: Clock::start(),
            pids: vec![None; plan.children.len()],
            master_port: plan.master().port,
            master_died: None,
            merge: Merge::default(),
            plan,
        }
    }

    /// How to start and restart one child.
    fn keeper(&self, index: usize, ourselves: &Path) -> Keeper {
        let plan = self.plan.children[index].clone();
        let config = plan.config.clone().into_os_string();
        let (program, args) = match (plan.role, &self.plan.with) {
            (Role::Sentinel, _) => (ourselves, vec![config]),
            (Role::Master | Role::Replica, Some(program)) => (program.as_path(), vec![config]),
            (Role::Master | Role::Replica, None) => {
                (ourselves, vec![OsString::from("server"), config])
            }
        };
        Keeper {
            index,
            ourselves: ourselves.to_owned(),
            program: program.to_owned(),
            args,
            // Longer than a failover takes to begin: a master that came back at once, and empty,
            // would empty its replicas.
            restart_after: self.plan.restart.then_some(self.plan.down_after * 3),
            stop_grace: if plan.role == Role::Sentinel || self.plan.is_temporary {
                STOP_GRACE
            } else {
                SAVE_GRACE
            },
            clock: self.clock,
            plan,
        }
    }

    /// Waits until all is up, shows it, and tells what happens, for ever.
    async fn watch(&mut self) -> anyhow::Result<()> {
        say(&self.start_line())?;
        self.wait_for_agreement().await?;
        let (out, mut heard) = mpsc::channel(NEWS_MAX);
        let (_followers, early) = self.follow_all(out, &mut heard).await?;
        say(&self.welcome().await?)?;
        let mut early = early.into_iter();
        loop {
            let line = match early.next() {
                Some(event) => self.tell_event(&event),
                None => tokio::select! {
                    Some(news) = self.news.recv() => self.tell_news(news),
                    Some(heard) = heard.recv() => match heard {
                        Heard::Event(event) => self.tell_event(&event),
                        // A sentinel that ends is told of as a child.
                        Heard::Connected { .. } | Heard::Disconnected { .. } => None,
                    },
                    else => bail!("all children are gone"),
                },
            };
            if let Some(line) = line {
                say(&format!(
                    "{}  {line}",
                    time_of_day(crate::clock::unix_now())
                ))?;
            }
        }
    }

    fn start_line(&self) -> String {
        let verb = if self.plan.is_continued {
            "continuing"
        } else {
            "starting"
        };
        let count =
            |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        format!(
            "{verb} 1 master, {} and {} in {}",
            count(self.plan.replica_count(), "replica"),
            count(self.plan.sentinels().count(), "sentinel"),
            self.plan.dir.display()
        )
    }

    async fn wait_for_agreement(&mut self) -> anyhow::Result<()> {
        let deadline = tokio::time::sleep(AGREEMENT_MAX);
        tokio::pin!(deadline);
        let mut progress = Progress::begin();
        let mut missing = None;
        loop {
            let ask = async {
                tokio::time::sleep(ASK_PERIOD).await;
                agree::agreed(&self.access, &self.plan).await
            };
            tokio::select! {
                result = ask => match result {
                    Ok(()) => return Ok(()),
                    Err(lacks) => {
                        progress.tell(&format!("waiting until all agree: {lacks}"));
                        missing = Some(lacks);
                    }
                },
                Some(news) = self.news.recv() => self.note_start(news)?,
                () = &mut deadline => {
                    let missing = missing.map_or_else(String::new, |lacks| format!(": {lacks}"));
                    bail!("the sentinels do not agree after {}{missing}", humantime::format_duration(AGREEMENT_MAX));
                }
            }
        }
    }

    /// What a child may and may not do before all is up.
    fn note_start(&mut self, news: News) -> anyhow::Result<()> {
        let name = self.child_name(news.index);
        let child = &self.plan.children[news.index];
        match news.what {
            What::Started(pid) => self.pids[news.index] = Some(pid),
            What::NotStarted(error) => {
                return Err(error).with_context(|| format!("start {name}"));
            }
            What::Died { status, .. } => {
                let log = end_of_log(&child.log);
                bail!("{name} ended at its start: {}\n{log}", describe_end(status));
            }
        }
        Ok(())
    }

    /// Subscribes to every sentinel and waits until all subscriptions stand; also what was published
    /// meanwhile.
    async fn follow_all(
        &mut self,
        out: mpsc::Sender<Heard>,
        heard: &mut mpsc::Receiver<Heard>,
    ) -> anyhow::Result<(JoinSet<()>, Vec<Published>)> {
        let mut followers = JoinSet::new();
        let mut missing = HashSet::new();
        for sentinel in self.plan.sentinels() {
            let by: Arc<str> = Arc::from(sentinel.port.to_string());
            missing.insert(Arc::clone(&by));
            let (access, address) = (self.access.clone(), local_address(sentinel));
            followers.spawn_local(events::follow(access, address, by, out.clone()));
        }
        let mut early = Vec::new();
        while !missing.is_empty() {
            tokio::select! {
                Some(heard) = heard.recv() => match heard {
                    Heard::Connected { by } => drop(missing.remove(&by)),
                    Heard::Event(event) if early.len() < NEWS_MAX => early.push(event),
                    Heard::Event(_) | Heard::Disconnected { .. } => {}
                },
                // One that has died subscribes to nothing.
                Some(news) = self.news.recv() => self.note_start(news)?,
            }
        }
        Ok((followers, early))
    }

    /// The table, and what to try next.
    async fn welcome(&mut self) -> anyhow::Result<String> {
        let asked: Vec<Address> = self.plan.sentinels().map(local_address).collect();
        let survey = survey(&self.access, &asked, Some(&self.plan.name)).await?;
        let group = survey
            .masters
            .iter()
            .find(|group| group.name == self.plan.name);
        let group = group.context("the sentinels have forgotten the master")?;
        if let Some(address) = Address::parse(&group.address) {
            self.master_port = address.port;
        }
        let master_pid = self
            .plan
            .children
            .iter()
            .zip(&self.pids)
            .find_map(|(child, pid)| pid.filter(|_| child.port == self.master_port))
            .ok_or_else(|| anyhow!("the master {} is none of our children", group.address))?;
        let ourselves = std::env::args()
            .next()
            .unwrap_or_else(|| "sentinel".to_owned());
        let sentinel = &asked[0];
        let http = self.plan.sentinels().find_map(|child| child.http_port);
        // A folder from before may hold configurations that say otherwise.
        let http = http.filter(|_| !self.plan.is_continued);
        let name = &self.plan.name;
        let page = http.map_or_else(String::new, |port| {
            let token = self.plan.token.as_ref().map_or_else(String::new, |token| {
                format!("Token for its buttons: {token}\n")
            });
            format!("Look at http://127.0.0.1:{port}/ in a browser.\n{token}")
        });
        let http = http.map_or_else(String::new, |port| {
            format!(
                "curl http://127.0.0.1:{port}/masters/{name}/primary    # all routes: /docs\n  "
            )
        });
        Ok(format!(
            "\n{}\n{page}Try in another terminal:\n  \
             {ourselves} status --sentinel {sentinel}\n  \
             redis-cli -p {} sentinel get-master-addr-by-name {name}\n  \
             {http}kill -9 {master_pid}    # the master; watch the failover here\n\n\
             Events follow, times are UTC. Ctrl-C stops everything{}.",
            survey.table(self.paint),
            sentinel.port,
            if self.plan.is_temporary {
                " and removes the folder"
            } else {
                ""
            },
        ))
    }

    fn tell_news(&mut self, news: News) -> Option<String> {
        let name = self.child_name(news.index);
        match news.what {
            What::Started(pid) => {
                self.pids[news.index] = Some(pid);
                Some(self.labelled("started", &format!("{name}, pid {pid}")))
            }
            What::NotStarted(error) => {
                Some(self.labelled("not started", &format!("{name}: {error}")))
            }
            What::Died {
                pid,
                status,
                restart_in,
            } => {
                self.pids[news.index] = None;
                if self.plan.children[news.index].port == self.master_port {
                    self.master_died = Some(self.clock.mono());
                }
                let again = restart_in.map_or_else(String::new, |pause| {
                    format!("; it starts again in {}", humantime::format_duration(pause))
                });
                let end = describe_end(status);
                Some(self.labelled("died", &format!("{name} (pid {pid}): {end}{again}")))
            }
        }
    }

    fn tell_event(&mut self, event: &Published) -> Option<String> {
        let now = self.clock.mono();
        if !self.merge.is_news(now, event) {
            return None;
        }
        let mut line = events::describe(event)?;
        if let Some(port) = events::switched_to(event) {
            self.master_port = port;
            if let Some(died) = self.master_died.take() {
                line.push_str(&format!(
                    ", {} ms after the master died",
                    now.since(died).as_millis()
                ));
            }
        }
        Some(self.labelled(&event.channel, &line))
    }

    fn labelled(&self, label: &str, line: &str) -> String {
        event_label(label, 20, self.paint) + &printable(line)
    }

    fn child_name(&self, index: usize) -> String {
        let child = &self.plan.children[index];
        let role = match child.role {
            Role::Sentinel => "sentinel",
            Role::Master | Role::Replica if child.port == self.master_port => "master",
            Role::Master | Role::Replica => "replica",
        };
        format!("{role} {}", local_address(child))
    }
}

fn local_address(child: &ChildPlan) -> Address {
    Address {
        host: "127.0.0.1".to_owned(),
        port: child.port,
    }
}

fn end_of_log(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
    if shown.is_empty() {
        "its log is empty".to_owned()
    } else {
        format!("the end of its log:\n  {}", shown.join("\n  "))
    }
}

/// Hours, minutes, seconds and milliseconds of the day, in UTC.
fn time_of_day(at: UnixMillis) -> String {
    let ms = at.0 % (24 * 3600 * 1000);
    let (seconds, ms) = (ms / 1000, ms % 1000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// The signals that end a topology.
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl StopSignals {
    fn listen() -> io::Result<StopSignals> {
        Ok(StopSignals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_readable() {
        assert_eq!(time_of_day(UnixMillis(0)), "00:00:00.000");
        let late = 86_400_000 + 23 * 3_600_000 + 59 * 60_000 + 58_007;
        assert_eq!(time_of_day(UnixMillis(late)), "23:59:58.007");
    }

    #[test]
    fn the_end_of_a_log_is_shown() {
        let log = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(end_of_log(log.path()), "its log is empty");
        let text: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
        fs::write(log.path(), text.join("\n")).unwrap();
        let end = end_of_log(log.path());
        assert!(end.ends_with("line 99"));
        assert_eq!(end.lines().count(), LOG_LINES_SHOWN + 1);
    }
}
