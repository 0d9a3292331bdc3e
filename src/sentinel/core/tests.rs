//! One sentinel alone with servers that answer at once: what golden traces of whole clusters do not
//! show.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::resp::Value;

mod pausing;
mod viewing;

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
        self.now.unix = UnixMillis(1_000_000 + self.now.mono.0);
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
                | Output::Record(_)
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

// Records of decisions.

impl Alone {
    /// `mymaster` and its peers, of which none answers.
    fn with_silent_peers(quorum: u32) -> Alone {
        let peers = (1..=2).map(|n| DurablePeer {
            host: Arc::from(format!("10.0.0.{}", 8 + n)),
            port: 26379,
            id: SentinelId::from(&*format!("{n:040}")),
        });
        let mut alone = Alone::among(healthy, quorum, peers.collect());
        alone.slow = vec!["10.0.0.9", "10.0.0.10"];
        alone.run(Duration::from_secs(5));
        alone
    }

    /// The newest record of a decision of that kind.
    fn newest(&self, decision: Decision) -> Arc<Record> {
        let records = self.sentinel.records("mymaster");
        let found = records.iter().find(|record| record.decision == decision);
        Arc::clone(found.unwrap_or_else(|| panic!("no {decision}: {records:#?}")))
    }

    /// How the newest attempt at a failover ended.
    fn end_of(&self, decision: Decision) -> (Outcome, Option<Reason>) {
        let record = self.newest(decision);
        (record.outcome, record.reason)
    }

    fn order_failover(&mut self) {
        let request = Operator::Failover(MasterName::from("mymaster"));
        let to = ReplyTo(1);
        self.give(Input::Operator { to, request });
    }

    /// The master is silent from now on.
    fn silence_master(&mut self) {
        self.slow.push("10.0.0.1");
    }
}

#[test]
fn a_failover_is_told_as_a_whole() {
    let mut alone = Alone::new(healthy);
    alone.run(Duration::from_secs(5));
    assert!(
        alone.sentinel.records("mymaster").is_empty(),
        "nothing happened"
    );
    alone.silence_master();
    alone.run(Duration::from_secs(2));
    assert!(alone.saw("+failover-end"), "{:?}", alone.events);
    let record = alone.newest(Decision::Failover);
    assert_eq!(
        (record.id, record.outcome, record.reason),
        (1, Outcome::Done, None)
    );
    assert_eq!(record.from, "10.0.0.1:6379");
    assert_eq!(record.to.as_deref(), Some("10.0.0.2:6379"));
    let phases: Vec<Phase> = record.phases.iter().map(|phase| phase.phase).collect();
    assert_eq!(phases, Phase::ALL);
    let detect = record.phases[0].ms;
    assert!((800..=1_200).contains(&detect), "{detect} ms");
    let votes = record.votes.as_ref().unwrap();
    assert_eq!((votes.for_us, votes.needed, votes.known), (1, 1, 1));
    assert_eq!(record.candidates[0].verdict, Verdict::Chosen);
    let steps: Vec<&str> = record
        .steps
        .list
        .iter()
        .map(|step| step.text.as_str())
        .collect();
    let place_of = |what: &str| {
        let place = steps.iter().position(|step| step.starts_with(what));
        place.unwrap_or_else(|| panic!("no {what}: {steps:#?}"))
    };
    let order = [
        "SDOWN here: no valid reply",
        "ODOWN: 1 of 1",
        "stands as a candidate in epoch 1",
        "elected with 1 of 1 votes",
        "chose 10.0.0.2:6379: the only one",
        "sent SLAVEOF NO ONE to 10.0.0.2:6379",
        "10.0.0.2:6379 says that it is a master",
    ];
    assert!(order.map(place_of).is_sorted(), "{steps:#?}");
    let stats = alone.sentinel.failover_stats();
    let totals: Vec<_> = stats.totals().collect();
    assert_eq!(totals, [(FailoverKind::Automatic, Outcome::Done, None, 1)]);
    for phase in Phase::ALL {
        assert_eq!(stats.phase(*phase).count, 1, "{phase}");
    }
}

