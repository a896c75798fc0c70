//! Scalars of the network: devices, addresses, prefixes, protocols, ports, flags, ICMP types, marks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::values::scalars;

scalars! {
    Device: "string", "a device such as `pci:0000:3b:00.1` or `vdev:net_af_packet0,iface=eth1`";
    InterfaceAddress: "string", "an address with its prefix length, such as 10.0.0.1/8 or 2001:db8::1/64";
    Prefix: "string", "an address or a prefix, such as 198.51.100.7, 10.0.0.0/8 or 2001:db8::/32";
    Protocol: ["string", "integer"], "a protocol: tcp, udp, icmp, icmpv6, sctp, gre, udplite, esp, ah, dccp, ipip, ospf, vrrp, or a number from 0 to 255";
    PortRange: ["string", "integer"], "a port such as 80, or a range such as 1024-65535";
    TcpFlags: "string", "flags such as \"syn\", \"!syn\" or \"syn,ack\", of fin, syn, rst, psh, ack, urg, ece, cwr";
    IcmpType: ["string", "integer"], "an ICMP type: a name such as echo-request, a number such as 8, or type/code such as 3/4";
    Mark: ["string", "integer"], "a mark such as 7 or 0x10, or value/mask such as 0x10/0xf0";
}

/// Where an interface's packets come from: a NIC by its PCI address, or a DPDK virtual device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// `pci:DOMAIN:BUS:DEVICE.FUNCTION`: the address, as DPDK takes it.
    Pci(String),
    /// `vdev:NAME,ARGUMENTS`: what follows `--vdev=` on a DPDK command line.
    Vdev(String),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Device, String> {
        match text.split_once(':') {
            Some(("pci", address)) if is_pci_address(address) => Ok(Device::Pci(address.to_owned())),
            Some(("vdev", spec)) if spec.starts_with("net_") => Ok(Device::Vdev(spec.to_owned())),
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
        Ok(InterfaceAddress(net))
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of addresses with a common prefix; host bits are ignored, and a lone address is a full-length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(pub IpNet);

impl Prefix {
    /// Whether the addresses are of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.0.addr().is_ipv4()
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Prefix, String> {
        let net = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| format!("`{text}` is not a prefix"))?,
        };
        Ok(Prefix(net.trunc()))
    }
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

    /// Whether the protocol has ports, so that a rule may match them: TCP, UDP, DCCP, SCTP, UDP-Lite.
    pub fn has_ports(self) -> bool {
        [6, 17, 33, 132, 136].contains(&self.0)
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

/// A match on TCP's flags: of the bits in `mask`, exactly those in `set` are set; `negated` turns it round.
///
/// The listed flags must be set. With SYN among them, those of ACK, RST and FIN that are not listed must be
/// clear, so that `"syn"` is the opening segment as with iptables' `--syn`, and `"!syn"` everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags {
    /// The bits that are looked at, as in the TCP header's byte 13.
    pub mask: u8,
    /// The bits of `mask` that must be set.
    pub set: u8,
    /// Whether a packet matches when its flags do not.
    pub negated: bool,
}

const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];
const SYN: u8 = 0x02;
const FIN_SYN_RST_ACK: u8 = 0x17;

impl FromStr for TcpFlags {
    type Err = String;

    fn from_str(text: &str) -> Result<TcpFlags, String> {
        let (list, negated) = match text.strip_prefix('!') {
            Some(list) => (list, true),
            None => (text, false),
        };
        let mut set = 0;
        for name in list.split(',').map(str::trim) {
            let flag = FLAGS.iter().find(|(flag, _)| flag.eq_ignore_ascii_case(name));
            set |= flag.ok_or_else(|| format!("`{name}` is not a TCP flag"))?.1;
        }
        let mask = if set & SYN != 0 { set | FIN_SYN_RST_ACK } else { set };
        Ok(TcpFlags { mask, set, negated })
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            FLAGS.iter().filter(|(_, bit)| self.set & bit != 0).map(|(name, _)| *name).collect();
        write!(f, "{}{}", if self.negated { "!" } else { "" }, names.join(","))
    }
}

/// An ICMP or ICMPv6 type, with a code if one was given. A name means the type of that name in either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpType {
    /// One of the names of RFC 792, 950 or 4443.
    Named(&'static str),
    /// A type number; the rule's protocol says of which family.
    Number {
        /// The type field.
        kind: u8,
        /// The code field; any if none.
        code: Option<u8>,
    },
}

