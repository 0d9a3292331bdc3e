//! Counting the votes of one candidacy. Pure.

use crate::ids::{Epoch, SentinelId};

/// How a candidacy stands. A `bool` could not say "not yet".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tally {
    /// Votes that are still out can decide it.
    Pending,
    /// Enough votes.
    Won,
    /// Not enough votes are left. `to`: another candidate has, or may still get, a majority.
    Lost { to: Option<SentinelId> },
}

/// What is known of one peer's vote.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerVote<'a> {
    /// Whom it last said it voted for.
    pub(super) voted: Option<(&'a SentinelId, Epoch)>,
    /// Whether it has answered our request in this epoch.
    pub(super) answered: bool,
    /// Whether it can answer at present.
    pub(super) connected: bool,
}

/// Counts the votes for `me` in `epoch`. Our own vote is ours, and on disk. `needed` votes win;
/// `majority` is that of all known sentinels.
///
/// Unopposed, a peer that is cut off may still come back and decide it. Against a rival it is not
/// waited for: a new epoch decides sooner.
pub(super) fn tally(
    me: &SentinelId,
    epoch: Epoch,
    needed: usize,
    majority: usize,
    peers: &[PeerVote<'_>],
) -> Tally {
    let is_for = |vote: &PeerVote<'_>, who: &SentinelId| vote.voted == Some((who, epoch));
    let votes = 1 + peers.iter().filter(|vote| is_for(vote, me)).count();
    if votes >= needed {
        return Tally::Won;
    }
    let opposed = peers
        .iter()
        .any(|vote| matches!(vote.voted, Some((who, e)) if e == epoch && who != me));
    let is_out = |vote: &PeerVote<'_>| !vote.answered && (vote.connected || !opposed);
    let refused = peers
        .iter()
        .filter(|vote| !is_for(vote, me) && !is_out(vote))
        .count();
    let reachable = 1 + peers.len() - refused;
    if reachable >= needed {
        return Tally::Pending;
    }
    let unknown = peers.iter().filter(|vote| is_out(vote)).count();
    let rivals = peers
        .iter()
        .filter_map(|vote| vote.voted.filter(|(_, e)| *e == epoch));
    let rival = rivals
        .map(|(who, _)| (peers.iter().filter(|vote| is_for(vote, who)).count(), who))
        .max_by_key(|(count, who)| (*count, std::cmp::Reverse(*who)))
        .filter(|(count, _)| count + unknown >= majority);
    Tally::Lost {
        to: rival.map(|(_, who)| who.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: usize) -> SentinelId {
        SentinelId::from(&*format!("{n:040}"))
    }

    const EPOCH: Epoch = Epoch(7);

    #[test]
    fn a_majority_wins() {
        let (me, other) = (id(0), id(1));
        let yes = PeerVote {
            voted: Some((&me, EPOCH)),
            answered: true,
            connected: true,
        };
        let no = PeerVote {
            voted: Some((&other, EPOCH)),
            answered: true,
            connected: true,
        };
        let out = PeerVote {
            voted: None,
            answered: false,
            connected: true,
        };
        assert_eq!(tally(&me, EPOCH, 2, 2, &[out, out]), Tally::Pending);
        assert_eq!(tally(&me, EPOCH, 2, 2, &[yes, out]), Tally::Won);
        assert_eq!(
            tally(&me, EPOCH, 2, 2, &[no, no]),
            Tally::Lost {
                to: Some(other.clone())
            }
        );
        assert_eq!(tally(&me, EPOCH, 1, 1, &[]), Tally::Won);
        let split = PeerVote {
            voted: Some((&id(2), EPOCH)),
            answered: true,
            connected: true,
        };
        assert_eq!(
            tally(&me, EPOCH, 2, 2, &[no, split]),
            Tally::Lost { to: None }
        );
    }

    #[test]
    fn against_a_rival_nobody_waits_for_who_is_cut_off() {
        let (me, rival) = (id(0), id(1));
        let no = PeerVote {
            voted: Some((&rival, EPOCH)),
            answered: true,
            connected: true,
        };
        let yes = PeerVote {
            voted: Some((&me, EPOCH)),
            ..no
        };
        let cut_off = PeerVote {
            voted: None,
            answered: false,
            connected: false,
        };
        let lost = Tally::Lost { to: None };
        assert_eq!(tally(&me, EPOCH, 3, 3, &[yes, no, cut_off]), lost);
        assert_eq!(tally(&me, EPOCH, 2, 2, &[cut_off, cut_off]), Tally::Pending);
    }

    #[test]
    fn votes_of_another_epoch_do_not_count() {
        let me = id(0);
        let old = PeerVote {
            voted: Some((&me, Epoch(6))),
            answered: true,
            connected: true,
        };
        assert_eq!(
            tally(&me, EPOCH, 2, 2, &[old, old]),
            Tally::Lost { to: None }
        );
    }

    proptest! {
        /// The obvious count agrees with the one in use.
        #[test]
        fn an_obvious_count_agrees(
            peers in proptest::collection::vec((0_usize..4, 6_u64..8, any::<(bool, bool)>()), 0..8),
            needed in 1_usize..6,
        ) {
            let ids: Vec<SentinelId> = (0..4).map(id).collect();
            let votes: Vec<PeerVote<'_>> = peers
                .iter()
                .map(|(who, epoch, (answered, connected))| PeerVote {
                    voted: answered.then_some((&ids[*who], Epoch(*epoch))),
                    answered: *answered,
                    connected: *connected,
                })
                .collect();
            let mine = peers.iter().filter(|(who, e, (a, _))| *a && *who == 0 && *e == 7).count() + 1;
            let opposed = peers.iter().any(|(who, e, (a, _))| *a && *who != 0 && *e == 7);
            let open = peers.iter().filter(|(_, _, (a, c))| !a && (*c || !opposed)).count();
            let voters = 1 + peers.len();
            let majority = voters / 2 + 1;
            match tally(&ids[0], EPOCH, needed, majority, &votes) {
                Tally::Won => prop_assert!(mine >= needed),
                Tally::Pending => prop_assert!(mine < needed && mine + open >= needed),
                Tally::Lost { .. } => prop_assert!(mine + open < needed),
            }
        }
    }
}
