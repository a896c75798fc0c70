//! Network address translation.

mod rules;

pub use rules::{Mapping, Nat, Ports, Range, Rule, Target};
