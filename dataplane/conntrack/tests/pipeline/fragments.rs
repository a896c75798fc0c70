//! Fragments on an asymmetric wire, where they pass untracked: each by itself, as the rules say.

use crate::common::*;
use sluice_conntrack::policy::{Match, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, State};

fn asymmetric(policy: sluice_conntrack::policy::Policy) -> Middlebox {
    let mut settings = Settings::of(Preset::Linux, ROOM);
    settings.fragments.untracked = true;
    Middlebox::with(settings, policy)
}

#[test]
fn fragments_pass_an_asymmetric_wire_untracked() {
    for pair in Pair::both(4000, 53) {
        let frames = pair.udp(1000).fragments(7, &[0, 400, 800]);
        // Any of them, in any order, with or without the others.
        for order in [&[0, 1, 2][..], &[2, 1, 0], &[1], &[2, 2]] {
            let mut it = asymmetric(accept_all());
            for index in order {
                let came = (INSIDE, frames[*index].clone());
                let mut burst = [came.clone()];
                let verdict = it.burst(&mut burst)[0];
                assert_eq!(
                    (verdict.state, verdict.action),
                    (Some(State::Untracked), Action::Forward(OUTSIDE))
                );
                assert_eq!(burst[0], came);
            }
            let counters = it.shard.counters();
            assert_eq!(counters.packets[State::Untracked as usize], order.len() as u64);
            assert!(it.entries().is_empty());
            it.check();
        }
        // What is whole is tracked as ever.
        let mut it = asymmetric(accept_all());
        assert_eq!(it.inside(&pair.udp(1000)).state, Some(State::New));
    }
}

#[test]
fn rules_decide_about_untracked_fragments() {
    let accept = || (states([State::Untracked]), RuleAction::Accept);
    for pair in Pair::both(4000, 53) {
        let of_protocol = Match { protocols: vec![pair.udp(0).protocol], ..Match::default() };
        for (rule, passes) in [(accept(), true), ((of_protocol, RuleAction::Drop), false)] {
            let mut it = asymmetric(rules([rule]));
            for frame in pair.udp(1000).fragments(7, &[0, 400]) {
                let verdict = it.burst(&mut [(INSIDE, frame)])[0];
                let expected =
                    if passes { Action::Forward(OUTSIDE) } else { Action::Drop(DropReason::Policy) };
                assert_eq!((verdict.state, verdict.action), (Some(State::Untracked), expected));
            }
        }
    }
}
