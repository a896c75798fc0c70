//! The layouts of a listing, by the names that commands and the control socket give them.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sluice_conntrack::listing::Layout;
use sluice_conntrack::settings::Preset;

/// The layouts of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listing {
    /// conntrack(8)'s
    #[default]
    Conntrack,
    /// conntrack(8)'s, with the family in front
    Extended,
    /// conntrack(8)'s options that make the entry
    Save,
    /// conntrack(8)'s XML
    Xml,
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
            Self::Save => Layout::Save,
            Self::Xml => Layout::Xml,
            Self::Json => Layout::Json,
            Self::Proc => Layout::proc(preset),
        }
    }
}

/// A layout, and what is shown besides: conntrack(8)'s `-o`, a list of words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Format {
    /// The layout.
    pub listing: Listing,
    /// A number that each entry keeps for life (`id`).
    pub id: bool,
    /// When an entry began, where `conntrack.timestamp` is on (`ktimestamp`).
    pub ktimestamp: bool,
    /// When an event happened (`timestamp`).
    pub timestamp: bool,
}

impl Format {
    /// A layout with nothing besides.
    pub const fn of(listing: Listing) -> Self {
        Self { listing, id: false, ktimestamp: false, timestamp: false }
    }
}

const SAVE_ALONE: &str = "cannot combine save output with any other output type, use -o save only";

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut format, mut listings) = (Self::default(), Vec::new());
        for word in text.split(',') {
            match word {
                "id" => format.id = true,
                "ktimestamp" => format.ktimestamp = true,
                "timestamp" => format.timestamp = true,
                // There are none.
                "labels" => {}
                _ => listings.push(Listing::from_str(word, false).map_err(|_| {
                    format!(
                        "`{word}`: expected conntrack, extended, save, xml, json or proc, and with them id, ktimestamp, \
                         timestamp and labels"
                    )
                })?),
            }
        }
        // XML has the family in any case.
        listings.retain(|listing| *listing != Listing::Extended || !text.contains("xml"));
        match listings[..] {
            [] => {}
            [Listing::Save] if text != "save" => return Err(SAVE_ALONE.to_owned()),
            [listing] => format.listing = listing,
            _ => return Err(format!("`{text}`: these layouts do not go together")),
        }
        Ok(format)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(listing) = self.listing.to_possible_value() {
            f.write_str(listing.get_name())?;
        }
        for (word, is_on) in [("id", self.id), ("ktimestamp", self.ktimestamp), ("timestamp", self.timestamp)]
        {
            if is_on {
                write!(f, ",{word}")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Format> for String {
    fn from(format: Format) -> String {
        format.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_combined_as_conntrack_does() {
        for (text, expected) in [
            ("extended,id", "extended,id"),
            ("id", "conntrack,id"),
            ("ktimestamp,id,extended,labels", "extended,id,ktimestamp"),
            ("xml,extended,ktimestamp", "xml,ktimestamp"),
            ("save", "save"),
            ("timestamp", "conntrack,timestamp"),
        ] {
            let format: Format = text.parse().unwrap();
            assert_eq!(format.to_string(), expected);
            assert_eq!(expected.parse(), Ok(format));
        }
        assert_eq!("save,id".parse::<Format>().unwrap_err(), SAVE_ALONE);
        assert!("json,xml".parse::<Format>().unwrap_err().contains("together"));
        assert!("yaml".parse::<Format>().unwrap_err().contains("ktimestamp"));
    }
}
