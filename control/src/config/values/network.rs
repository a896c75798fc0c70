//! Scalars of the network: devices, addresses, prefixes, protocols, ports.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use sluice_conntrack::policy;
use sluice_conntrack::tuple::protocol;

use super::scalar::scalars;

scalars! {
    Device: "string", "a device such as `pci:0000:3b:00.1` or `vdev:net_af_packet0,iface=eth1`, or a VLAN such as `vlan:wan.100`";
    InterfaceAddress: "string", "an address with its prefix length, such as 10.0.0.1/8 or 2001:db8::1/64";
    MacAddress: "string", "a MAC address of one host, such as 02:00:00:00:00:fe";
    MssLimit: ["string", "integer"], "pmtu, or a maximum segment size in bytes such as 1300";
    Prefix: "string", "an address or a prefix, such as 198.51.100.7, 10.0.0.0/8 or 2001:db8::/32";
    Protocol: ["string", "integer"], "a protocol: tcp, udp, icmp, icmpv6, sctp, gre, udplite, esp, ah, dccp, ipip, ospf, vrrp, or a number from 0 to 255";
    PortRange: ["string", "integer"], "a port such as 80, or a range such as 1024-65535";
}

/// Where an interface's packets come from: a NIC by its PCI address, a DPDK virtual device, or a VLAN of another interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// `pci:DOMAIN:BUS:DEVICE.FUNCTION`: the address, as DPDK takes it.
    Pci(String),
    /// `vdev:NAME,ARGUMENTS`: what follows `--vdev=` on a DPDK command line.
    Vdev(String),
    /// `vlan:PARENT.ID`: frames with that VLAN's tag (IEEE 802.1Q), from 1 to 4094, on the link of another interface.
    Vlan(String, u16),
}

impl Device {
    /// The interface whose link carries it, and its number, if it is a VLAN.
    pub fn vlan(&self) -> Option<(&str, u16)> {
        match self {
            Device::Vlan(parent, id) => Some((parent, *id)),
            Device::Pci(_) | Device::Vdev(_) => None,
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Device, String> {
        match text.split_once(':') {
            Some(("pci", address)) if is_pci_address(address) => Ok(Device::Pci(address.to_owned())),
            Some(("vdev", spec)) if spec.starts_with("net_") => Ok(Device::Vdev(spec.to_owned())),
            Some(("vlan", name)) => {
                let (parent, id) = name
                    .rsplit_once('.')
                    .ok_or_else(|| format!("`{name}` is not an interface, `.` and a number"))?;
                match id.parse() {
                    Ok(number) if (1..=4094).contains(&number) => Ok(Device::Vlan(parent.to_owned(), number)),
                    _ => Err(format!("`{id}` is not the number of a VLAN: those are 1 to 4094")),
                }
            }
            Some(("pci", address)) => Err(format!("`{address}` is not a PCI address")),
            Some(("vdev", spec)) => Err(format!("`{spec}` is not a DPDK network device (net_...)")),
            _ => Err(format!("`{text}` is not a device")),
        }
    }
}

/// Whether this is `DDDD:BB:DD.F` in hexadecimal.
fn is_pci_address(text: &str) -> bool {
    let groups: Vec<&str> = text.split([':', '.']).collect();
    let shape = text.chars().filter(|c| !c.is_ascii_hexdigit()).collect::<String>();
    let widths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    shape == "::." && widths == [4, 2, 2, 1]
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Pci(address) => write!(f, "pci:{address}"),
            Device::Vdev(spec) => write!(f, "vdev:{spec}"),
            Device::Vlan(parent, id) => write!(f, "vlan:{parent}.{id}"),
        }
    }
}

/// An address of the box itself, with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress(pub IpNet);

impl FromStr for InterfaceAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<InterfaceAddress, String> {
        let net = text.parse::<IpNet>().map_err(|_| match text.parse::<IpAddr>() {
            Ok(_) => format!("`{text}` has no prefix length"),
            Err(_) => format!("`{text}` is not an address with a prefix length"),
        })?;
        let is_host = net.prefix_len() + 2 > net.max_prefix_len();
        if !is_host && net.addr() == net.network() {
            return Err(format!("`{text}` is the network itself, not an address in it"));
        }
        if !is_host && net.addr().is_ipv4() && net.addr() == net.broadcast() {
            return Err(format!("`{text}` is the broadcast address of its network, not one of a host"));
        }
        let address = net.addr();
        if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
            return Err(format!("{address} is not the address of one host"));
        }
        Ok(InterfaceAddress(net))
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The MAC address of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

impl FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<MacAddress, String> {
        let wrong = || format!("`{text}` is not a MAC address");
        let byte = |part: &str| {
            let digits = part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(part, 16).ok()).flatten().ok_or_else(wrong)
        };
        let bytes = text.split([':', '-']).map(byte).collect::<Result<Vec<u8>, String>>()?;
        let bytes: [u8; 6] = bytes.try_into().map_err(|_| wrong())?;
        match bytes {
            [first, ..] if first & 1 == 1 => Err(format!("`{text}` is the address of many hosts")),
            [0, 0, 0, 0, 0, 0] => Err(wrong()),
            _ => Ok(MacAddress(bytes)),
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The largest TCP maximum segment size that SYNs may offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MssLimit {
    /// What the smaller MTU of the two interfaces has room for.
    Pmtu,
    /// So many bytes.
    Bytes(u16),
}

impl FromStr for MssLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<MssLimit, String> {
        match text.parse() {
            _ if text == "pmtu" => Ok(MssLimit::Pmtu),
            Ok(bytes @ 88..) => Ok(MssLimit::Bytes(bytes)),
            _ => Err(format!("`{text}` is not a maximum segment size")),
        }
    }
}