#[test]
fn an_attempt_without_a_majority_names_who_is_missing_and_repeats_are_counted() {
    let mut alone = Alone::with_silent_peers(1);
    alone.silence_master();
    alone.run(Duration::from_secs(40));
    let record = alone.newest(Decision::Failover);
    assert_eq!(record.reason, Some(Reason::NoMajority));
    assert!(
        record.count > 1 && record.first_at < record.last_at,
        "{record:?}"
    );
    let said = "no majority: 1 of 3 known sentinels reachable, 2 needed (majority 2, quorum 1); unreachable: 10.0.0.9:26379 down for ";
    assert!(record.summary.contains(said), "{}", record.summary);
    let votes = record.votes.as_ref().unwrap();
    let presences: Vec<Presence> = votes.voices.iter().map(|voice| voice.presence).collect();
    use Presence::{Ourselves, Unreachable};
    assert_eq!(presences, [Ourselves, Unreachable, Unreachable]);
    assert!(
        alone.sentinel.records("mymaster").len() <= 3,
        "the same is told once"
    );
    // The minutes after which they are ghosts.
    alone.run(Duration::from_secs(400));
    let record = alone.newest(Decision::Failover);
    assert!(
        record
            .summary
            .contains("; ghosts: 10.0.0.9:26379 down for "),
        "{}",
        record.summary
    );
}

#[test]
fn a_quorum_that_is_not_reached_is_told() {
    let mut alone = Alone::with_silent_peers(2);
    alone.silence_master();
    alone.run(Duration::from_secs(2));
    assert!(
        alone.sentinel.records("mymaster").is_empty(),
        "peers may still agree"
    );
    alone.run(Duration::from_secs(10));
    let record = alone.newest(Decision::Wait);
    assert_eq!((record.outcome, record.count), (Outcome::Declined, 1));
    assert_eq!(record.reason, Some(Reason::QuorumNotReached));
    let said =
        "no failover: the quorum is not reached, 1 of 2 needed sentinels say that it is down";
    assert!(record.summary.starts_with(said), "{}", record.summary);
    alone.slow.retain(|host| *host != "10.0.0.1");
    alone.release("10.0.0.1");
    alone.run(Duration::from_secs(2));
    let last = alone
        .newest(Decision::Wait)
        .steps
        .list
        .last()
        .cloned()
        .unwrap();
    assert!(
        last.text
            .starts_with("SDOWN is over: the master answers again"),
        "{last:?}"
    );
}

#[test]
fn each_reason_to_call_a_failover_off_is_told() {
    type Story = (Reason, fn(&mut Alone));
    let ordered: [Story; 5] = [
        (Reason::ReplicaTimeout, |alone| {
            alone.info = |host, _| healthy(host, false);
            alone.order_failover();
            alone.run(Duration::from_secs(185));
        }),
        (Reason::ReplicaDown, |alone| {
            alone.info = |host, _| healthy(host, false);
            alone.order_failover();
            alone.slow = vec!["10.0.0.2"];
            alone.run(Duration::from_secs(3));
        }),
        (Reason::ReplicaRefused, |alone| {
            alone.exec = Value::error("EXECABORT discarded");
            alone.order_failover();
            alone.run(Duration::from_secs(1));
        }),
        (Reason::Reset, |alone| {
            alone.info = |host, _| healthy(host, false);
            alone.order_failover();
            alone.run(Duration::from_millis(500));
            let request = Operator::Reset(vec![MasterName::from("mymaster")]);
            let to = ReplyTo(2);
            alone.give(Input::Operator { to, request });
        }),
        (Reason::Overtaken, |alone| {
            alone.info = |host, _| healthy(host, false);
            alone.order_failover();
            alone.run(Duration::from_millis(500));
            let newer = format!("10.0.0.9,26379,{PEER},9,mymaster,10.0.0.1,6379,9");
            let payload = newer.into();
            alone.give(Input::HelloPublished { payload });
        }),
    ];
    for (reason, story) in ordered {
        let mut alone = Alone::new(healthy);
        alone.run(Duration::from_secs(5));
        story(&mut alone);
        let end = alone.end_of(Decision::ManualFailover);
        assert_eq!(end, (Outcome::Aborted, Some(reason)));
    }
    let elections: [Story; 5] = [
        (Reason::NoMajority, |alone| {
            alone.run(Duration::from_secs(12))
        }),
        (Reason::MasterIsBack, |alone| {
            alone.slow.retain(|host| *host != "10.0.0.1");
            alone.release("10.0.0.1");
            alone.run(Duration::from_millis(100));
        }),
        (Reason::VotedForAnother, |alone| {
            alone.give(Input::Asked {
                to: ReplyTo(3),
                host: "10.0.0.1".to_owned(),
                port: 6379,
                epoch: Epoch(7),
                candidate: Some(SentinelId::from(&*format!("{:040}", 1))),
            });
        }),
        (Reason::Stalled, |alone| {
            let late = Duration::from_millis(900);
            alone.now.mono += late;
            alone.give(Input::Stalled { late });
        }),
        (Reason::CannotSave, |alone| {
            let error = "No space left on device".to_owned();
            let seq = alone.seq;
            alone.give(Input::PersistFailed { seq, error });
            // An answer comes before the next write is tried.
            alone.release("10.0.0.9");
            alone.give(Input::Tick);
        }),
    ];
    for (reason, story) in elections {
        let mut alone = Alone::with_silent_peers(1);
        // Heard of a moment ago, so that votes may still come.
        alone.slow.clear();
        for host in ["10.0.0.9", "10.0.0.10"] {
            alone.release(host);
        }
        alone.slow = vec!["10.0.0.9", "10.0.0.10", "10.0.0.1"];
        let mut waited = 0;
        while !alone.saw("+try-failover") {
            alone.run(Duration::from_millis(10));
            waited += 10;
            assert!(waited < 3_000, "{:?}", alone.events);
        }
        story(&mut alone);
        let end = alone.end_of(Decision::Failover);
        assert_eq!(end, (Outcome::Aborted, Some(reason)), "{:?}", alone.events);
    }
}

