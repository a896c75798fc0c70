//! Network address translation: which connections are translated, to what, and how a packet is rewritten.
//!
//! The first packet of a connection decides (`bind`, `search`), which is recorded when it is confirmed (`state`); from then on the
//! entry's two tuples say all, and each packet is rewritten by them (`edit`).

pub(crate) mod announced;
mod bind;
mod blocks;
mod bound_by;
mod budget;
mod compiled;
pub(crate) mod edit;
mod exhausted;
mod given;
mod ip_ids;
mod mapping;
mod pools;
mod ports;
mod prefetch;
mod rules;
mod search;
mod state;
mod used_ports;

pub(crate) use bind::Bound;
pub use blocks::PortBlock;
pub(crate) use blocks::masquerades;
pub(crate) use bound_by::BoundBy;
pub(crate) use budget::MAX_BINDINGS;
pub use compiled::CompiledRules;
pub(crate) use edit::{Destination, is_rewritable};
pub(crate) use mapping::{inside, outside};
pub(crate) use pools::Pools;
pub use ports::SPACES;
pub(crate) use ports::has_choice;
pub use rules::{Filtering, MAX_ADDRESSES, Mapping, Nat, NatRule, PortChoice, Range, Target};
pub(crate) use state::NatState;