/// Name, ICMP type (and code), ICMPv6 type (and code).
type IcmpName = (&'static str, Option<(u8, Option<u8>)>, Option<(u8, Option<u8>)>);

#[rustfmt::skip]
const ICMP_NAMES: [IcmpName; 24] = [
    ("echo-reply", Some((0, None)), Some((129, None))),
    ("echo-request", Some((8, None)), Some((128, None))),
    ("destination-unreachable", Some((3, None)), Some((1, None))),
    ("network-unreachable", Some((3, Some(0))), Some((1, Some(0)))),
    ("host-unreachable", Some((3, Some(1))), Some((1, Some(3)))),
    ("protocol-unreachable", Some((3, Some(2))), Some((4, Some(1)))),
    ("port-unreachable", Some((3, Some(3))), Some((1, Some(4)))),
    ("fragmentation-needed", Some((3, Some(4))), None),
    ("packet-too-big", None, Some((2, None))),
    ("source-quench", Some((4, None)), None),
    ("redirect", Some((5, None)), Some((137, None))),
    ("router-advertisement", Some((9, None)), Some((134, None))),
    ("router-solicitation", Some((10, None)), Some((133, None))),
    ("time-exceeded", Some((11, None)), Some((3, None))),
    ("parameter-problem", Some((12, None)), Some((4, None))),
    ("timestamp-request", Some((13, None)), None),
    ("timestamp-reply", Some((14, None)), None),
    ("info-request", Some((15, None)), None),
    ("info-reply", Some((16, None)), None),
    ("address-mask-request", Some((17, None)), None),
    ("address-mask-reply", Some((18, None)), None),
    ("neighbour-solicitation", None, Some((135, None))),
    ("neighbour-advertisement", None, Some((136, None))),
    ("node-information-query", None, Some((139, None))),
];

impl IcmpType {
    /// The ICMP type, and code if one matters; `None` if this is a type of ICMPv6 alone.
    pub fn icmp(self) -> Option<(u8, Option<u8>)> {
        match self {
            IcmpType::Named(name) => ICMP_NAMES.iter().find(|row| row.0 == name)?.1,
            IcmpType::Number { kind, code } => Some((kind, code)),
        }
    }

    /// The ICMPv6 type, and code if one matters; `None` if this is a type of ICMP alone.
    pub fn icmpv6(self) -> Option<(u8, Option<u8>)> {
        match self {
            IcmpType::Named(name) => ICMP_NAMES.iter().find(|row| row.0 == name)?.2,
            IcmpType::Number { kind, code } => Some((kind, code)),
        }
    }

    /// Every name, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ICMP_NAMES.iter().map(|row| row.0)
    }
}

impl FromStr for IcmpType {
    type Err = String;

    fn from_str(text: &str) -> Result<IcmpType, String> {
        if let Some(name) = IcmpType::names().find(|name| *name == text) {
            return Ok(IcmpType::Named(name));
        }
        let number = |part: &str| part.parse::<u8>().map_err(|_| format!("`{text}` is not an ICMP type"));
        match text.split_once('/') {
            Some((kind, code)) => Ok(IcmpType::Number { kind: number(kind)?, code: Some(number(code)?) }),
            None => Ok(IcmpType::Number { kind: number(text)?, code: None }),
        }
    }
}

impl fmt::Display for IcmpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IcmpType::Named(name) => f.write_str(name),
            IcmpType::Number { kind, code: None } => write!(f, "{kind}"),
            IcmpType::Number { kind, code: Some(code) } => write!(f, "{kind}/{code}"),
        }
    }
}

/// A value of the connection mark under a mask, as `conntrack -m VALUE/MASK` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The bits.
    pub value: u32,
    /// The bits that count.
    pub mask: u32,
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Mark, String> {
        let number = |part: &str| {
            match part.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => part.parse(),
            }
            .map_err(|_| format!("`{text}` is not a mark"))
        };
        match text.split_once('/') {
            Some((value, mask)) => Ok(Mark { value: number(value)?, mask: number(mask)? }),
            None => Ok(Mark { value: number(text)?, mask: u32::MAX }),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mask {
            u32::MAX => write!(f, "{}", self.value),
            mask => write!(f, "{:#x}/{mask:#x}", self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syn_means_the_opening_segment() {
        let syn: TcpFlags = "syn".parse().unwrap();
        assert_eq!((syn.mask, syn.set, syn.negated), (0x17, 0x02, false));
        let not_syn: TcpFlags = "!syn".parse().unwrap();
        assert_eq!((not_syn.mask, not_syn.set, not_syn.negated), (0x17, 0x02, true));
        let syn_ack: TcpFlags = "syn,ack".parse().unwrap();
        assert_eq!((syn_ack.mask, syn_ack.set), (0x17, 0x12));
        let rst: TcpFlags = "rst".parse().unwrap();
        assert_eq!((rst.mask, rst.set), (0x04, 0x04));
    }

    #[test]
    fn each_text_survives_a_round_trip() {
        fn same<T: FromStr<Err: fmt::Debug> + fmt::Display>(texts: &[&str]) {
            for text in texts {
                assert_eq!(text.parse::<T>().unwrap().to_string(), *text);
            }
        }
        same::<Device>(&["pci:0000:3b:00.1", "vdev:net_pcap0,rx_pcap=a.pcap"]);
        same::<InterfaceAddress>(&["10.0.0.1/8", "2001:db8::1/64", "192.0.2.0/31", "192.0.2.7/32"]);
        same::<Prefix>(&["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]);
        same::<Protocol>(&["tcp", "icmpv6", "99"]);
        same::<PortRange>(&["80", "1024-65535"]);
        same::<TcpFlags>(&["syn", "!syn", "syn,ack", "fin,psh,urg"]);
        same::<IcmpType>(&["echo-request", "8", "3/4"]);
        same::<Mark>(&["7", "0x10/0xf0"]);
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
        assert_eq!(why::<TcpFlags>("syn,foo"), "`foo` is not a TCP flag");
        assert_eq!(why::<Device>("eth0"), "`eth0` is not a device");
        assert_eq!(why::<Device>("pci:3b:00.1"), "`3b:00.1` is not a PCI address");
    }

    #[test]
    fn a_lone_address_is_a_whole_prefix_and_host_bits_are_dropped() {
        assert_eq!("198.51.100.7".parse::<Prefix>().unwrap().to_string(), "198.51.100.7/32");
        assert_eq!("10.1.2.3/8".parse::<Prefix>().unwrap().to_string(), "10.0.0.0/8");
    }
}
