//! What stands behind the addresses of a packet in words: TCP's flags, an ICMP type, and numbers by their names.

use std::collections::BTreeMap;
use std::ops::Range;

use sluice_conntrack::tuple::protocol;

use super::{Packet, Transport, Wrong};
use crate::config::{FLAGS, IcmpType, nearest};

/// The numbers that may be given: name, the largest, and for which protocols.
const NUMBERS: [(&str, u32, Kinds); 10] = [
    ("ttl", 255, ALL),
    ("tos", 255, ALL),
    ("length", 65_000, ALL),
    ("fragment", 65_535, ALL),
    ("seq", u32::MAX, &[Kind::Tcp, Kind::Icmp]),
    ("ack", u32::MAX, &[Kind::Tcp]),
    ("window", 65_535, &[Kind::Tcp]),
    ("mss", 65_535, &[Kind::Tcp]),
    ("id", 65_535, &[Kind::Icmp]),
    ("mtu", 65_535, &[Kind::Icmp]),
];

/// The smallest fragments that a packet can be cut into: IPv6's headers and eight bytes.
const MIN_FRAGMENT: u32 = 56;

type Kinds = &'static [Kind];

const ALL: Kinds = &[Kind::Tcp, Kind::Udp, Kind::Icmp, Kind::Other];

/// What decides which words a packet may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Udp,
    Icmp,
    Other,
}

impl Kind {
    pub(super) const fn of(number: u8) -> Kind {
        match number {
            protocol::TCP => Kind::Tcp,
            protocol::UDP => Kind::Udp,
            protocol::ICMP | protocol::ICMPV6 => Kind::Icmp,
            _ => Kind::Other,
        }
    }

    pub(super) const fn has_ports(self) -> bool {
        matches!(self, Kind::Tcp | Kind::Udp)
    }
}

/// What stands behind the addresses.
#[derive(Default)]
pub(super) struct Given {
    numbers: BTreeMap<&'static str, (u32, Range<usize>)>,
    pub(super) flags: Option<u8>,
    icmp: Option<(IcmpType, Range<usize>)>,
}

impl Given {
    /// Takes a word.
    pub(super) fn take(&mut self, at: Range<usize>, word: &str, kind: Kind) -> Result<(), Wrong> {
        if let Some((name, value)) = word.split_once('=') {
            return self.take_number(at, name, value, kind);
        }
        if kind == Kind::Tcp
            && let Some((_, bit)) = FLAGS.iter().find(|(name, _)| *name == word)
        {
            self.flags = Some(self.flags.unwrap_or_default() | bit);
            return Ok(());
        }
        if kind == Kind::Icmp
            && self.icmp.is_none()
            && let Ok(named) = word.parse()
        {
            self.icmp = Some((named, at));
            return Ok(());
        }
        let names: Vec<&str> = match kind {
            Kind::Tcp => FLAGS.iter().map(|(name, _)| *name).collect(),
            Kind::Icmp => IcmpType::names().collect(),
            Kind::Udp | Kind::Other => Vec::new(),
        };
        let help = nearest(word, &names).map(did_you_mean);
        let help = help.or_else(|| Some(format!("words here: {}", all_words(&names, kind))));
        Err(Wrong { help, ..wrong(at, format!("`{word}` is not known here")) })
    }

    fn take_number(&mut self, at: Range<usize>, name: &str, value: &str, kind: Kind) -> Result<(), Wrong> {
        let known: Vec<_> = NUMBERS.iter().filter(|(_, _, kinds)| kinds.contains(&kind)).collect();
        let names: Vec<&str> = known.iter().map(|(name, ..)| *name).collect();
        let Some((name, most, _)) = known.into_iter().find(|(known, ..)| *known == name) else {
            let help = nearest(name, &names).map(did_you_mean);
            let help = help.or_else(|| Some(format!("numbers here: {}", names.join(", "))));
            return Err(Wrong { help, ..wrong(at, format!("`{name}` is not a number of such a packet")) });
        };
        let value_at = at.end - value.len()..at.end;
        let number = match value.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => value.parse().ok(),
        };
        match number.filter(|number| number <= most) {
            Some(number) => {
                self.numbers.insert(name, (number, at));
                Ok(())
            }
            None => Err(wrong(value_at, format!("`{value}` is not a number from 0 to {most}"))),
        }
    }

    /// The number of that name, if it was given.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).map(|(number, _)| *number)
    }

    /// The largest of the fragments that the packet comes in.
    pub(super) fn fragment(&self) -> Result<Option<u16>, Wrong> {
        match self.numbers.get("fragment") {
            Some((bytes, at)) if *bytes < MIN_FRAGMENT => {
                Err(wrong(at.clone(), format!("a fragment of less than {MIN_FRAGMENT} bytes")))
            }
            fragment => Ok(fragment.map(|(bytes, _)| *bytes as u16)),
        }
    }

    /// The message that it is about, if it is one of ICMP.
    pub(super) fn icmp(&self, is_ipv4: bool, about: Option<Box<Packet>>) -> Result<Transport, Wrong> {
        let request = (IcmpType::Named("echo-request"), 0..0);
        let (named, at) = self.icmp.as_ref().unwrap_or(&request);
        let numbers = if is_ipv4 { named.icmp() } else { named.icmpv6() };
        let Some((kind, code)) = numbers else {
            let family = if is_ipv4 { "ICMP" } else { "ICMPv6" };
            return Err(wrong(at.clone(), format!("{family} has no type `{named}`")));
        };
        let is_error = match is_ipv4 {
            true => matches!(kind, 3 | 4 | 5 | 11 | 12),
            false => kind < 128,
        };
        if is_error && about.is_none() {
            let help = Some("say which: `about udp 203.0.113.1:40000 -> 192.0.2.1:53`".to_owned());
            return Err(Wrong { help, ..wrong(at.clone(), "an ICMP error quotes a packet") });
        }
        let half = |name: &str, default: u32| (self.number(name).unwrap_or(default) as u16).to_be_bytes();
        let (id, seq, mtu) = (half("id", 1), half("seq", 1), half("mtu", 0));
        let rest = match is_error {
            true => [0, 0, mtu[0], mtu[1]],
            false => [id[0], id[1], seq[0], seq[1]],
        };
        Ok(Transport::Icmp { kind, code: code.unwrap_or_default(), rest, about })
    }
}

fn all_words(names: &[&str], kind: Kind) -> String {
    let numbers = NUMBERS.iter().filter(|(_, _, kinds)| kinds.contains(&kind));
    let numbers = numbers.map(|(name, ..)| format!("{name}="));
    names.iter().map(|name| (*name).to_owned()).chain(numbers).collect::<Vec<_>>().join(", ")
}

pub(super) fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

pub(super) fn wrong(at: Range<usize>, message: impl Into<String>) -> Wrong {
    Wrong { at, message: message.into(), help: None }
}
