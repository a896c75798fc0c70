//! The child: a connection whose first packet has met an expectation.

use super::expectation::{Expectation, ExpectationId};
use zerocopy::FromZeros;

/// What a connection keeps of the expectation that its first packet has met, which is gone by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub(crate) struct Child {
    /// The expectation's name.
    pub(crate) id: ExpectationId,
    /// What was expected, and by whom.
    pub(crate) expectation: Expectation,
}
