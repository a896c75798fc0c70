//! What each kind of segment does in each state: the transitions as data, and the table made of them.
//!
//! They are those of RFC 9293 section 3.10 as seen from the middle of the path, where a segment that
//! passes may still be lost or refused by its receiver.

use super::TcpState;
use crate::tuple::Direction;
use crate::wire::tcp::Flags;

/// A segment by the flag that counts most in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SegmentKind {
    /// None of the flags below.
    None,
    /// SYN without ACK.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// FIN, with ACK unless flags are not checked.
    Fin,
    /// ACK alone: data and acknowledgements.
    Ack,
    /// RST, with or without ACK.
    Rst,
}

impl SegmentKind {
    /// How many kinds there are.
    pub const COUNT: usize = 6;

    /// The kind of a segment whatever flags it combines.
    pub const fn of(flags: Flags) -> Self {
        if flags.contains(Flags::RST) {
            Self::Rst
        } else if flags.contains(Flags::SYN) {
            if flags.contains(Flags::ACK) { Self::SynAck } else { Self::Syn }
        } else if flags.contains(Flags::FIN) {
            Self::Fin
        } else if flags.contains(Flags::ACK) {
            Self::Ack
        } else {
            Self::None
        }
    }

    /// Whether a segment is legal and of kind [`Self::Ack`].
    #[inline]
    pub const fn is_plain_ack(flags: Flags) -> bool {
        const COUNT: u8 = Flags::FIN.bits() | Flags::SYN.bits() | Flags::RST.bits() | Flags::ACK.bits();
        flags.bits() & COUNT == Flags::ACK.bits()
    }

    /// The kind of a segment with a legal set of flags.
    #[inline]
    pub const fn of_legal(flags: Flags) -> Option<Self> {
        LEGAL_KINDS[(flags.bits() & LOOKED_AT) as usize]
    }
}

/// Flags that say what a segment is; ECE and CWR (RFC 3168) may go with all of them.
const LOOKED_AT: u8 = 0x3f;

/// The sets of flags a segment may have, to each of which PSH may be added.
const LEGAL: [u8; 9] = {
    const FIN: u8 = Flags::FIN.bits();
    const SYN: u8 = Flags::SYN.bits();
    const RST: u8 = Flags::RST.bits();
    const ACK: u8 = Flags::ACK.bits();
    const URG: u8 = Flags::URG.bits();
    [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG]
};

const LEGAL_KINDS: [Option<SegmentKind>; LOOKED_AT as usize + 1] = {
    let mut kinds = [None; LOOKED_AT as usize + 1];
    let mut i = 0;
    while i < LEGAL.len() {
        let kind = Some(SegmentKind::of(Flags(LEGAL[i])));
        kinds[LEGAL[i] as usize] = kind;
        kinds[(LEGAL[i] | Flags::PSH.bits()) as usize] = kind;
        i += 1;
    }
    kinds
};

/// What a segment does to its connection, as far as the state alone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It does not fit.
    Invalid,
    /// It passes; what its receiver makes of it will be seen in the answer.
    Ignore,
    /// It opens a new connection in place of this one, if this one was closed by its own ends.
    Reopen,
    /// The connection is in this state now.
    To(TcpState),
}

/// What one kind of segment does in some states.
#[derive(Clone, Copy, Debug)]
pub struct Transition {
    /// Directions it holds for.
    pub directions: &'static [Direction],
    /// The segment.
    pub kind: SegmentKind,
    /// States it holds in.
    pub from: &'static [TcpState],
    /// What follows.
    pub to: Move,
    /// Why.
    pub why: &'static str,
}

const fn when(
    directions: &'static [Direction],
    kind: SegmentKind,
    from: &'static [TcpState],
    to: Move,
    why: &'static str,
) -> Transition {
    Transition { directions, kind, from, to, why }
}

