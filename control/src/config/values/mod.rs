//! The values of keys: scalars with units and of the network, and the list that may be written as one value.

mod addresses;
mod endpoint;
mod engine_url;
mod facility;
mod helper;
mod host;
mod list;
mod matches;
mod name;
mod nat;
mod network;
mod rate;
mod scalar;
mod units;

pub use addresses::{Addresses, Destinations};
pub use endpoint::Endpoint;
pub use engine_url::EngineUrl;
pub use facility::Facility;
pub use helper::Helper;
pub use host::Host;
pub use list::List;
pub(crate) use matches::FLAGS;
pub use matches::{IcmpType, Mark, TcpFlags};
pub(crate) use name::is_name;
pub use nat::{AddressRange, Redirect, Yes};
pub use network::{Device, InterfaceAddress, MacAddress, MssLimit, PortRange, Prefix, Protocol};
pub use rate::Rate;
pub use units::{Count, Percent, Seconds, Size};
