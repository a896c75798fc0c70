//! Counters of a shard: plain numbers that nobody else writes, copied out on request.

use crate::helper_event::HelperEvent;
use crate::ids::HelperId;
use crate::tracker::sctp::SctpState;
use crate::tracker::tcp::TcpState;
use crate::tuple::protocol;
use crate::verdict::{DropReason, InvalidReason, State};

/// Protocols as metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum ProtocolLabel {
    Tcp,
    Udp,
    UdpLite,
    Icmp,
    Icmpv6,
    Sctp,
    Gre,
    Generic,
}

impl ProtocolLabel {
    /// All labels, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Tcp, Self::Udp, Self::UdpLite, Self::Icmp, Self::Icmpv6, Self::Sctp, Self::Gre, Self::Generic];

    /// The label of an IP protocol number.
    pub const fn of(number: u8) -> Self {
        match number {
            protocol::TCP => Self::Tcp,
            protocol::UDP => Self::Udp,
            protocol::UDPLITE => Self::UdpLite,
            protocol::ICMP => Self::Icmp,
            protocol::ICMPV6 => Self::Icmpv6,
            protocol::SCTP => Self::Sctp,
            protocol::GRE => Self::Gre,
            _ => Self::Generic,
        }
    }

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpLite => "udplite",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Generic => "generic",
        }
    }

    /// The metric label of a state by its number, the index in [`ByState`]. A tracker without states has one: none.
    pub fn state(self, number: usize) -> Option<&'static str> {
        match self {
            Self::Tcp => TcpState::ALL.get(number).map(|state| state.name()),
            Self::Sctp => SctpState::ALL.get(number).map(|state| state.name()),
            _ => (number == 0).then_some("NONE"),
        }
    }
}

/// How many states a tracker can have.
pub const STATES: usize = 10;

/// A number for each protocol and tracker state.
pub type ByState = [[u64; STATES]; ProtocolLabel::ALL.len()];

/// A number of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Name of the metric; what ends in `_total` only ever grows.
    pub metric: &'static str,
    /// Keys and values that tell it from the metric's other numbers; `None` where it needs no more of them.
    pub labels: [Option<(&'static str, &'static str)>; 2],
    /// The number.
    pub value: u64,
}

