//! The layouts of a listing, by the names that commands and the control socket give them.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sluice_conntrack::listing::Layout;
use sluice_conntrack::settings::Preset;

/// The layouts of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listing {
    /// conntrack(8)'s
    Conntrack,
    /// conntrack(8)'s, with the family in front
    Extended,
    /// One JSON object a line
    Json,
    /// That of the preset's kernel: /proc/net/ip_conntrack (classic) or nf_conntrack (linux)
    Proc,
}

impl Listing {
    /// The tracking crate's layout; /proc's file is the one of the preset's kernel.
    pub fn layout(self, preset: Preset) -> Layout {
        match self {
            Self::Conntrack => Layout::Conntrack,
            Self::Extended => Layout::Extended,
            Self::Json => Layout::Json,
            Self::Proc => Layout::proc(preset),
        }
    }
}
