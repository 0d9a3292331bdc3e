//! Pauses, orders to forget, and observing.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn peer() -> DurablePeer {
    DurablePeer {
        host: Arc::from("10.0.0.9"),
        port: 26379,
        id: SentinelId::from(PEER),
    }
}

/// A sentinel of `mymaster` that has one peer, and needs it for a quorum of two.
fn with_peer() -> Alone {
    let mut alone = Alone::among(healthy, 2, vec![peer()]);
    alone.run(Duration::from_secs(5));
    alone.sent.clear();
    alone
}

fn pause(length: Option<Duration>, forwarded: bool) -> Operator {
    Operator::Pause {
        name: MasterName::from("mymaster"),
        length,
        forwarded,
    }
}

fn resume() -> Operator {
    Operator::Resume {
        name: MasterName::from("mymaster"),
        forwarded: false,
    }
}

impl Alone {
    /// The answer to an order, which may take a while.
    fn order(&mut self, request: Operator) -> Value {
        let to = ReplyTo(1000 + self.replies.len() as u64);
        self.give(Input::Operator { to, request });
        self.run(Duration::from_secs(3));
        let mut replies = self.replies.iter();
        let found = replies.find(|(whose, _)| *whose == to);
        found.expect("it is answered").1.clone()
    }

    fn lines(&mut self, request: Operator) -> Vec<String> {
        let Value::Array(lines) = self.order(request) else {
            panic!("not lines");
        };
        let text = |line: &Value| String::from_utf8_lossy(line.as_bytes().unwrap()).into_owned();
        lines.iter().map(text).collect()
    }

    /// Whom it says it has voted for, when `PEER` asks in this epoch.
    fn vote(&mut self, epoch: u64) -> Option<String> {
        self.vote_asked_by(PEER, epoch)
    }

    fn vote_asked_by(&mut self, candidate: &str, epoch: u64) -> Option<String> {
        let to = ReplyTo(5000 + self.replies.len() as u64);
        self.give(Input::Asked {
            to,
            host: "10.0.0.1".to_owned(),
            port: 6379,
            epoch: Epoch(epoch),
            candidate: Some(SentinelId::from(candidate)),
        });
        self.run(Duration::from_millis(10));
        let Some((_, Value::Array(parts))) = self.replies.iter().find(|(whose, _)| *whose == to)
        else {
            panic!("no answer");
        };
        let leader = String::from_utf8_lossy(parts[1].as_bytes().unwrap()).into_owned();
        (leader != "*").then_some(leader)
    }

    fn announce(&mut self, epoch: u64) {
        self.give(Input::Ordered {
            host: "10.0.0.1".to_owned(),
            port: 6379,
            epoch: Epoch(epoch),
            candidate: SentinelId::from(PEER),
        });
    }

    fn sent_any(&self, is_it: impl Fn(&Request) -> bool) -> bool {
        self.sent.iter().any(|(_, request)| is_it(request))
    }

    fn until(&self) -> Option<PausedUntil> {
        self.sentinel.paused("mymaster")
    }
}

#[test]
fn in_a_pause_only_ordered_failovers_get_the_vote() {
    let mut alone = with_peer();
    assert_eq!(alone.vote(1).as_deref(), Some(PEER));
    alone.order(pause(None, false));
    assert_eq!(alone.vote(1), None, "not told again");
    assert_eq!(alone.vote(2), None);
    alone.announce(3);
    assert_eq!(alone.vote(4), None, "another epoch was announced");
    assert_eq!(alone.vote(3).as_deref(), Some(PEER));
    assert_eq!(alone.vote(3).as_deref(), Some(PEER), "as often as asked");
    alone.order(resume());
    assert_eq!(alone.vote(5).as_deref(), Some(PEER));
}

#[test]
fn who_asks_on_an_order_is_not_told_of_a_vote_from_before_the_pause() {
    let mut alone = with_peer();
    let other = "f".repeat(40);
    assert_eq!(alone.vote_asked_by(&other, 3), Some(other.clone()));
    alone.announce(2);
    assert_eq!(alone.vote(2), Some(other), "no pause yet");
    alone.order(pause(None, false));
    alone.announce(2);
    assert_eq!(alone.vote(2), None);
}

