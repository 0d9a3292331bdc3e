//! One sentinel alone with servers that answer at once: what golden traces of whole clusters do not
//! show.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::resp::Value;

mod pausing;

const PEER: &str = "0123456789012345678901234567890123456789";

/// A sentinel of `mymaster` (10.0.0.1, replica 10.0.0.2), and a script for what servers answer.
struct Alone {
    sentinel: Sentinel,
    now: Now,
    hosts: HashMap<LinkId, String>,
    events: Vec<String>,
    replies: Vec<(ReplyTo, Value)>,
    /// What was sent to peers and servers, in order.
    sent: Vec<(String, Request)>,
    infos: usize,
    seq: Seq,
    /// The answer to INFO of a host; the second value: it was told to be a master.
    info: fn(&str, bool) -> Value,
    promoted: bool,
    /// The answer to the transaction that promotes.
    exec: Value,
    /// Hosts whose answers are on their way, and what they will answer.
    slow: Vec<&'static str>,
    withheld: Vec<(LinkId, Request)>,
    /// The newest subscription to each host.
    subscribed: HashMap<String, LinkId>,
}

impl Alone {
    fn new(info: fn(&str, bool) -> Value) -> Alone {
        Alone::among(info, 1, Vec::new())
    }

    fn among(info: fn(&str, bool) -> Value, quorum: u32, peers: Vec<DurablePeer>) -> Alone {
        let mut settings = MasterSettings::new(quorum);
        settings.down_after = Duration::from_secs(1);
        let master = DurableMaster {
            name: MasterName::from("mymaster"),
            host: Arc::from("10.0.0.1"),
            port: 6379,
            settings,
            config_epoch: Epoch(0),
            leader_epoch: Epoch(0),
            replicas: vec![(Arc::from("10.0.0.2"), 6379)],
            peers,
            paused: None,
        };
        let durable = Durable {
            masters: vec![Arc::new(master)],
            ..Durable::default()
        };
        Alone::with(info, durable)
    }

    fn with(info: fn(&str, bool) -> Value, durable: Durable) -> Alone {
        let now = Now {
            mono: Mono(1000),
            unix: UnixMillis(1_000_000),
        };
        let mut out = Vec::new();
        let sentinel = Sentinel::new(now, 1, durable, &mut out);
        let mut alone = Alone {
            sentinel,
            now,
            hosts: HashMap::new(),
            events: Vec::new(),
            replies: Vec::new(),
            sent: Vec::new(),
            infos: 0,
            seq: Seq(0),
            info,
            promoted: false,
            exec: Value::Array(Vec::new()),
            slow: Vec::new(),
            withheld: Vec::new(),
            subscribed: HashMap::new(),
        };
        alone.perform(out);
        alone
    }

    fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.sentinel.handle(self.now, input, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Connect { link, to, .. } => {
                    self.hosts.insert(link, to.ip().to_string());
                    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    self.give(Input::LinkUp { link, local });
                }
                Output::Send { link, request, .. } => self.answer(link, &request),
                Output::Event(event) => self.events.push(event.to_string()),
                Output::Persist { seq, .. } => self.seq = seq,
                Output::Reply { to, reply } => self.replies.push((to, reply)),
                Output::Close { .. }
                | Output::Log(..)
                | Output::Resolve(_)
                | Output::Script { .. }
                | Output::Exit(_) => {}
            }
        }
    }

    fn answer(&mut self, link: LinkId, request: &Request) {
        self.sent.push((self.hosts[&link].clone(), request.clone()));
        if matches!(request, Request::Subscribe) {
            self.subscribed.insert(self.hosts[&link].clone(), link);
        }
        if self.slow.contains(&self.hosts[&link].as_str()) {
            self.withheld.push((link, request.clone()));
        } else {
            self.answer_now(link, request);
        }
    }

    fn answer_now(&mut self, link: LinkId, request: &Request) {
        let host = self.hosts[&link].clone();
        for _ in 1..request.reply_count() {
            self.give(Input::Reply {
                link,
                reply: Value::ok(),
            });
        }
        let reply = match request {
            Request::Ping => Value::simple("PONG"),
            Request::Info => {
                self.infos += 1;
                (self.info)(&host, self.promoted)
            }
            Request::SlaveOf(None) => {
                self.promoted = !self.exec.is_error();
                self.exec.clone()
            }
            Request::AskMasterDown { .. } => {
                Value::Array(vec![Value::Integer(1), Value::bulk("*"), Value::Integer(0)])
            }
            Request::Auth(_)
            | Request::SetName(_)
            | Request::Subscribe
            | Request::Publish(_)
            | Request::SlaveOf(Some(_))
            | Request::Ordered { .. }
            | Request::Pause { .. }
            | Request::Resume { .. }
            | Request::ScriptKill => Value::ok(),
        };
        self.give(Input::Reply { link, reply });
    }

    /// What was on its way from a host arrives; what it is asked from now on it answers late again.
    fn release(&mut self, host: &'static str) {
        let hosts = &self.hosts;
        let (theirs, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.withheld)
            .into_iter()
            .partition(|(link, _)| hosts[link] == host);
        self.withheld = others;
        for (link, request) in theirs {
            self.answer_now(link, &request);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        let mut turns = 0;
        loop {
            if self.seq > Seq(0) {
                self.give(Input::Persisted(self.seq));
            }
            let next = self.sentinel.next_deadline();
            if next > end {
                self.now.mono = end;
                return;
            }
            self.now.mono = self.now.mono.max(next);
            self.give(Input::Tick);
            turns += 1;
            assert!(turns < 20_000, "the loop never sleeps");
        }
    }

    fn saw(&self, event: &str) -> bool {
        self.events.iter().any(|seen| seen.starts_with(event))
    }
}

fn healthy(host: &str, promoted: bool) -> Value {
    Value::bulk(match (host, promoted) {
        ("10.0.0.1", _) | (_, true) => "role:master\r\n",
        _ => "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:up\r\n",
    })
}

#[test]
fn w26_who_refuses_info_is_asked_at_its_pace() {
    let mut alone = Alone::new(|_, _| Value::error("NOAUTH Authentication required."));
    alone.run(Duration::from_secs(60));
    // Two instances, one question every ten seconds each, and the first ones.
    assert!(alone.infos <= 2 * 9, "{} times in a minute", alone.infos);
    assert!(alone.saw("+auth-refused"));
    assert!(
        !alone.saw("-auth-refused"),
        "PING is granted, INFO is still refused"
    );
    assert!(!alone.saw("+sdown"));
}

#[test]
fn w13_a_forged_epoch_ends_a_failover_and_not_the_process() {
    // The replica never says that it is a master, so that the promotion is awaited.
    let mut alone = Alone::new(|host, _| healthy(host, false));
    alone.run(Duration::from_secs(5));
    let to = ReplyTo(1);
    let request = Operator::Failover(MasterName::from("mymaster"));
    alone.give(Input::Operator { to, request });
    alone.run(Duration::from_millis(500));
    assert!(
        alone.saw("+failover-state-wait-promotion"),
        "{:?}",
        alone.events
    );
    let forged = format!("10.0.0.9,26379,{PEER},99,mymaster,10.0.0.1,6379,99");
    alone.give(Input::HelloPublished {
        payload: forged.into(),
    });
    assert!(alone.saw("-failover-abort-not-elected"));
    alone.info = |host, _| healthy(host, true);
    alone.run(Duration::from_secs(2));
    assert!(!alone.saw("+promoted-slave"));
    assert_eq!(alone.sentinel.config_epoch("mymaster"), Some(Epoch(99)));
}

