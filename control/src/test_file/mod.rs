//! `sluice test`: packets and what is expected of them, kept in a file beside the rules.
//!
//! [`schema`] is the file as serde reads it, [`compile()`] finds in it what only the configuration shows to be wrong, [`play()`] sends the
//! packets through a [`Rehearsal`](crate::rehearsal::Rehearsal), and [`compare`] says what is not as expected.

mod compare;
mod compile;
mod play;
mod schema;

pub use compare::Mismatch;
pub use compile::compile;
pub use play::{Played, play};
pub use schema::TestFile;