#[test]
fn a_pause_is_confirmed_once_it_is_on_disk() {
    let mut alone = with_peer();
    let to = ReplyTo(7);
    let request = pause(Some(HOUR), true);
    alone.give(Input::Operator { to, request });
    assert!(alone.replies.is_empty());
    assert_eq!(alone.vote(1), None, "and counts before that");
    alone.run(Duration::from_millis(1));
    assert!(alone.replies.contains(&(to, Value::ok())));
    let to = ReplyTo(8);
    for forwarded in [true, false] {
        alone.replies.clear();
        let request = pause(None, forwarded);
        alone.give(Input::Operator { to, request });
        alone.give(Input::PersistFailed {
            seq: alone.seq,
            error: "disk full".to_owned(),
        });
        let error = &alone.replies[0].1;
        assert!(error.is_error(), "{error:?}");
    }
}

#[test]
fn the_answer_names_everyone() {
    let mut alone = with_peer();
    let lines = alone.lines(pause(Some(HOUR), false));
    let id = alone.sentinel.id().to_string();
    assert_eq!(
        lines,
        [
            "mymaster: automatic failovers are paused on 2 of 2 known sentinels, \
             until 1970-01-01T01:16:46Z"
                .to_owned(),
            format!("this sentinel {id}: paused"),
            format!("10.0.0.9:26379 {PEER}: paused"),
        ]
    );
    let to_peer = |request: &Request| {
        matches!(
            request,
            Request::Pause {
                length: Some(HOUR),
                ..
            }
        )
    };
    assert!(alone.sent_any(to_peer), "{:?}", alone.sent);
    // A peer that hangs.
    alone.slow = vec!["10.0.0.9"];
    let lines = alone.lines(pause(None, false));
    assert_eq!(
        lines[0],
        "mymaster: automatic failovers are paused on 1 of 2 known sentinels, until SENTINEL RESUME; \
         the other one cannot fail over by itself, which takes 2 votes"
    );
    assert_eq!(
        lines[2],
        format!(
            "10.0.0.9:26379 {PEER}: unreachable: no answer in time; it will be told when it is back"
        )
    );
}

#[test]
fn who_was_away_is_told_later() {
    let mut alone = with_peer();
    let is_peer = |alone: &Alone, link: &LinkId| alone.hosts[link] == "10.0.0.9";
    let newest = |alone: &Alone| {
        let links = alone.hosts.keys().filter(|link| is_peer(alone, link));
        *links.max().unwrap()
    };
    alone.slow = vec!["10.0.0.9"];
    alone.give(Input::Operator {
        to: ReplyTo(1),
        request: pause(None, false),
    });
    alone.run(Duration::from_millis(1));
    let link = newest(&alone);
    let reason = DownReason::Closed;
    alone.give(Input::LinkDown { link, reason });
    let Value::Array(lines) = &alone.replies[0].1 else {
        panic!("{:?}", alone.replies);
    };
    assert!(format!("{lines:?}").contains("the connection broke"));
    alone.slow.clear();
    alone.sent.clear();
    alone.run(Duration::from_secs(2));
    let told = |alone: &Alone| {
        let is_it = |(_, request): &&(String, Request)| matches!(request, Request::Pause { .. });
        alone.sent.iter().filter(is_it).count()
    };
    assert_eq!(told(&alone), 1);
    // Once it has answered, it is left in peace.
    let link = newest(&alone);
    let reason = DownReason::Closed;
    alone.give(Input::LinkDown { link, reason });
    alone.run(Duration::from_secs(2));
    assert_eq!(told(&alone), 1);
}

#[test]
fn a_pause_that_a_peer_passed_on_goes_no_further() {
    let mut alone = with_peer();
    assert_eq!(alone.order(pause(None, true)), Value::ok());
    assert!(!alone.sent_any(|request| matches!(request, Request::Pause { .. })));
    assert!(alone.saw("+pause"));
}

#[test]
fn time_in_which_the_process_stood_still_counts_for_a_pause() {
    let mut alone = with_peer();
    alone.order(pause(Some(Duration::from_secs(60)), false));
    let late = Duration::from_secs(50);
    alone.now.mono += late;
    alone.give(Input::Stalled { late });
    alone.run(Duration::from_secs(6));
    assert!(alone.until().is_some());
    alone.run(Duration::from_secs(2));
    assert_eq!(alone.until(), None);
    assert!(alone.saw("-pause master mymaster 10.0.0.1 6379 #expired"));
    let durable = alone.sentinel.durable();
    assert_eq!(durable.masters[0].paused, None, "nor is it on disk");
}