#[test]
fn a_refused_promotion_is_not_waited_out() {
    for (exec, outcome) in [
        (Value::Array(Vec::new()), "+switch-master"),
        (
            Value::error("EXECABORT discarded"),
            "-failover-abort-slave-timeout",
        ),
    ] {
        let mut alone = Alone::new(healthy);
        alone.exec = exec;
        alone.run(Duration::from_secs(5));
        let request = Operator::Failover(MasterName::from("mymaster"));
        alone.give(Input::Operator {
            to: ReplyTo(1),
            request,
        });
        alone.run(Duration::from_millis(500));
        assert!(alone.saw(outcome), "{outcome}: {:?}", alone.events);
    }
}

/// One of two sentinels, whose master and whose peer do not answer at present: the peer was asked
/// whether the master is down.
fn asked_and_not_answered() -> Alone {
    let peer = DurablePeer {
        host: Arc::from("10.0.0.9"),
        port: 26379,
        id: SentinelId::from(PEER),
    };
    let mut alone = Alone::among(healthy, 2, vec![peer]);
    alone.run(Duration::from_secs(5));
    alone.slow = vec!["10.0.0.1", "10.0.0.9"];
    alone.run(Duration::from_millis(1500));
    assert!(alone.saw("+sdown master"), "{:?}", alone.events);
    assert!(!alone.saw("+odown"));
    let is_question =
        |(_, request): &(LinkId, Request)| matches!(request, Request::AskMasterDown { .. });
    assert!(alone.withheld.iter().any(is_question));
    alone
}

#[test]
fn an_answer_in_time_counts() {
    let mut alone = asked_and_not_answered();
    alone.release("10.0.0.9");
    alone.run(Duration::from_millis(1));
    assert!(alone.saw("+odown"), "{:?}", alone.events);
}

#[test]
fn an_answer_from_before_two_switches_says_nothing_of_the_same_address() {
    let mut alone = asked_and_not_answered();
    for (epoch, master) in [(1, "10.0.0.2"), (2, "10.0.0.1")] {
        let hello = format!("10.0.0.9,26379,{PEER},{epoch},mymaster,{master},6379,{epoch}");
        alone.give(Input::HelloPublished {
            payload: hello.into(),
        });
    }
    alone.release("10.0.0.9");
    alone.events.clear();
    alone.run(Duration::from_millis(1500));
    assert!(alone.saw("+sdown master"), "{:?}", alone.events);
    assert!(!alone.saw("+odown"), "{:?}", alone.events);
}

#[test]
fn an_answer_that_lay_in_the_socket_through_a_stall_is_no_news() {
    let mut alone = asked_and_not_answered();
    let late = Duration::from_millis(1500);
    alone.now.mono += late;
    alone.give(Input::Stalled { late });
    alone.release("10.0.0.9");
    alone.run(Duration::from_millis(500));
    assert!(!alone.saw("+odown"), "{:?}", alone.events);
}

#[test]
fn a_link_that_breaks_judges_nobody_before_the_pong_behind_it_is_read() {
    let mut alone = Alone::new(healthy);
    alone.run(Duration::from_secs(5));
    alone.slow = vec!["10.0.0.1"];
    alone.run(Duration::from_millis(300));
    // Down-after has passed, and the PONG lies in the socket behind the end of the subscription.
    alone.now.mono += Duration::from_secs(1);
    alone.give(Input::LinkDown {
        link: alone.subscribed["10.0.0.1"],
        reason: DownReason::Closed,
    });
    alone.slow.clear();
    alone.release("10.0.0.1");
    alone.run(Duration::from_millis(100));
    assert!(!alone.saw("+sdown"), "{:?}", alone.events);
}

/// What a picture shows of the confirmation by the one peer.
fn confirmed_at(alone: &mut Alone, picture: &mut Picture) -> Option<Mono> {
    let view = picture.refresh(&mut alone.sentinel, alone.now);
    view.masters[0].peers[0].confirmed_at
}

