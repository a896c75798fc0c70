//! A middlebox as tests see it: packets and time in, verdicts, entries and counters out.
#![allow(dead_code, reason = "each test binary uses some of it")]

pub mod expecting;
pub mod frame;
pub mod h323;
pub mod pptp;
pub mod received;

pub use frame::{Packet, Pair};

use sluice_conntrack::counters::ByState;
use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::ids::{EntryId, StackId};
use sluice_conntrack::listing::{EntrySnapshot, Layout};
use sluice_conntrack::nat::Nat;
use sluice_conntrack::policy::{Match, Outcome, Policy, Prefix, Rule, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{
    Capacity, Configuration, DropReason, Forwarding, Installation, Instant, PortId, Shard, State, Verdict,
};
use std::time::Duration;

pub const INSIDE: PortId = PortId(0);
pub const OUTSIDE: PortId = PortId(1);

/// Entries that fit into a box of these tests unless they say otherwise.
pub const ROOM: u32 = 1024;

/// What the index is keyed by.
pub const SEED: [u64; 4] = [1, 2, 3, 4];

/// What tests try that do not say otherwise.
pub const PRESETS: [Preset; 2] = [Preset::Classic, Preset::Linux];

/// The state of a packet that was tracked.
pub fn state(verdict: Verdict) -> State {
    verdict.state.expect("it was tracked")
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A shard, its clock and what has been asked of it.
#[derive(Debug)]
pub struct Middlebox {
    pub shard: Shard,
    pub now: Instant,
    verdicts: Vec<Verdict>,
    packets: u64,
    drops: u64,
    /// Fragments, which have no state of their own.
    fragments: u64,
}

impl Middlebox {
    /// A box that lets everything pass.
    pub fn of(preset: Preset) -> Self {
        Self::with(Settings::of(preset, ROOM), accept_all())
    }

    pub fn with(settings: Settings, policy: Policy) -> Self {
        Self::starting(Instant::from_ns(0), ROOM, configuration(settings, policy))
    }

    pub fn starting(now: Instant, room: u32, configuration: Configuration) -> Self {
        let capacity = Capacity { entries: room, seed: SEED, pages: sluice_memory::Pages::Ordinary };
        let shard = Shard::new(capacity, configuration, now).expect("memory for a test");
        Self { shard, now, verdicts: vec![], packets: 0, drops: 0, fragments: 0 }
    }

    /// A router that lets everything pass and translates by these rules.
    pub fn routed(nat: Nat) -> Self {
        Self::routed_with(accept_all(), nat)
    }

    pub fn routed_with(policy: Policy, nat: Nat) -> Self {
        let settings = Settings::of(Preset::Linux, ROOM);
        Self::starting(Instant::from_ns(0), ROOM, routed(settings, policy, nat))
    }

    /// The verdict on a packet from inside.
    pub fn inside(&mut self, packet: &Packet) -> Verdict {
        self.one(INSIDE, packet)
    }

    /// The verdict on a packet from outside.
    pub fn outside(&mut self, packet: &Packet) -> Verdict {
        self.one(OUTSIDE, packet)
    }

    fn one(&mut self, port: PortId, packet: &Packet) -> Verdict {
        self.burst(&mut [(port, packet.frame())])[0]
    }

    /// The verdicts on frames that come in together.
    pub fn burst(&mut self, frames: &mut [(PortId, Vec<u8>)]) -> &[Verdict] {
        self.verdicts.clear();
        self.verdicts.resize(frames.len(), Verdict::dropped(DropReason::Truncated));
        self.shard.process(self.now, frames, &mut self.verdicts);
        for (verdict, (port, _)) in self.verdicts.iter().zip(&*frames) {
            check_verdict(verdict);
            let is_wire = matches!(self.shard.configuration().forwarding, Forwarding::Wire { .. });
            let stays = is_wire && verdict.action == Action::Forward(*port);
            assert!(!stays, "a wire leads to the other side");
        }
        self.packets += frames.len() as u64;
        self.drops += self.verdicts.iter().filter(|verdict| verdict.drop_reason().is_some()).count() as u64;
        let waits = |verdict: &&Verdict| matches!(verdict.action, Action::Reassemble(_));
        self.fragments += self.verdicts.iter().filter(waits).count() as u64;
        &self.verdicts
    }

    /// Lets time pass, and ends what has come to its end.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        assert!(self.shard.expire(self.now, u32::MAX), "an unbounded budget does all there is to do");
    }

    /// Every entry alive, as a listing shows it.
    pub fn entries(&self) -> Vec<(EntryId, EntrySnapshot)> {
        let mut entries = vec![];
        let mut next = Some(0);
        while let Some(cursor) = next {
            next = self.shard.list(cursor, u32::MAX, |id, entry| entries.push((id, entry)));
        }
        entries
    }

    /// The entries in the layout of the preset's own file in /proc.
    pub fn lines(&self) -> Vec<String> {
        let layout = Layout::proc(self.shard.configuration().settings.preset);
        let line = |entry: &EntrySnapshot| {
            let mut line = String::new();
            entry.write(layout, &mut line).map(|()| line).expect("a string takes everything")
        };
        self.entries().iter().map(|(_, entry)| line(entry)).collect()
    }

    /// The only entry.
    pub fn entry(&self) -> EntrySnapshot {
        let entries = self.entries();
        assert_eq!(entries.len(), 1, "{:?}", self.lines());
        entries[0].1
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.shard.counters().drops[reason as usize]
    }

    /// Puts a configuration in force, and gives the old one with what was counted by it.
    pub fn configure(&mut self, configuration: Configuration) -> Installation {
        let mut installation = Installation::new(configuration);
        self.shard.configure(&mut installation);
        installation
    }

    /// Changes something about the configuration and keeps the rest.
    pub fn change(&mut self, change: impl FnOnce(&mut Configuration)) {
        let mut configuration = self.shard.configuration().clone();
        change(&mut configuration);
        self.configure(configuration);
    }

    /// Changes the rules and keeps the settings.
    pub fn reload(&mut self, policy: Policy) {
        let settings = self.shard.configuration().settings.clone();
        self.configure(configuration(settings, policy));
    }

    /// What must hold whatever has happened. Looks at the whole table.
    pub fn check(&self) {
        self.check_counters();
        let listed = self.entries().len();
        assert!(listed <= self.shard.len() as usize, "a listing shows what is there");
        self.shard.check_invariants().unwrap();
    }

    /// The part of it that counters tell.
    pub fn check_counters(&self) {
        let counters = self.shard.counters();
        let before_tracking: u64 = self.packets - self.fragments - counters.packets.iter().sum::<u64>();
        let drops: u64 = counters.drops.iter().sum();
        assert_eq!(drops, self.drops, "each drop has one reason");
        assert!(before_tracking <= drops, "a packet without state is a drop");
        let invalid: u64 = counters.invalid.iter().sum();
        assert!(
            invalid <= counters.packets[State::Invalid as usize],
            "an INVALID packet has one reason at most"
        );
        let ended = total(&counters.expired) + counters.early_drops + counters.deletes + counters.closed;
        assert_eq!(counters.inserts - ended, u64::from(self.shard.len()), "entries are made and end");
        assert_eq!(total(&counters.entries), u64::from(self.shard.len()), "gauges count the entries");
    }
}

/// What each verdict must say.
fn check_verdict(verdict: &Verdict) {
    let reason = verdict.drop_reason();
    let waits = matches!(verdict.action, Action::Reassemble(_));
    assert!(verdict.state.is_some() || reason.is_some() || waits, "untracked is a state: {verdict:?}");
    let invalid = verdict.state == Some(State::Invalid);
    let explained = verdict.invalid.is_some() || reason == Some(DropReason::TableFull);
    assert!(!invalid || explained, "INVALID has a reason: {verdict:?}");
    assert!(verdict.invalid.is_none() || invalid && verdict.entry.is_none(), "{verdict:?}");
    assert!(verdict.entry.is_none() || verdict.direction.is_some(), "{verdict:?}");
}

fn total(by_state: &ByState) -> u64 {
    by_state.iter().flatten().sum()
}

/// Inside and outside joined by a wire.
pub fn configuration(settings: Settings, policy: Policy) -> Configuration {
    Configuration::new(settings, policy, Forwarding::wire())
}

/// Inside and outside joined by a router with NAT.
pub fn routed(settings: Settings, policy: Policy, nat: Nat) -> Configuration {
    Configuration::new(settings, policy, Forwarding::Routed(Box::new(router()))).with_nat(nat)
}

/// 10.0.0.0/8 and fd00::/64 are inside, all else is outside; the box has the first address of each network.
pub fn router() -> Router {
    router_of(1500)
}

/// The same with another MTU outside.
pub fn router_of(mtu: u16) -> Router {
    router_with(mtu, [None; 2])
}

/// The same with these network stacks behind its ports.
pub fn router_with_hosts(hosts: [Option<StackId>; 2]) -> Router {
    router_with(1500, hosts)
}

fn router_with(mtu: u16, [inside, outside]: [Option<StackId>; 2]) -> Router {
    let interface = |v4: &str, length, v6: &str, mtu, host| Interface {
        addresses: vec![(v4.parse().unwrap(), length), (v6.parse().unwrap(), 64)],
        mtu,
        host,
        ..Interface::default()
    };
    let interfaces = vec![
        interface("10.0.0.1", 8, "fd00::1", 1500, inside),
        interface("203.0.113.1", 24, "2001:db8:2::1", mtu, outside),
    ];
    let default = |to: &str, via: &str| {
        Route::by(Prefix::new(to.parse().unwrap(), 0), OUTSIDE, Some(via.parse().unwrap()))
    };
    Router::new(interfaces, [default("0.0.0.0", "203.0.113.254"), default("::", "2001:db8:2::fe")])
}

pub fn accept_all() -> Policy {
    Policy { default: Outcome::Accept, ..Policy::default() }
}

/// A policy of these rules that drops all else.
pub fn rules<const N: usize>(rules: [(Match, RuleAction); N]) -> Policy {
    let rule = |(matches, action)| Rule { name: None, matches, action };
    Policy { rules: rules.into_iter().map(rule).collect(), ..Policy::default() }
}

/// What a firewall usually has: answers pass, and what inside begins.
pub fn firewall() -> Policy {
    rules([
        (states([State::Established, State::Related]), RuleAction::Accept),
        (Match { ingress: vec![INSIDE], ..states([State::New]) }, RuleAction::Accept),
    ])
}

pub fn states<const N: usize>(states: [State; N]) -> Match {
    Match { states: Some(states.into_iter().collect()), ..Match::default() }
}