#[test]
fn a_restart_keeps_what_is_left_of_a_pause() {
    let mut alone = with_peer();
    let end = UnixMillis(1_000_000 + alone.now.mono.0 + 60_000);
    alone.order(pause(Some(MINUTE), false));
    let durable = alone.sentinel.durable();
    assert_eq!(durable.masters[0].paused, Some(PausedUntil::At(end)));
    // It starts again when the wall clock shows a million.
    let mut left = durable.clone();
    let end = UnixMillis(1_000_000 + 60_000);
    Arc::make_mut(&mut left.masters[0]).paused = Some(PausedUntil::At(end));
    let mut again = Alone::with(healthy, left);
    assert!(again.saw("+pause"), "{:?}", again.events);
    again.run(MINUTE - Duration::from_millis(1));
    assert_eq!(again.vote(1), None);
    again.run(Duration::from_secs(1));
    assert_eq!(again.vote(2).as_deref(), Some(PEER));
    let mut over = durable;
    Arc::make_mut(&mut over.masters[0]).paused = Some(PausedUntil::At(UnixMillis(1_000_000)));
    let over = Alone::with(healthy, over);
    assert!(over.saw("-pause"), "{:?}", over.events);
    assert_eq!(over.until(), None);
}

/// One of two with quorum 1, whose peer does not answer: it stands, and is not elected.
fn electing(is_ordered: bool) -> Alone {
    let mut alone = Alone::among(healthy, 1, vec![peer()]);
    alone.run(Duration::from_secs(5));
    if is_ordered {
        alone.slow = vec!["10.0.0.9"];
        let request = Operator::Failover(MasterName::from("mymaster"));
        let to = ReplyTo(1);
        alone.give(Input::Operator { to, request });
        alone.run(Duration::from_millis(10));
    } else {
        alone.slow = vec!["10.0.0.1", "10.0.0.9"];
        alone.run(Duration::from_millis(1500));
    }
    assert!(alone.saw("+try-failover"), "{:?}", alone.events);
    alone
}

#[test]
fn a_pause_calls_off_an_automatic_election_and_no_ordered_one() {
    let mut automatic = electing(false);
    automatic.order(pause(None, false));
    assert!(automatic.saw("-failover-abort-paused"));
    automatic.events.clear();
    automatic.run(Duration::from_secs(120));
    assert!(!automatic.saw("+try-failover"));
    automatic.order(resume());
    assert!(automatic.saw("+try-failover"));

    let mut ordered = electing(true);
    ordered.give(Input::Operator {
        to: ReplyTo(2),
        request: pause(None, false),
    });
    ordered.run(Duration::from_secs(1));
    assert!(!ordered.saw("-failover-abort"), "{:?}", ordered.events);
    let announced = |(_, request): &(String, Request)| matches!(request, Request::Ordered { .. });
    let asks = |(_, request): &(String, Request)| {
        matches!(
            request,
            Request::AskMasterDown {
                candidate: Some(_),
                ..
            }
        )
    };
    let mut sent = ordered.sent.iter().filter(|s| announced(s) || asks(s));
    assert!(sent.next().is_some_and(announced), "announced first");
    assert!(sent.next().is_some_and(asks));
}

#[test]
fn what_was_forgotten_comes_back_when_it_is_heard_of() {
    let mut alone = with_peer();
    let forget = |host: &str, port| Operator::Forget {
        name: MasterName::from("mymaster"),
        addr: Addr::new(host, port),
    };
    assert!(
        alone.order(forget("10.0.0.1", 6379)).is_error(),
        "the master"
    );
    assert!(alone.order(forget("10.0.0.7", 6379)).is_error(), "nobody");
    assert_eq!(alone.order(forget("10.0.0.2", 6379)), Value::ok());
    assert_eq!(alone.order(forget("10.0.0.9", 26379)), Value::ok());
    let durable = alone.sentinel.durable();
    assert!(durable.masters[0].replicas.is_empty());
    assert!(durable.masters[0].peers.is_empty());
    assert!(alone.saw("+forget slave 10.0.0.2:6379"));
    assert!(alone.saw("+forget sentinel"));
    let hello = format!("10.0.0.9,26379,{PEER},0,mymaster,10.0.0.1,6379,0");
    alone.give(Input::HelloPublished {
        payload: hello.into(),
    });
    assert_eq!(alone.sentinel.durable().masters[0].peers.len(), 1);
    assert_eq!(alone.order(forget("10.0.0.9", 26379)), Value::ok());
    assert!(alone.sentinel.durable().masters[0].peers.is_empty());
}