#[test]
fn a_failover_for_which_no_replica_is_good_says_why_of_each() {
    let mut alone = Alone::new(|host, promoted| match host {
        "10.0.0.1" => healthy(host, promoted),
        _ => Value::bulk(
            "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:up\r\nslave_priority:0\r\n",
        ),
    });
    alone.run(Duration::from_secs(5));
    alone.order_failover();
    let declined = alone.newest(Decision::ManualFailover);
    assert_eq!(declined.outcome, Outcome::Declined);
    alone.silence_master();
    alone.run(Duration::from_secs(3));
    let record = alone.newest(Decision::Failover);
    assert_eq!(record.reason, Some(Reason::NoGoodReplica));
    for record in [&declined, &record] {
        let verdict = record.candidates[0].verdict;
        assert_eq!(verdict, Verdict::Excluded(Exclusion::PriorityZero));
    }
    let line = record.log_line();
    assert!(line.starts_with("decision id="), "{line}");
    assert!(
        line.contains(" kind=failover outcome=aborted reason=no-good-replica "),
        "{line}"
    );
}

#[test]
fn votes_given_and_refused_are_told() {
    let mut alone = Alone::with_silent_peers(2);
    let mut ask = |epoch, n: usize| {
        alone.give(Input::Asked {
            to: ReplyTo(1),
            host: "10.0.0.1".to_owned(),
            port: 6379,
            epoch: Epoch(epoch),
            candidate: Some(SentinelId::from(&*format!("{n:040}"))),
        });
        alone.give(Input::Persisted(alone.seq));
        let record = alone.newest(Decision::Vote);
        (record.outcome, record.reason, record.count)
    };
    assert_eq!(ask(3, 1), (Outcome::Done, None, 1));
    assert_eq!(ask(3, 1), (Outcome::Done, None, 1), "asked again");
    assert_eq!(
        ask(3, 2),
        (Outcome::Declined, Some(Reason::AlreadyVoted), 1)
    );
    assert_eq!(
        ask(3, 2),
        (Outcome::Declined, Some(Reason::AlreadyVoted), 2)
    );
    assert_eq!(ask(2, 2), (Outcome::Declined, Some(Reason::OldEpoch), 1));
    assert_eq!(
        ask(1 << 62, 2),
        (Outcome::Declined, Some(Reason::AbsurdEpoch), 1)
    );
}

#[test]
fn tilt_is_told_of_masters_that_are_down() {
    let mut alone = Alone::with_silent_peers(2);
    alone.silence_master();
    alone.run(Duration::from_millis(1_500));
    assert!(alone.saw("+sdown master"), "{:?}", alone.events);
    let late = Duration::from_secs(5);
    alone.now.mono += late;
    alone.give(Input::Stalled { late });
    let record = alone.newest(Decision::Wait);
    assert_eq!(record.reason, Some(Reason::Tilt));
    let outlook = alone.sentinel.outlook(alone.now, "mymaster").unwrap();
    assert!(
        outlook
            .iter()
            .any(|line| line.starts_with("in TILT for another 30.0 s")),
        "{outlook:?}"
    );
}

#[test]
fn whose_address_moves_by_a_peer_is_told_by_whom() {
    let mut alone = Alone::with_silent_peers(2);
    let id = format!("{:040}", 1);
    let newer = format!("10.0.0.9,26379,{id},4,mymaster,10.0.0.2,6379,4");
    let payload = newer.into();
    alone.give(Input::HelloPublished { payload });
    let record = alone.newest(Decision::Follow);
    assert_eq!((record.outcome, record.epoch), (Outcome::Done, Epoch(4)));
    let said = "followed sentinel 10.0.0.9:26379 (00000000): the master moved from 10.0.0.1:6379 to 10.0.0.2:6379";
    assert!(record.summary.starts_with(said), "{}", record.summary);
}
