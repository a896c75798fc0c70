//! The configuration that a rehearsal is of, with what its parts are called.

use std::path::Path;

use sluice_conntrack::{Configuration, PortId};

use super::Names;
use crate::config::{self, Config, ConfigError, Forwarding, Problem, Source};

const ETHERTYPE: std::ops::Range<usize> = 12..14;
const TAG: std::ops::Range<usize> = 12..16;
const VLAN: [u8; 2] = [0x81, 0x00];

/// A configuration that was read.
#[derive(Debug)]
pub struct Subject {
    /// As it is written.
    pub config: Config,
    /// As shards work by it.
    pub configuration: Configuration,
    /// What its parts are called, and where they stand.
    pub names: Names,
}

impl Subject {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(path: &Path) -> Result<Subject, Box<ConfigError>> {
        let (config, source) = config::read_document::<Config>(path)?;
        Self::of(config, &source)
    }

    /// What a daemon runs by: the text of a file, and all that is in force, every default written out.
    ///
    /// # Errors
    /// Another version has written it, in which this one finds something wrong.
    pub fn running(file: &str, text: &str, yaml: &str) -> Result<Subject, Box<ConfigError>> {
        let (_, source) = config::parse_document::<Config>(file, text.as_bytes())?;
        Self::of(config::parse(file, yaml.as_bytes())?, &source)
    }

    fn of(config: Config, source: &Source) -> Result<Subject, Box<ConfigError>> {
        let wrong = |problem: Problem| source.refuse(vec![problem]);
        let configuration = config::lower(&config).map_err(wrong)?;
        let names = Names::of(&config, source);
        Ok(Subject { config, configuration, names })
    }

    /// Takes off the tag (IEEE 802.1Q) of a frame that came in by a port: it came in by the interface of that VLAN. What is of none
    /// is left as it is.
    pub fn untag(&self, ingress: PortId, frame: &mut Vec<u8>) -> PortId {
        let is_tagged = frame.get(ETHERTYPE) == Some(&VLAN) && self.config.forwarding() == Forwarding::Routed;
        let (true, Some([.., high, low])) = (is_tagged, frame.get(TAG)) else { return ingress };
        let id = u16::from_be_bytes([*high, *low]) & 0xfff;
        let parent = self.names.interface(ingress);
        let mut devices = self.config.interfaces.values();
        match devices.position(|interface| interface.device.vlan() == Some((parent, id))) {
            Some(index) => {
                frame.drain(TAG);
                PortId(index as u8)
            }
            None => ingress,
        }
    }
}
