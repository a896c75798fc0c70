//! Which packets of a running daemon are meant.

use clap::Args;
use serde::{Deserialize, Serialize};
use sluice_conntrack::PortId;
use sluice_conntrack::policy::Prefix;
use sluice_engine::watch::WatchFilter;

use super::filter_values::Network;
use crate::config::{Config, Protocol};

/// A packet is meant if it fits all that are given: its own source and destination, turned round, or those of the original direction
/// of its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct PacketFilter {
    /// The interface that it comes in by
    #[arg(long = "in", value_name = "INTERFACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,

    /// Layer 4 protocol, by name or number: tcp, udp, icmp, 47
    #[arg(short = 'p', long, value_name = "PROTO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<Protocol>,

    /// Source address or network
    #[arg(short = 's', long, value_name = "IP[/LENGTH]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<Network>,

    /// Destination address or network
    #[arg(short = 'd', long, value_name = "IP[/LENGTH]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<Network>,

    /// Source port
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,

    /// Destination port
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,

    /// Only what is dropped or rejected
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drops: bool,
}

impl PacketFilter {
    /// As workers know it.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn lower(&self, config: &Config) -> Result<WatchFilter, String> {
        let prefix = |network: Network| Prefix::new(network.0.addr(), network.0.prefix_len());
        Ok(WatchFilter {
            ingress: self.ingress.as_deref().map(|name| port(config, name)).transpose()?,
            protocol: self.proto.map(|proto| proto.0),
            source: self.src.map(prefix),
            destination: self.dst.map(prefix),
            source_port: self.sport,
            destination_port: self.dport,
            drops: self.drops,
            ..WatchFilter::default()
        })
    }
}

/// The port of an interface.
///
/// # Errors
/// There is no such interface.
pub fn port(config: &Config, name: &str) -> Result<PortId, String> {
    config.port(name).ok_or_else(|| format!("there is no interface `{name}`"))
}
