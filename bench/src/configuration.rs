//! What the boxes of the benchmarks are told: how packets pass, and the rules.

use std::net::Ipv4Addr;

use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::helpers::{Assignment, Descriptor, HelperId};
use sluice_conntrack::ids::StackId;
use sluice_conntrack::nat::{self, Nat, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Outcome, Policy, Prefix, Rule, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::State;
use sluice_conntrack::{Configuration, Forwarding, PortId};

use crate::connection::OUTSIDE_ADDRESS;

/// The ports of the boxes.
pub(crate) const INSIDE: PortId = PortId(0);
pub(crate) const OUTSIDE: PortId = PortId(1);

/// How packets pass from inside to outside and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Over a wire.
    Wire,
    /// Through a router, by a route to each side.
    Routed,
    /// The same, where the ports have host sides, too.
    RoutedBesideHost,
}

impl Topology {
    pub(crate) fn forwarding(self) -> Forwarding {
        if self == Self::Wire {
            return Forwarding::wire();
        }
        let host = (self == Self::RoutedBesideHost).then_some(StackId(0));
        let interface = |net: u8| Interface {
            addresses: vec![([10, 0, net, 1].into(), 24)],
            mtu: 1500,
            host,
            ..Interface::default()
        };
        let route = |(port, net): (PortId, u8)| {
            let to = Prefix::new([198, net, 0, 0].into(), 16);
            Route::by(to, port, Some([10, 0, port.0, 2].into()))
        };
        let routes = [(INSIDE, 18), (OUTSIDE, 19)].map(route);
        Forwarding::Routed(Box::new(Router::new(vec![interface(INSIDE.0), interface(OUTSIDE.0)], routes)))
    }
}

/// Which connections helpers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helped {
    /// None: no helper is configured.
    Nobody,
    /// Others than those that there are.
    Others,
    /// All of TCP.
    All,
}

impl Helped {
    pub(crate) fn assignments(self) -> Vec<Assignment> {
        let assignment = |helper: HelperId, ports: &[u16], source: &[Prefix]| Assignment {
            helper,
            on: Match {
                source: source.to_vec(),
                destination_ports: ports.iter().map(|port| *port..=*port).collect(),
                ..Match::default()
            },
            loose: false,
        };
        // A network for documentation (RFC 5737).
        let others = [Prefix::new([192, 0, 2, 0].into(), 24)];
        let ports = |helper| Descriptor::of(helper).ports;
        // One without ports is for connections that another expects.
        let assignable = HelperId::ALL.into_iter().filter(|helper| !ports(*helper).is_empty());
        match self {
            Self::Nobody => Vec::new(),
            Self::Others => assignable.map(|helper| assignment(helper, ports(helper), &others)).collect(),
            Self::All => vec![assignment(HelperId::Ftp, &[], &[])],
        }
    }
}

/// What a box is told that behaves like Linux and lets connections out: checksums verified, windows tracked,
/// packets and bytes counted, at most `limit` entries, sources translated to so many addresses, if any.
pub(crate) fn configuration(limit: u32, addresses: u32) -> Configuration {
    translating(limit, addresses, PortChoice::Preserve)
}

/// The same, with these ports of each address.
pub(crate) fn translating(limit: u32, addresses: u32, ports: PortChoice) -> Configuration {
    let settings = Settings::of(Preset::Linux, limit);
    let configuration = Configuration::new(settings, policy(), Forwarding::wire());
    let Some(last) = addresses.checked_sub(1) else { return configuration };
    let range = Range {
        first: OUTSIDE_ADDRESS.into(),
        last: Ipv4Addr::from_bits(OUTSIDE_ADDRESS.to_bits() + last).into(),
        ports,
    };
    let outgoing = Match { ingress: vec![INSIDE], ..Match::default() };
    let source = vec![nat::NatRule::new(outgoing, Target::Pool(vec![range]))];
    configuration.with_nat(Nat { source, destination: Vec::new() })
}

/// Connections are opened from inside, and nothing else passes.
fn policy() -> Policy {
    let rule = |matches, action| Rule { name: None, matches, action };
    let states = |states: &[State]| Some(states.iter().copied().collect());
    let outgoing = Match { ingress: vec![INSIDE], states: states(&[State::New]), ..Match::default() };
    Policy {
        rules: vec![
            rule(
                Match { states: states(&[State::Established, State::Related]), ..Match::default() },
                RuleAction::Accept,
            ),
            rule(Match { states: states(&[State::Invalid]), ..Match::default() }, RuleAction::Drop),
            rule(outgoing, RuleAction::Accept),
        ],
        default: Outcome::Drop,
        ..Policy::default()
    }
}