fn observe(alone: &mut Alone, is_on: bool) -> Value {
    let globals = Globals {
        observe_only: is_on,
        ..alone.sentinel.globals().clone()
    };
    alone.order(Operator::ConfigSet(globals))
}

#[test]
fn who_observes_says_what_it_would_do() {
    let mut alone = Alone::new(healthy);
    assert_eq!(observe(&mut alone, true), Value::ok());
    alone.sent.clear();
    alone.run(Duration::from_secs(5));
    assert_eq!(alone.vote(1), None);
    assert!(alone.saw("+would-vote"));
    let order = Operator::Failover(MasterName::from("mymaster"));
    assert!(alone.order(order).is_error());
    assert!(alone.order(pause(None, false)).is_error());
    alone.slow = vec!["10.0.0.1"];
    alone.run(Duration::from_secs(30));
    let told = |event: &&String| event.starts_with("+would-failover");
    assert_eq!(alone.events.iter().filter(told).count(), 1);
    assert!(!alone.saw("+try-failover"));
    assert!(!alone.sent_any(|request| !request.changes_nothing()));
    // Taking part again, it does what it would have done.
    assert_eq!(observe(&mut alone, false), Value::ok());
    alone.run(Duration::from_secs(1));
    assert!(alone.saw("+switch-master"), "{:?}", alone.events);
    assert!(alone.sent_any(|request| matches!(request, Request::Publish(_))));
}

#[test]
fn how_things_stand_includes_what_is_withheld() {
    let mut alone = with_peer();
    let says = |alone: &Alone, what: &str| {
        let lines = alone.sentinel.outlook(alone.now, "mymaster").unwrap();
        lines.iter().any(|line| line.starts_with(what))
    };
    let (paused, observes) = (
        "automatic failovers are paused until SENTINEL RESUME",
        "observe-only is on",
    );
    assert!(!says(&alone, paused));
    alone.order(pause(None, false));
    assert!(says(&alone, paused));
    alone.order(resume());
    assert!(!says(&alone, paused) && !says(&alone, observes));
    observe(&mut alone, true);
    assert!(says(&alone, observes));
}

#[test]
fn nobody_turns_to_observing_in_the_middle_of_a_failover() {
    let mut alone = electing(true);
    let globals = Globals {
        observe_only: true,
        ..alone.sentinel.globals().clone()
    };
    alone.replies.clear();
    let to = ReplyTo(3);
    let request = Operator::ConfigSet(globals);
    alone.give(Input::Operator { to, request });
    assert!(alone.replies[0].1.is_error(), "{:?}", alone.replies);
}

#[test]
fn who_observes_kills_no_script_and_runs_none() {
    let mut alone = Alone::new(healthy);
    let path: Arc<str> = Arc::from("/bin/true");
    alone.order(Operator::Set {
        name: MasterName::from("mymaster"),
        options: vec![SetOption::NotificationScript(Some(path))],
        error: None,
    });
    observe(&mut alone, true);
    alone.slow = vec!["10.0.0.1"];
    alone.run(Duration::from_secs(2));
    assert!(alone.saw("+sdown master"));
    let mut out = Vec::new();
    for (link, request) in std::mem::take(&mut alone.withheld) {
        if request != Request::Ping {
            continue;
        }
        let reply = Value::error("BUSY Redis is busy running a script.");
        let input = Input::Reply { link, reply };
        alone.sentinel.handle(alone.now, input, &mut out);
    }
    let kills = |output: &Output| {
        let Output::Send { request, .. } = output else {
            return matches!(output, Output::Script { .. });
        };
        matches!(request, Request::ScriptKill)
    };
    assert!(!out.iter().any(kills), "{out:?}");
}
