//! The section `sets`: addresses that rules name together.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::elements::Elements;
use crate::config::values::{List, Prefix};

/// A set of addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (prefixes, file)")]
pub struct AddressSet {
    /// Addresses and prefixes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<List<Prefix>>,

    /// A file with more of them, one a line; what follows `#` or `;` is a comment. A relative path begins where the
    /// configuration file is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,

    /// All that is in it: of both, as they were read, and as it was changed since.
    #[serde(skip)]
    pub elements: Arc<Elements>,
}
