//! What is expected, and for whom.

use crate::ids::{EntryId, HelperId};
use crate::time::Tick;
use crate::tuple::{Tuple, protocol};
use crate::verdict::DropReason;
use zerocopy::FromZeros;

/// Names an expectation for as long as it is to be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromZeros)]
pub struct ExpectationId {
    /// Its slot, the same in the tables of all shards.
    pub slot: u32,
    /// Changes whenever the slot is taken again.
    pub generation: u32,
}

/// How much of a child's source is known. Its destination, protocol and zone always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(u8)]
pub enum SourceMask {
    /// Address and port.
    #[default]
    Exact,
    /// The address.
    AnyPort,
    /// Nothing.
    Any,
}

impl SourceMask {
    /// The part of a tuple's source that counts: its address and port. Packets of GRE say the key of their destination alone.
    const fn of(self, tuple: &Tuple) -> (u128, u16) {
        match self {
            Self::Exact if tuple.protocol() == protocol::GRE => (tuple.src, 0),
            Self::Exact => (tuple.src, tuple.selector.sport()),
            Self::AnyPort => (tuple.src, 0),
            Self::Any => (0, 0),
        }
    }

    /// What both know.
    fn common(self, other: Self) -> Self {
        if self as u8 > other as u8 { self } else { other }
    }
}

/// How a child is translated: as its master is, Linux's `nf_nat_follow_master`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub struct ChildNat {
    /// What its source address becomes, or is; [`ChildNat::BY_RULES`] where rules say that.
    pub source: u128,
    /// What its destination address becomes, or is.
    pub destination: u128,
    /// And its destination port.
    pub port: u16,
    /// What its source port becomes, where that is known: that of a call ([`Expectation::is_call`]).
    pub source_port: u16,
}

impl ChildNat {
    /// No address: the source is translated by rules, as those of other connections are.
    pub const BY_RULES: u128 = 0;

    /// That of a child which comes to whoever sent the packet that announces it, at a port of its own; `announcing` is the
    /// tuple of that packet as it came in.
    pub const fn following(announcing: &Tuple, port: u16) -> Self {
        Self { source: announcing.dst, destination: announcing.src, port, source_port: 0 }
    }

    /// The same for a child whose source may be anybody.
    #[must_use]
    pub const fn from_anybody(self) -> Self {
        Self { source: Self::BY_RULES, ..self }
    }
}

/// What a helper, or an operator, wants expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The tuple of the child's first packet as it comes in. Its zone is the master's, whatever it says.
    pub tuple: Tuple,
    /// How much of its source counts.
    pub source: SourceMask,
    /// The kind of child, of those that the helper tells apart.
    pub class: u8,
    /// Whether it is met once, or any number of times until it expires.
    pub one_shot: bool,
    /// How long it is waited for, in milliseconds.
    pub timeout_ms: u32,
    /// How the child is translated; `None` where rules say that.
    pub nat: Option<ChildNat>,
    /// The helper that wants it; `None` for an operator.
    pub helper: Option<HelperId>,
}

impl Wanted {
    /// The same with another destination port.
    pub(crate) fn at_port(&self, port: u16) -> Self {
        let selector = self.tuple.selector.with_dport(port);
        Self { tuple: Tuple { selector, ..self.tuple }, ..*self }
    }

    /// The same at a port so much higher.
    #[must_use]
    pub(crate) fn behind(&self, distance: u16) -> Self {
        let port = self.tuple.selector.dport().wrapping_add(distance);
        let nat = self.nat.map(|nat| ChildNat { port: nat.port.wrapping_add(distance), ..nat });
        Self { nat, ..self.at_port(port) }
    }
}

/// How many may be expected, besides what holds for all ([`Settings`](crate::settings::Settings)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// By one master and of one class: the oldest gives way.
    pub of_class: u32,
    /// For one helper.
    pub of_helper: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { of_class: u32::MAX, of_helper: u32::MAX }
    }
}

/// Why nothing is expected. The packet that announces it is dropped, as in Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unexpected {
    /// Another connection expects what the same packet could meet.
    Clash,
    /// Too many are expected, or there is no room to tell another shard of it.
    Full,
}

impl From<Unexpected> for DropReason {
    fn from(unexpected: Unexpected) -> Self {
        match unexpected {
            Unexpected::Clash => Self::ExpectationClash,
            Unexpected::Full => Self::ExpectationFull,
        }
    }
}

/// An expectation, as all shards know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub struct Expectation {
    /// The tuple of the child's first packet as it comes in.
    pub tuple: Tuple,
    /// The master's original tuple.
    pub master: Tuple,
    /// Its entry, in the shard whose slot this is.
    pub(crate) master_id: EntryId,
    nat: ChildNat,
    /// When it is waited for no more.
    pub(crate) deadline: Tick,
    /// The master's mark.
    pub(crate) mark: u32,
    /// How much of the source counts.
    pub source: SourceMask,
    /// The kind of child.
    pub class: u8,
    /// Whether it is met once.
    pub one_shot: bool,
    is_translated: bool,
    /// Whether it is not to be met yet.
    pub(crate) is_inactive: bool,
    /// The number of the helper, plus one; 0 for an operator.
    helper: u8,
}

impl Expectation {
    /// What is wanted of this master, in its zone.
    pub(crate) fn new(wanted: &Wanted, master: Tuple, master_id: EntryId, mark: u32, deadline: Tick) -> Self {
        let Wanted { mut tuple, source, class, one_shot, nat, helper, .. } = *wanted;
        tuple.selector = tuple.selector.with_zone(master.selector.zone());
        Self {
            tuple,
            master,
            master_id,
            nat: nat.unwrap_or_default(),
            deadline,
            mark,
            source,
            class,
            one_shot,
            is_translated: nat.is_some(),
            is_inactive: false,
            helper: helper.map_or(0, |helper| helper as u8 + 1),
        }
    }