fn hello(alone: &mut Alone, master: &str, epoch: u64) {
    let hello = format!("10.0.0.9,26379,{PEER},9,mymaster,{master},6379,{epoch}");
    alone.give(Input::HelloPublished {
        payload: hello.into(),
    });
}

#[test]
fn a_peer_confirms_by_naming_the_very_address_and_version() {
    let mut alone = Alone::new(healthy);
    let mut picture = Picture::default();
    alone.sentinel.begin_views();
    alone.run(Duration::from_secs(1));
    hello(&mut alone, "10.0.0.1", 0);
    let first = alone.now.mono;
    assert_eq!(confirmed_at(&mut alone, &mut picture), Some(first));
    // The time that we did not run for makes it older, and no younger.
    let late = Duration::from_millis(1500);
    alone.now.mono += late;
    alone.give(Input::Stalled { late });
    alone.run(Duration::from_millis(100));
    alone.sentinel.all_changed();
    assert_eq!(confirmed_at(&mut alone, &mut picture), Some(first));
    // Another address in an older version, or another version, is no confirmation.
    hello(&mut alone, "10.0.0.2", 0);
    assert_eq!(confirmed_at(&mut alone, &mut picture), None);
    hello(&mut alone, "10.0.0.1", 3);
    let again = alone.now.mono;
    assert_eq!(confirmed_at(&mut alone, &mut picture), Some(again));
    assert!(
        !picture_is_announced(&mut alone, &mut picture),
        "it is not on disk"
    );
    alone.run(Duration::from_millis(1));
    assert!(picture_is_announced(&mut alone, &mut picture));
    hello(&mut alone, "10.0.0.1", 2);
    assert_eq!(confirmed_at(&mut alone, &mut picture), None);
}

fn picture_is_announced(alone: &mut Alone, picture: &mut Picture) -> bool {
    let view = picture.refresh(&mut alone.sentinel, alone.now);
    view.masters[0].is_announced
}

#[test]
fn pictures_show_what_has_changed_and_share_the_rest() {
    let mut alone = Alone::new(healthy);
    let mut picture = Picture::default();
    assert_eq!(alone.sentinel.view_wanted(), Wanted::Nothing);
    alone.sentinel.begin_views();
    let first = picture.refresh(&mut alone.sentinel, alone.now);
    assert!(!first.masters[0].is_complete, "nobody has been heard of");
    alone.run(Duration::from_secs(1));
    let second = picture.refresh(&mut alone.sentinel, alone.now);
    let master = &second.masters[0];
    assert!(master.is_complete);
    assert_eq!((&*master.host, master.port), ("10.0.0.1", 6379));
    assert!(master.instances[0].reports_master);
    assert!(
        master.replicas()[0]
            .replica
            .as_ref()
            .unwrap()
            .follows_master
    );
    assert_eq!(alone.sentinel.view_wanted(), Wanted::Nothing);
    let third = picture.refresh(&mut alone.sentinel, alone.now);
    assert!(Arc::ptr_eq(&second.masters[0], &third.masters[0]));
    // A failover is shown in the turn in which it begins, and its end too.
    let request = Operator::Failover(MasterName::from("mymaster"));
    let to = ReplyTo(1);
    alone.give(Input::Operator { to, request });
    assert_eq!(alone.sentinel.view_wanted(), Wanted::Now);
    let fourth = picture.refresh(&mut alone.sentinel, alone.now);
    let failover = fourth.masters[0].failover.as_ref().unwrap();
    assert!(failover.is_manual);
    alone.run(Duration::from_secs(5));
    let last = picture.refresh(&mut alone.sentinel, alone.now);
    assert_eq!(&*last.masters[0].host, "10.0.0.2");
    let request = Operator::Remove(MasterName::from("mymaster"));
    alone.give(Input::Operator { to, request });
    assert!(
        picture
            .refresh(&mut alone.sentinel, alone.now)
            .masters
            .is_empty()
    );
}