impl fmt::Display for MssLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MssLimit::Pmtu => f.write_str("pmtu"),
            MssLimit::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// A set of addresses with a common prefix; a lone address is a full-length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(pub IpNet);

impl Prefix {
    /// Whether the addresses are of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.0.addr().is_ipv4()
    }
}

impl From<&Prefix> for policy::Prefix {
    fn from(Prefix(net): &Prefix) -> policy::Prefix {
        policy::Prefix::new(net.addr(), net.prefix_len())
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Prefix, String> {
        let net = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => network(text).ok_or_else(|| format!("`{text}` is not a prefix"))??,
        };
        Ok(Prefix(net))
    }
}

/// A network as `ADDRESS/LENGTH`; `None` if it is none. Bits of a host, behind the length, are mostly a slip of the hand.
pub(super) fn network(text: &str) -> Option<Result<IpNet, String>> {
    let net: IpNet = text.parse().ok()?;
    Some(match net.trunc() {
        network if network == net => Ok(net),
        network => Err(format!(
            "`{text}` has bits of a host behind its /{}; its network is {network}",
            net.prefix_len()
        )),
    })
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(pub u8);

impl Protocol {
    /// The Internet Control Message Protocol.
    pub const ICMP: Protocol = Protocol(1);
    /// The Transmission Control Protocol.
    pub const TCP: Protocol = Protocol(6);
    /// ICMP for IPv6.
    pub const ICMPV6: Protocol = Protocol(58);

    /// Every name, for suggestions.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        PROTOCOLS.iter().map(|(name, _)| *name)
    }

    /// Whether the protocol has ports that are known, so that a rule may match them. DCCP is tracked by its addresses.
    pub fn has_ports(self) -> bool {
        protocol::has_ports(self.0)
    }

    /// Whether this is ICMP or ICMPv6.
    pub fn is_icmp(self) -> bool {
        self == Protocol::ICMP || self == Protocol::ICMPV6
    }
}

const PROTOCOLS: [(&str, u8); 15] = [
    ("icmp", 1),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("vrrp", 112),
    ("sctp", 132),
    ("udplite", 136),
];

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Protocol, String> {
        let named = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let number = named.map(|(_, number)| *number).or_else(|| text.parse().ok());
        number.map(Protocol).ok_or_else(|| format!("`{text}` is not a protocol"))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A range of ports, both ends included; `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<PortRange, String> {
        let port = |part: &str| part.trim().parse::<u16>().map_err(|_| format!("`{text}` is not a port"));
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if first > last {
            return Err(format!("the port range `{text}` is empty: {first} is above {last}"));
        }
        Ok(PortRange { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_survives_a_round_trip() {
        fn same<T: FromStr<Err: fmt::Debug> + fmt::Display>(texts: &[&str]) {
            for text in texts {
                assert_eq!(text.parse::<T>().unwrap().to_string(), *text);
            }
        }
        same::<Device>(&["pci:0000:3b:00.1", "vdev:net_pcap0,rx_pcap=a.pcap", "vlan:eth1.5.100"]);
        same::<InterfaceAddress>(&["10.0.0.1/8", "2001:db8::1/64", "192.0.2.0/31", "192.0.2.7/32"]);
        same::<MacAddress>(&["02:00:00:00:00:fe"]);
        same::<Prefix>(&["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]);
        same::<Protocol>(&["tcp", "icmpv6", "99"]);
        same::<PortRange>(&["80", "1024-65535"]);
    }

    #[test]
    fn wrong_values_say_what_is_wrong() {
        fn why<T: FromStr<Err = String> + fmt::Debug>(text: &str) -> String {
            text.parse::<T>().unwrap_err()
        }
        assert_eq!(why::<PortRange>("9-3"), "the port range `9-3` is empty: 9 is above 3");
        assert_eq!(why::<PortRange>("65536"), "`65536` is not a port");
        assert_eq!(why::<InterfaceAddress>("10.0.0.1"), "`10.0.0.1` has no prefix length");
        assert_eq!(
            why::<InterfaceAddress>("10.0.0.0/8"),
            "`10.0.0.0/8` is the network itself, not an address in it"
        );
        assert_eq!(why::<Prefix>("10.0.0.0/33"), "`10.0.0.0/33` is not a prefix");
        assert_eq!(why::<MacAddress>("02:00:00:00:00"), "`02:00:00:00:00` is not a MAC address");
        assert_eq!(why::<MacAddress>("02:00:00:00:00:+f"), "`02:00:00:00:00:+f` is not a MAC address");
        assert_eq!(
            why::<MacAddress>("ff:ff:ff:ff:ff:ff"),
            "`ff:ff:ff:ff:ff:ff` is the address of many hosts"
        );
        assert_eq!(why::<Device>("eth0"), "`eth0` is not a device");
        for id in ["0", "4095", "", "+"] {
            let said = format!("`{id}` is not the number of a VLAN: those are 1 to 4094");
            assert_eq!(why::<Device>(&format!("vlan:wan.{id}")), said);
        }
        assert_eq!(why::<Device>("vlan:wan"), "`wan` is not an interface, `.` and a number");
        assert_eq!(why::<Device>("pci:3b:00.1"), "`3b:00.1` is not a PCI address");
    }

    #[test]
    fn a_lone_address_is_a_whole_prefix_and_host_bits_are_refused() {
        assert_eq!("198.51.100.7".parse::<Prefix>().unwrap().to_string(), "198.51.100.7/32");
        let why = "10.1.2.3/8".parse::<Prefix>().unwrap_err();
        assert_eq!(why, "`10.1.2.3/8` has bits of a host behind its /8; its network is 10.0.0.0/8");
    }
}