    /// The same with another mark of the master.
    pub(crate) const fn with_mark(self, mark: u32) -> Self {
        Self { mark, ..self }
    }

    /// How the child is translated; `None` where rules say that.
    pub fn nat(&self) -> Option<ChildNat> {
        self.is_translated.then_some(self.nat)
    }

    /// The helper that wants it; `None` for an operator.
    pub fn helper(&self) -> Option<HelperId> {
        HelperId::ALL.get(usize::from(self.helper).checked_sub(1)?).copied()
    }

    /// Whether it is a call of PPTP, by one of its two directions ([`super::calls`]).
    pub(crate) fn is_call(&self) -> bool {
        self.tuple.protocol() == protocol::GRE && self.helper() == Some(HelperId::Pptp)
    }

    /// The tuple by which a call is answered.
    pub(crate) fn answer(&self) -> Tuple {
        let answer = self.tuple.invert();
        self.nat().map_or(answer, |nat| {
            let ports = u32::from(nat.port) << 16 | u32::from(nat.source_port);
            let selector = answer.selector.with_ports(ports);
            Tuple { src: nat.destination, dst: nat.source, selector }
        })
    }

    /// What was wanted, to be waited for so many milliseconds from now on.
    pub(crate) fn wanted(&self, timeout_ms: u32) -> Wanted {
        let Self { tuple, source, class, one_shot, .. } = *self;
        Wanted { tuple, source, class, one_shot, timeout_ms, nat: self.nat(), helper: self.helper() }
    }

    /// Whether a packet of this tuple meets it.
    pub(crate) fn is_met_by(&self, tuple: &Tuple) -> bool {
        !self.is_inactive && self.fits(tuple)
    }

    /// Whether some packet could meet both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let common = self.source.common(other.source);
        self.goes_where(&other.tuple) && common.of(&self.tuple) == common.of(&other.tuple)
    }

    /// Whether both are the same but for how long, and for the master's mark.
    pub(super) fn is_renewed_by(&self, other: &Self) -> bool {
        Self { deadline: other.deadline, mark: other.mark, ..*self } == *other
    }

    /// Whether both are met by the same packets.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.source == other.source && self.fits(&other.tuple)
    }

    /// Whether a packet of this tuple comes from where the child does, as far as that is known, and goes to where it does.
    fn fits(&self, tuple: &Tuple) -> bool {
        self.goes_where(tuple) && self.source.of(&self.tuple) == self.source.of(tuple)
    }

    /// Whether a packet of this tuple goes to where the child does.
    fn goes_where(&self, tuple: &Tuple) -> bool {
        self.tuple.dst == tuple.dst && self.tuple.selector.with_sport(0) == tuple.selector.with_sport(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: [u8; 4] = [198, 51, 100, 2];

    fn tuple(src: [u8; 4], sport: u16, dport: u16) -> Tuple {
        Tuple::new(src.into(), [10, 0, 0, 2].into(), 6, sport, dport)
    }

    fn expectation(tuple: Tuple, source: SourceMask) -> Expectation {
        Expectation { tuple, source, ..Expectation::default() }
    }

    #[test]
    fn as_much_of_the_source_counts_as_is_known() {
        let stranger = [192, 0, 2, 1];
        for (source, met) in [
            (SourceMask::Exact, [true, false, false, false]),
            (SourceMask::AnyPort, [true, true, false, false]),
            (SourceMask::Any, [true, true, true, false]),
        ] {
            let it = expectation(tuple(SERVER, 20, 5001), source);
            let packets = [
                tuple(SERVER, 20, 5001),
                tuple(SERVER, 21, 5001),
                tuple(stranger, 20, 5001),
                tuple(SERVER, 20, 5002),
            ];
            assert_eq!(packets.map(|packet| it.is_met_by(&packet)), met, "{source:?}");
        }
    }

    #[test]
    fn protocol_and_zone_always_count() {
        let it = expectation(tuple(SERVER, 0, 5001), SourceMask::Any);
        let packet = tuple(SERVER, 0, 5001);
        let zoned = Tuple { selector: packet.selector.with_zone(7), ..packet };
        let udp = Tuple::new(SERVER.into(), [10, 0, 0, 2].into(), 17, 0, 5001);
        assert!(it.is_met_by(&packet) && !it.is_met_by(&zoned) && !it.is_met_by(&udp));
    }

    #[test]
    fn what_one_packet_could_meet_overlaps() {
        let from = |src, source| expectation(tuple(src, 20, 5001), source);
        let one = from(SERVER, SourceMask::AnyPort);
        let other = from([192, 0, 2, 1], SourceMask::AnyPort);
        let anyone = from([0; 4], SourceMask::Any);
        assert!(!one.overlaps(&other) && one.overlaps(&anyone) && anyone.overlaps(&other));
        assert!(one.overlaps(&from(SERVER, SourceMask::Exact)));
        assert!(one.is_alike(&one) && !one.is_alike(&from(SERVER, SourceMask::Exact)));
    }

    #[test]
    fn a_child_follows_its_master() {
        // A client behind masquerade announces a port; the server comes to it.
        let announcing = Tuple::new([10, 0, 0, 2].into(), SERVER.into(), 6, 40000, 21);
        let nat = ChildNat::following(&announcing, 5001);
        assert_eq!((nat.source, nat.destination, nat.port), (announcing.dst, announcing.src, 5001));
    }
}
