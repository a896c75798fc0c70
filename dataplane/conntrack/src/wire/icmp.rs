//! ICMP (RFC 792) and ICMPv6 (RFC 4443) messages.

use crate::tuple::Family;

/// The type that answers a query of `kind`, and the query that an answer of `kind` belongs to; any other
/// type is its own inverse.
pub const fn invert_type(family: Family, kind: u8) -> u8 {
    match (family, kind) {
        (Family::V4, 8) => 0,
        (Family::V4, 0) => 8,
        (Family::V4, 13 | 15 | 17) => kind + 1,
        (Family::V4, 14 | 16 | 18) => kind - 1,
        (Family::V6, 128 | 139) => kind + 1,
        (Family::V6, 129 | 140) => kind - 1,
        _ => kind,
    }
}
