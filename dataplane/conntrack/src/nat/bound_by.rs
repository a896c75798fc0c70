//! Which rules a connection was bound by.

use zerocopy::FromZeros;

/// The rules that a connection's source and destination were bound by. All zeros where none was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub(crate) struct BoundBy {
    /// The index of the source rule, plus one.
    source: u16,
    /// That of the destination rule.
    destination: u16,
}

/// The number of a index; none where that is none which a configuration has.
fn number(index: usize) -> u16 {
    u16::try_from(index + 1).unwrap_or_default()
}

impl BoundBy {
    /// Its source is to be bound by the rule at a index.
    pub(super) fn set_source(&mut self, index: usize) {
        self.source = number(index);
    }

    /// Its destination was bound by the rule at a index.
    pub(super) fn set_destination(&mut self, index: usize) {
        self.destination = number(index);
    }

    /// The index of its source rule.
    #[inline(always)]
    pub(crate) fn source(self) -> Option<usize> {
        usize::from(self.source).checked_sub(1)
    }

    /// The index of its destination rule.
    #[inline(always)]
    pub(crate) fn destination(self) -> Option<usize> {
        usize::from(self.destination).checked_sub(1)
    }
}
