//! Scalars of a rule's matches: TCP flags, ICMP types, marks.

use std::fmt;
use std::str::FromStr;

use super::scalar::scalars;

scalars! {
    TcpFlags: "string", "flags such as \"syn\", \"!syn\" or \"syn,ack\", of fin, syn, rst, psh, ack, urg, ece, cwr, or flags/mask such as \"none/fin,syn\"";
    IcmpType: ["string", "integer"], "an ICMP type: a name such as echo-request, a number such as 8, or type/code such as 3/4";
    Mark: ["string", "integer"], "a mark such as 7 or 0x10, or value/mask such as 0x10/0xf0";
}

/// A match on TCP's flags: of the bits in `mask`, exactly those in `set` are set; `negated` turns it round.
///
/// The listed flags must be set. With SYN among them, those of ACK, RST and FIN that are not listed must be
/// clear, so that `"syn"` is the opening segment as with iptables' `--syn`, and `"!syn"` everything else. Behind a `/` stand all flags
/// that are looked at, as in nft: of those, the listed ones must be set, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags {
    /// The bits that are looked at, as in the TCP header's byte 13.
    pub mask: u8,
    /// The bits of `mask` that must be set.
    pub set: u8,
    /// Whether a packet matches when its flags do not.
    pub negated: bool,
}

/// TCP's flags, with their bits in the header's byte 13.
pub(crate) const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];
/// No flag.
const NONE: &str = "none";
const SYN: u8 = 0x02;
const FIN_SYN_RST_ACK: u8 = 0x17;

impl FromStr for TcpFlags {
    type Err = String;

    fn from_str(text: &str) -> Result<TcpFlags, String> {
        let (list, negated) = match text.strip_prefix('!') {
            Some(list) => (list, true),
            None => (text, false),
        };
        let bits = |list: &str| -> Result<u8, String> {
            list.split(',').map(str::trim).try_fold(0, |bits, name| {
                let flag = FLAGS.iter().find(|(flag, _)| flag.eq_ignore_ascii_case(name));
                Ok(bits | flag.ok_or_else(|| format!("`{name}` is not a TCP flag"))?.1)
            })
        };
        let Some((list, mask)) = list.split_once('/') else {
            let set = bits(list)?;
            return Ok(TcpFlags { mask: usual_mask(set), set, negated });
        };
        let set = if list.trim() == NONE { 0 } else { bits(list)? };
        match bits(mask)? {
            mask if set & !mask != 0 => Err(format!("`{text}` has flags set that are not looked at")),
            mask => Ok(TcpFlags { mask, set, negated }),
        }
    }
}

/// What is looked at of flags that are written without a mask.
const fn usual_mask(set: u8) -> u8 {
    if set & SYN != 0 { set | FIN_SYN_RST_ACK } else { set }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |bits: u8| {
            let names: Vec<&str> =
                FLAGS.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name).collect();
            if names.is_empty() { NONE.to_owned() } else { names.join(",") }
        };
        write!(f, "{}{}", if self.negated { "!" } else { "" }, names(self.set))?;
        if self.set == 0 || self.mask != usual_mask(self.set) {
            write!(f, "/{}", names(self.mask))
        } else {
            Ok(())
        }
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

    /// The name of a type and code, in the one family or the other: that of both, if they have one, else that of the type.
    pub fn name_of(is_ipv6: bool, kind: u8, code: u8) -> Option<&'static str> {
        let find = |code: Option<u8>| {
            let is_it = |row: &&IcmpName| if is_ipv6 { row.2 } else { row.1 } == Some((kind, code));
            ICMP_NAMES.iter().find(is_it).map(|row| row.0)
        };
        find(Some(code)).or_else(|| find(None))
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
        let masked: TcpFlags = "syn,ack/syn,ack".parse().unwrap();
        assert_eq!((masked.mask, masked.set), (0x12, 0x12));
        assert!("syn/ack".parse::<TcpFlags>().is_err() && "none".parse::<TcpFlags>().is_err());
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
        same::<TcpFlags>(&[
            "syn",
            "!syn",
            "syn,ack",
            "fin,psh,urg",
            "syn/syn,rst",
            "!none/fin,syn,rst,psh,ack,urg",
        ]);
        same::<IcmpType>(&["echo-request", "8", "3/4"]);
        same::<Mark>(&["7", "0x10/0xf0"]);
    }

    #[test]
    fn a_name_has_its_number_in_each_family() {
        let unreachable: IcmpType = "port-unreachable".parse().unwrap();
        assert_eq!((unreachable.icmp(), unreachable.icmpv6()), (Some((3, Some(3))), Some((1, Some(4)))));
        let solicitation: IcmpType = "neighbour-solicitation".parse().unwrap();
        assert_eq!((solicitation.icmp(), solicitation.icmpv6()), (None, Some((135, None))));
    }
}