/// Declares the counters: of each its help text, name, metric and labels, and nothing about it anywhere else.
macro_rules! counters {
    (
        $(#[$doc:meta])* $name:ident
        // One number.
        one { $($(#[doc = $one_help:literal])+ $one:ident: $one_metric:literal $([$one_key:literal = $one_label:expr])?,)* }
        // A number for each label of a closed set.
        each { $($(#[doc = $each_help:literal])+ $each:ident: $each_metric:literal [$each_key:literal in $set:ident, $label:ident],)* }
        // The same for each helper.
        by_helper { $($(#[doc = $helper_help:literal])+ $helper:ident: $helper_metric:literal [$helper_key:literal in $helper_set:ident, $helper_label:ident],)* }
        // A number for each protocol and state.
        by_state { $($(#[doc = $state_help:literal])+ $state:ident: $state_metric:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $one_help])+ pub $one: u64,)*
            $($(#[doc = $each_help])+ pub $each: [u64; $set::ALL.len()],)*
            $($(#[doc = $helper_help])+ pub $helper: [[u64; $helper_set::ALL.len()]; HelperId::ALL.len()],)*
            $($(#[doc = $state_help])+ pub $state: ByState,)*
        }

        impl $name {
            /// Each metric and its help text. One with labels may be there several times.
            pub const METRICS: &'static [(&'static str, &'static str)] = &[
                $(($one_metric, concat!($($one_help),+).trim_ascii_start()),)*
                $(($each_metric, concat!($($each_help),+).trim_ascii_start()),)*
                $(($helper_metric, concat!($($helper_help),+).trim_ascii_start()),)*
                $(($state_metric, concat!($($state_help),+).trim_ascii_start()),)*
            ];

            /// Shows each number, those of a metric one behind the other.
            pub fn samples(&self, mut show: impl FnMut(Sample)) {
                $(
                    let labels = [None $(.or(Some(($one_key, $one_label))))?, None];
                    show(Sample { metric: $one_metric, labels, value: self.$one });
                )*
                $(for (label, value) in $set::ALL.iter().zip(self.$each) {
                    show(Sample { metric: $each_metric, labels: [Some(($each_key, label.$label())), None], value });
                })*
                $(for (helper, row) in HelperId::ALL.iter().zip(self.$helper) {
                    for (label, value) in $helper_set::ALL.iter().zip(row) {
                        let labels = [Some(("helper", helper.name())), Some(($helper_key, label.$helper_label()))];
                        show(Sample { metric: $helper_metric, labels, value });
                    }
                })*
                $(for (proto, state, value) in by_state(&self.$state) {
                    let labels = [Some(("proto", proto)), Some(("state", state))];
                    show(Sample { metric: $state_metric, labels, value });
                })*
            }

            /// Adds what another shard has counted.
            pub fn add(&mut self, other: &Self) {
                let add_all = |own: &mut [u64], more: &[u64]| own.iter_mut().zip(more).for_each(|(a, b)| *a += b);
                $(self.$one += other.$one;)*
                $(add_all(&mut self.$each, &other.$each);)*
                $(add_all(self.$helper.as_flattened_mut(), other.$helper.as_flattened());)*
                $(add_all(self.$state.as_flattened_mut(), other.$state.as_flattened());)*
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($one: 0,)*
                    $($each: [0; $set::ALL.len()],)*
                    $($helper: [[0; $helper_set::ALL.len()]; HelperId::ALL.len()],)*
                    $($state: ByState::default(),)*
                }
            }
        }
    };
}

counters! {
    /// What a shard has counted since it was made.
    Counters
    one {
        /// Look-ups in the table, by whether they found an entry.
        found: "sluice_conntrack_lookups_total" ["result" = "found"],
        /// Look-ups in the table, by whether they found an entry.
        missed: "sluice_conntrack_lookups_total" ["result" = "missed"],
        /// Entries put into the table.
        inserts: "sluice_conntrack_inserts_total",
        /// Entries refused, by reason: the table was full of assured ones.
        insert_failures: "sluice_conntrack_insert_failures_total" ["reason" = DropReason::TableFull.label()],
        /// Entries evicted for a new one.
        early_drops: "sluice_conntrack_early_drops_total",
        /// Entries deleted, as those that were masqueraded to an address which the box has lost.
        deletes: "sluice_conntrack_deletes_total",
        /// Entries that a packet ended: a reset, the answer to a query, an ICMP error, a connection opened anew.
        closed: "sluice_conntrack_closed_total",
        /// Connections that a configuration has ended, by reason: at once, or with their next packet.
        addresses_lost: "sluice_conntrack_configuration_ends_total" ["reason" = "lost-address"],
        /// Connections that a configuration has ended, by reason: at once, or with their next packet.
        routes_changed: "sluice_conntrack_configuration_ends_total" ["reason" = "route-changed"],
        /// Workers that look through their table for what a configuration asks of its entries.
        sweeps: "sluice_conntrack_sweeps",
        /// Connections that are expected.
        expectations: "sluice_conntrack_expectations",
        /// Expectations that were made.
        expectations_created: "sluice_conntrack_expectations_created_total",
        /// Expectations that a packet has met.
        expectations_met: "sluice_conntrack_expectations_met_total",
        /// Expectations that nothing met in time.
        expectations_expired: "sluice_conntrack_expectations_expired_total",
        /// Expectations that were not made: of one that too many are, that another connection has the same, or that other shards
        /// cannot be told.
        expectations_refused: "sluice_conntrack_expectations_refused_total",
        /// Connections of peers in the table, which the box stands by for.
        standby_entries: "sluice_ha_standby_entries",
        /// Connections that peers are yet to be told of.
        dirty_entries: "sluice_ha_dirty_entries",
        /// Ends of connections that peers could not be told of: what they have of those ages.
        ends_lost: "sluice_ha_ends_lost_total",
        /// Packets to the box itself that it took in.
        delivered: "sluice_packets_delivered_total",
        /// Echo replies, TCP resets and ICMP errors that the box wrote.
        answers: "sluice_answers_total",
        /// TCP resets and ICMP errors not written because the rate limit was reached.
        answers_withheld: "sluice_answers_withheld_total",
        /// SYNs that were answered with a SYN cookie.
        syn_cookies_sent: "sluice_syn_cookies_sent_total",
        /// Connections that have begun with a SYN cookie that came back.
        syn_cookies_accepted: "sluice_syn_cookies_accepted_total",
        /// TCP segments of unknown connections that were answered by a reset, or were to be, soon after a takeover.
        unknown_resets: "sluice_ha_unknown_resets_total",
        /// Datagrams that came in fragments and have become whole.
        reassembled: "sluice_fragments_reassembled_total",
        /// Fragments that are held until their datagram is whole or has been decided about.
        fragments_held: "sluice_fragments_held",
        /// Packets that were cut into fragments for the MTU of their way out; of a datagram that came in fragments, each of those.
        /// Echo replies to datagrams that came in fragments, too, which leave in as many.
        fragmented: "sluice_packets_fragmented_total",
        /// Fragments that packets were cut into for the MTU of their way out, and those of echo replies.
        fragments_created: "sluice_fragments_created_total",
        /// Log records lost because a shard's ring was full or the rate limit reached.
        log_lost: "sluice_shard_log_events_dropped_total",
    }
    each {
        /// Packets by conntrack state; what ended before tracking is in none.
        packets: "sluice_conntrack_packets_total" ["state" in State, name],
        /// Packets dropped, by reason.
        drops: "sluice_packet_drops_total" ["reason" in DropReason, label],
        /// Connections in the table that have a helper, by helper.
        helper_connections: "sluice_helper_connections" ["helper" in HelperId, name],
        /// Connections that got a helper, by helper.
        helper_assignments: "sluice_helper_assignments_total" ["helper" in HelperId, name],
        /// Connections that are expected, by helper.
        helper_expectations: "sluice_helper_expectations" ["helper" in HelperId, name],
        /// INVALID packets, by reason.
        invalid: "sluice_conntrack_invalid_packets_total" ["reason" in InvalidReason, label],
    }
    by_helper {
        /// What came of helpers, by helper and event.
        helper_events: "sluice_helper_events_total" ["event" in HelperEvent, label],
    }
    by_state {
        /// Expired entries, by protocol and last state.
        expired: "sluice_conntrack_expired_total",
        /// Entries in the table, by protocol and state.
        entries: "sluice_conntrack_entries",
    }
}

impl Counters {
    /// Counts what came of a helper, if it was one that has to do with it.
    pub(crate) fn count_event(&mut self, helper: Option<HelperId>, event: HelperEvent) {
        if let Some(helper) = helper {
            self.helper_events[helper as usize][event as usize] += 1;
        }
    }

    /// Takes back what was counted so.
    pub(crate) fn uncount_event(&mut self, helper: Option<HelperId>, event: HelperEvent) {
        if let Some(helper) = helper {
            self.helper_events[helper as usize][event as usize] -= 1;
        }
    }

    /// How often this came of all helpers together.
    pub fn helper_event(&self, event: HelperEvent) -> u64 {
        self.helper_events.iter().map(|row| row[event as usize]).sum()
    }
}

/// Each state that a protocol has, with the labels of both.
fn by_state(table: &ByState) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
    ProtocolLabel::ALL.iter().zip(table).flat_map(|(proto, row)| {
        let named = move |(number, count): (usize, &u64)| Some((proto.label(), proto.state(number)?, *count));
        row.iter().enumerate().filter_map(named)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_states() {
        let labels: Vec<_> = by_state(&ByState::default()).map(|(proto, state, _)| (proto, state)).collect();
        assert!(labels.contains(&("tcp", "ESTABLISHED")) && labels.contains(&("udp", "NONE")));
        assert!(!labels.contains(&("udp", "ESTABLISHED")));
        assert_eq!(labels.iter().filter(|(proto, _)| *proto == "tcp").count(), 10);
    }

    #[test]
    fn each_counter_is_a_metric_of_its_own_and_adds_up() {
        let mut counters = Counters { deletes: 3, ..Counters::default() };
        counters.drops[DropReason::Policy as usize] = 5;
        let mut twice = counters.clone();
        twice.add(&counters);
        let mut seen: Vec<Sample> = Vec::new();
        twice.samples(|sample| seen.push(sample));
        let value = |metric: &str, label: Option<&str>| {
            let is_it = |sample: &&Sample| {
                sample.metric == metric && sample.labels[0].map(|(_, label)| label) == label
            };
            seen.iter().find(is_it).map(|sample| sample.value)
        };
        assert_eq!(value("sluice_conntrack_deletes_total", None), Some(6));
        assert_eq!(value("sluice_packet_drops_total", Some("policy")), Some(10));
        assert_eq!(value("sluice_conntrack_lookups_total", Some("missed")), Some(0));
        for (number, sample) in seen.iter().enumerate() {
            let same = |other: &Sample| (other.metric, other.labels) == (sample.metric, sample.labels);
            assert!(!seen[..number].iter().any(same), "{sample:?} is there twice");
        }
    }

    #[test]
    fn a_metric_has_one_help_text() {
        for (metric, help) in Counters::METRICS {
            assert!(help.ends_with('.'), "{metric}: {help}");
            assert!(
                Counters::METRICS.iter().all(|(other, text)| other != metric || text == help),
                "{metric}"
            );
        }
    }
}
