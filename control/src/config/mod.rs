//! The configuration: one YAML file, one schema.
//!
//! `schema` are the serde types, `values` their scalars, `load` turns text into a [`Config`], `explain` puts serde's
//! messages in the reader's words, `nearest` guesses what was meant, `spans` remembers where each key stands, of a text that `source` keeps, `followed` is what the kernel adds, `elements` what is in named sets, `rules` say what a type cannot, `lower`
//! turns the types into the tracking crate's own, `error` shows what was found, and `reference` writes the reference
//! file and the JSON schema from the same types.

mod elements;
mod error;
mod explain;
mod followed;
mod load;
mod lower;
mod nearest;
mod path;
mod reference;
mod rules;
mod schema;
mod source;
mod spans;
mod tree;
mod values;

pub use elements::{Elements, Unread, read_file as read_set_file};
pub use error::{ConfigError, Finding};
pub use followed::{Followed, FollowedRoute, Rerouted};
pub(crate) use load::inline_yaml;
pub use load::{Document, parse, parse_document, read, read_document, to_yaml};
pub use lower::{LoweredRules, lower, lower_rules, nat, quotas, reroute, resolved, settings};
pub(crate) use nearest::nearest;
pub use path::{Path, Problem, Step};
pub use reference::{json_schema, reference_yaml};
pub use rules::check;
pub(crate) use rules::no_set;
pub use schema::*;
pub use source::Source;
pub use values::*;