/// All transitions. What none of them covers is INVALID.
pub const TRANSITIONS: &[Transition] = {
    use Direction::{Original, Reply};
    use Move::{Ignore, Reopen, To};
    use SegmentKind::{Ack, Fin, Rst, Syn, SynAck};
    use TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, None, SynRecv, SynSent, SynSent2, TimeWait,
    };
    const ORIGINAL: &[Direction] = &[Original];
    const REPLY: &[Direction] = &[Reply];
    const BOTH: &[Direction] = &[Original, Reply];
    &[
        // Opening.
        when(ORIGINAL, Syn, &[None], To(SynSent), "opens a connection"),
        when(REPLY, Syn, &[None], To(SynSent2), "opens one from the other end"),
        when(BOTH, SynAck, &[None], To(SynRecv), "picked up while it opens"),
        when(BOTH, Ack, &[None], To(Established), "picked up in mid-stream"),
        when(BOTH, Fin, &[None], To(FinWait), "picked up while it closes"),
        when(BOTH, Rst, &[None], To(Close), "picked up at its end"),
        when(BOTH, SegmentKind::None, &[None], To(None), "says nothing about the connection"),
        when(ORIGINAL, Syn, &[SynSent], To(SynSent), "the SYN again"),
        when(REPLY, Syn, &[SynSent], To(SynSent2), "both ends open at once"),
        when(BOTH, Syn, &[SynSent2], To(SynSent2), "one of the two SYNs again"),
        when(REPLY, SynAck, &[SynSent], To(SynRecv), "answers the SYN"),
        when(BOTH, SynAck, &[SynSent2], To(SynRecv), "answers the other end's SYN"),
        when(ORIGINAL, SynAck, &[SynRecv], To(SynRecv), "the second answer when both ends open at once"),
        when(ORIGINAL, Ack, &[SynRecv], To(Established), "completes the handshake"),
        when(REPLY, Ack, &[SynRecv], To(SynRecv), "the server may speak before the handshake is complete"),
        when(
            REPLY,
            Ack,
            &[SynSent, SynSent2],
            Ignore,
            "a challenge to a SYN it takes for an old one (RFC 5961)",
        ),
        // Talking.
        when(BOTH, Ack, &[Established], To(Established), "data and acknowledgements"),
        when(
            ORIGINAL,
            Syn,
            &[SynRecv, Established, FinWait, CloseWait, LastAck],
            Ignore,
            "the client may have forgotten the connection: the server knows",
        ),
        when(
            REPLY,
            SynAck,
            &[SynRecv, Established, FinWait, CloseWait, LastAck, TimeWait, Close],
            Ignore,
            "late or again, or the answer to a SYN that was ignored",
        ),
        // Closing.
        when(BOTH, Fin, &[SynRecv, Established], To(FinWait), "one end has no more to send"),
        when(BOTH, Ack, &[FinWait], To(CloseWait), "acknowledges that FIN"),
        when(BOTH, Ack, &[CloseWait], To(CloseWait), "the other end goes on"),
        when(BOTH, Fin, &[FinWait, CloseWait], To(LastAck), "the other end has no more to send either"),
        when(BOTH, Fin, &[LastAck], To(LastAck), "a FIN again"),
        when(BOTH, Ack, &[LastAck], To(TimeWait), "acknowledges the last FIN"),
        when(BOTH, Ack, &[TimeWait], To(TimeWait), "the last ACK again"),
        when(BOTH, Fin, &[TimeWait], To(TimeWait), "a FIN whose ACK was lost"),
        // Closed.
        when(
            BOTH,
            Rst,
            &[SynSent, SynRecv, Established, FinWait, CloseWait, LastAck, TimeWait, Close, SynSent2],
            To(Close),
            "reset",
        ),
        when(BOTH, Ack, &[Close], To(Close), "was under way when the reset came"),
        when(BOTH, Fin, &[Close], To(Close), "was under way when the reset came"),
        when(BOTH, Syn, &[TimeWait], Reopen, "the ports are used again (RFC 9293 section 3.6.1)"),
        when(ORIGINAL, Syn, &[Close], Reopen, "the ports are used again"),
    ]
};

type Table = [[[Move; TcpState::COUNT]; SegmentKind::COUNT]; 2];

const TABLE: Table = {
    let mut table: Table = [[[Move::Invalid; TcpState::COUNT]; SegmentKind::COUNT]; 2];
    let mut i = 0;
    while i < TRANSITIONS.len() {
        let transition = TRANSITIONS[i];
        assert!(!transition.why.is_empty());
        let mut d = 0;
        while d < transition.directions.len() {
            let mut s = 0;
            while s < transition.from.len() {
                let cell = &mut table[transition.directions[d] as usize][transition.kind as usize]
                    [transition.from[s] as usize];
                assert!(matches!(*cell, Move::Invalid), "two transitions for one case");
                *cell = transition.to;
                s += 1;
            }
            d += 1;
        }
        i += 1;
    }
    table
};

/// What a segment of `kind` that goes in `direction` does in `state`.
#[inline]
pub const fn step(direction: Direction, kind: SegmentKind, state: TcpState) -> Move {
    TABLE[direction as usize][kind as usize][state as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_small() {
        assert_eq!(size_of::<Table>(), 120);
    }

    /// Only these 18 of the 64 sets of flags are legal, ECE and CWR or not.
    #[test]
    fn flags_are_legal_or_not() {
        let letters = |flags: u8| -> String {
            "FSRPAU".chars().enumerate().filter(|(i, _)| flags >> i & 1 != 0).map(|(_, c)| c).collect()
        };
        let legal: Vec<String> =
            (0..64).filter(|&f| SegmentKind::of_legal(Flags(f)).is_some()).map(letters).collect();
        let expected = [
            "S", "R", "SP", "RP", "A", "FA", "SA", "RA", "PA", "FPA", "SPA", "RPA", "SU", "SPU", "AU", "FAU",
            "PAU", "FPAU",
        ];
        assert_eq!(legal, expected);
        for flags in 0..=255 {
            assert_eq!(SegmentKind::of_legal(Flags(flags)), SegmentKind::of_legal(Flags(flags & 0x3f)));
        }
    }

    #[test]
    fn a_legal_segment_has_one_kind() {
        for flags in (0..64).map(Flags) {
            if let Some(kind) = SegmentKind::of_legal(flags) {
                assert_eq!(kind, SegmentKind::of(flags));
                assert_eq!(SegmentKind::is_plain_ack(flags), kind == SegmentKind::Ack);
                assert_ne!(kind, SegmentKind::None);
            }
        }
    }
}
