//! Identifiers: the small numbers that name things of the box, apart from what they name, so that every file may use them.

use zerocopy::FromZeros;

/// A port of the box, by its position in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u8);

impl PortId {
    /// The box itself: where packets to its own addresses "leave".
    pub const LOCAL: Self = Self(u8::MAX);

    /// The bit that tells the host side of a port from the port. Ports are [`crate::forward::MAX_PORTS`] at most.
    const HOST_SIDE: u8 = 0x80;

    /// The host side of a port: the box's own network stack behind the port's link, to which packets for the box leave, and
    /// from which those come that it sends.
    #[must_use]
    pub const fn host_side(self) -> Self {
        Self(self.0 | Self::HOST_SIDE)
    }

    /// The port that this is the host side of, if it is one.
    pub const fn behind(self) -> Option<Self> {
        if self.is_local() && self.0 != Self::LOCAL.0 { Some(Self(self.0 & !Self::HOST_SIDE)) } else { None }
    }

    /// Whether this is the box itself: [`PortId::LOCAL`], or the host side of a port.
    pub const fn is_local(self) -> bool {
        self.0 & Self::HOST_SIDE != 0
    }

    /// Whether a rule that names this port means `other`, too: all host sides are the box itself.
    pub const fn covers(self, other: Self) -> bool {
        self.0 == other.0 || self.0 == Self::LOCAL.0 && other.is_local()
    }
}

/// One of the box's own network stacks: host sides that lead to the same one have its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub u8);

/// A shard, by its number: that of its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A group: addresses that belong together, which one box of several answers for at a time ([`crate::groups`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u8);

/// Names an entry for as long as it lives: a number that is used again later, and the generation that
/// tells its users apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromZeros)]
pub struct EntryId {
    /// Slot in the arena.
    pub index: u32,
    /// Changes whenever the slot is taken again.
    pub generation: u32,
}

/// A rule of the policy, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u16);

/// A conntrack zone: tuples of different zones never meet. Zone 0 is the default.
pub type Zone = u16;

/// A helper that exists, what reads one protocol ([`crate::helpers`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum HelperId {
    /// The File Transfer Protocol (RFC 959, RFC 2428).
    Ftp,
    /// The Trivial File Transfer Protocol (RFC 1350, RFC 2347).
    Tftp,
    /// Internet Relay Chat (RFC 1459, RFC 2812): DCC.
    Irc,
    /// Amanda, the Advanced Maryland Automatic Network Disk Archiver.
    Amanda,
    /// The Session Initiation Protocol (RFC 3261).
    Sip,
    /// The Real-Time Streaming Protocol (RFC 2326, RFC 7826).
    Rtsp,
    /// SANE, the network protocol of Scanner Access Now Easy.
    Sane,
    /// The Point-to-Point Tunneling Protocol (RFC 2637).
    Pptp,
    /// The daemons by which users talk, of 4.2BSD.
    Talk,
    /// Those of 4.3BSD.
    Ntalk,
    /// H.323: registration, admission and status (ITU-T H.225.0).
    Ras,
    /// H.323: call signalling (ITU-T H.225.0, Q.931).
    Q931,
    /// H.323: control of a call (ITU-T H.245).
    H245,
}

impl HelperId {
    /// All helpers, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Ftp,
        Self::Tftp,
        Self::Irc,
        Self::Amanda,
        Self::Sip,
        Self::Rtsp,
        Self::Sane,
        Self::Pptp,
        Self::Talk,
        Self::Ntalk,
        Self::Ras,
        Self::Q931,
        Self::H245,
    ];

    /// Linux's name of it, as configuration, listings and metrics say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Tftp => "tftp",
            Self::Irc => "irc",
            Self::Amanda => "amanda",
            Self::Sip => "sip",
            Self::Rtsp => "rtsp",
            Self::Sane => "sane",
            Self::Pptp => "pptp",
            Self::Talk => "talk",
            Self::Ntalk => "ntalk",
            Self::Ras => "RAS",
            Self::Q931 => "Q.931",
            Self::H245 => "H.245",
        }
    }

    /// The helper of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|helper| helper.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_tell_helpers_apart() {
        for (number, helper) in HelperId::ALL.into_iter().enumerate() {
            assert_eq!(helper as usize, number);
            assert_eq!(HelperId::named(helper.name()), Some(helper));
        }
        assert_eq!(HelperId::named("gopher"), None);
    }
}
