//! Which rules a connection was bound by.

use zerocopy::FromZeros;

/// The rules that a connection's source and destination were bound by. All zeros where none was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub(crate) struct BoundBy {
    /// The place of the source rule, plus one.
    source: u16,
    /// That of the destination rule.
    destination: u16,
}

/// The number of a place; none where that is none which a configuration has.
fn number(place: usize) -> u16 {
    u16::try_from(place + 1).unwrap_or_default()
}

impl BoundBy {
    /// Its source is to be bound by the rule at a place.
    pub(super) fn set_source(&mut self, place: usize) {
        self.source = number(place);
    }

    /// Its destination was bound by the rule at a place.
    pub(super) fn set_destination(&mut self, place: usize) {
        self.destination = number(place);
    }

    /// The place of its source rule.
    #[inline(always)]
    pub(crate) fn source(self) -> Option<usize> {
        usize::from(self.source).checked_sub(1)
    }

    /// The place of its destination rule.
    #[inline(always)]
    pub(crate) fn destination(self) -> Option<usize> {
        usize::from(self.destination).checked_sub(1)
    }
}
