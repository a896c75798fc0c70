//! Network address translation: which connections are translated, to what, and how a packet is rewritten.
//!
//! The first packet of a connection decides (`bind`, `search`); from then on the entry's two tuples say all, and each packet is
//! rewritten by them (`edit`).

mod apply;
mod bind;
mod binder;
mod blocks;
mod budget;
mod edit;
mod exhausted;
mod mapping;
mod pools;
mod prefetch;
mod renumber;
mod rules;
mod search;
mod sweep;
mod used_ports;

pub(crate) use apply::{Destination, is_rewritable};
pub(crate) use bind::Bound;
pub use binder::Binders;
pub use blocks::PortBlock;
pub(crate) use budget::MOST_BINDINGS;
pub(crate) use exhausted::Exhausted;
pub(crate) use mapping::{Client, Mapped, inside, outside};
pub use pools::{Pools, SPACES};
pub(crate) use prefetch::LastBound;
pub(crate) use renumber::IpIds;
pub use rules::{Filtering, MOST_ADDRESSES, Mapping, Nat, NatCounter, Ports, Range, Rule, Target};
pub(crate) use search::has_choice;
