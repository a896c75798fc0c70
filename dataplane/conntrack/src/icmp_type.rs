//! ICMP (RFC 792) and ICMPv6 (RFC 4443) message types: what each is to connection tracking, and which answers which.

use crate::family::Family;

/// ICMPv6 multicast listener query (RFC 3810 section 5.1).
pub const LISTENER_QUERY: u8 = 130;

/// ICMPv6 neighbour solicitation (RFC 4861 section 4.3).
pub const NEIGHBOUR_SOLICITATION: u8 = 135;

/// ICMPv6 neighbour advertisement (RFC 4861 section 4.4).
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// ICMPv6 redirect (RFC 4861 section 4.5), the one error that quotes in an option.
pub(crate) const REDIRECT_V6: u8 = 137;

/// What a message type is to connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Asks, and opens a connection.
    Query,
    /// Answers a query.
    Answer,
    /// Reports about the packet that it quotes.
    Error,
    /// Serves the link, and is never tracked: neighbour, router and multicast discovery.
    Untracked,
    /// Any other.
    Other,
}

/// A message type: its class, and its counterpart where it is a query or an answer.
#[derive(Clone, Copy)]
struct Type {
    class: Class,
    inverse: u8,
}

/// What the types of a family are.
struct Assignment {
    /// Queries and their answers.
    pairs: &'static [(u8, u8)],
    errors: &'static [u8],
    untracked: &'static [u8],
}

/// Echo, timestamp, information and address mask (RFC 792, RFC 950); unreachable, source quench, redirect,
/// time exceeded and parameter problem.
static V4: [Type; 256] = table(&Assignment {
    pairs: &[(8, 0), (13, 14), (15, 16), (17, 18)],
    errors: &[3, 4, 5, 11, 12],
    untracked: &[],
});

/// Echo and node information (RFC 4620); redirect, and every type below 128 (RFC 4443 section 2.1). Untracked
/// are listener and neighbour discovery and multicast router advertisements (RFC 2710, RFC 4861, RFC 3810,
/// RFC 4286).
static V6: [Type; 256] = {
    let mut types = table(&Assignment {
        pairs: &[(128, 129), (139, 140)],
        errors: &[REDIRECT_V6],
        untracked: &[
            LISTENER_QUERY,
            131,
            132,
            133,
            134,
            NEIGHBOUR_SOLICITATION,
            NEIGHBOUR_ADVERTISEMENT,
            143,
            151,
            152,
        ],
    });
    let mut kind = 0;
    while kind < 128 {
        types[kind].class = Class::Error;
        kind += 1;
    }
    types
};

const fn table(assignment: &Assignment) -> [Type; 256] {
    let mut types = [Type { class: Class::Other, inverse: 0 }; 256];
    let mut kind = 0;
    while kind < 256 {
        types[kind].inverse = kind as u8;
        kind += 1;
    }
    let mut i = 0;
    while i < assignment.pairs.len() {
        let (query, answer) = assignment.pairs[i];
        types[query as usize] = Type { class: Class::Query, inverse: answer };
        types[answer as usize] = Type { class: Class::Answer, inverse: query };
        i += 1;
    }
    let mut i = 0;
    while i < assignment.errors.len() {
        types[assignment.errors[i] as usize].class = Class::Error;
        i += 1;
    }
    let mut i = 0;
    while i < assignment.untracked.len() {
        types[assignment.untracked[i] as usize].class = Class::Untracked;
        i += 1;
    }
    types
}

fn lookup(family: Family, kind: u8) -> Type {
    match family {
        Family::V4 => V4[usize::from(kind)],
        Family::V6 => V6[usize::from(kind)],
    }
}

/// What messages of type `kind` are.
pub fn class(family: Family, kind: u8) -> Class {
    lookup(family, kind).class
}

/// The type that answers a query of `kind`, and the query that an answer of `kind` belongs to; any other
/// type is its own inverse.
pub fn invert_type(family: Family, kind: u8) -> u8 {
    lookup(family, kind).inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_queries_and_answers_have_a_counterpart() {
        for family in [Family::V4, Family::V6] {
            for kind in 0..=255 {
                let inverse = invert_type(family, kind);
                assert_eq!(invert_type(family, inverse), kind);
                match class(family, kind) {
                    Class::Query => assert_eq!(class(family, inverse), Class::Answer),
                    Class::Answer => assert_eq!(class(family, inverse), Class::Query),
                    _ => assert_eq!(inverse, kind),
                }
            }
        }
    }

    #[test]
    fn types_are_classed_by_their_rfcs() {
        let of = |family, wanted| (0..=255).filter(move |&kind| class(family, kind) == wanted);
        assert!(of(Family::V4, Class::Query).eq([8, 13, 15, 17]));
        assert!(of(Family::V4, Class::Error).eq([3, 4, 5, 11, 12]));
        assert!(of(Family::V4, Class::Untracked).eq([]));
        assert!(of(Family::V6, Class::Query).eq([128, 139]));
        assert!(of(Family::V6, Class::Error).eq((0..128).chain([137])));
        assert!(of(Family::V6, Class::Untracked).eq((130..=136).chain([143, 151, 152])));
    }
}
