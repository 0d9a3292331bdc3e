//! What other threads see of the core.

use super::*;
use crate::sentinel::core::view::{Picture, Wanted};

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
