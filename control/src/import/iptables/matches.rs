//! What rules of iptables look at. Each option of its matches that Sluice has an equal of stands here; of all others it is said that
//! they are not known.

use std::net::IpAddr;

use ipnet::IpNet;

use super::words::Words;
use super::{limits, reverse_path};
use crate::config::{IcmpType, Mark, PortRange, Protocol, Status, TcpFlags};
use crate::import::model::{AddressKind, Field, MAX_PORT, MAX_PROTOCOL, MAX_STATE, MAX_V4, Match};
use crate::import::set::NumberSet;

/// What has been read of a rule before its target.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// What it looks at.
    pub matches: Vec<Match>,
    /// Of each of these, any one: what a rule of Sluice does not have side by side.
    pub either: Vec<Vec<Match>>,
    /// The protocol, where it is one.
    pub protocol: Option<Protocol>,
    /// Its comment.
    pub comment: Option<String>,
}

/// Each at least doubles the rules that a rule becomes.
const MAX_CHOICES: usize = 4;

impl Parsed {
    /// The rule as several, each without alternatives.
    pub(super) fn alternatives(&self) -> Vec<Vec<Match>> {
        if self.either.len() > MAX_CHOICES {
            return vec![vec![Match::Unknown("it has too many alternatives".to_owned())]];
        }
        let mut rules = vec![self.matches.clone()];
        for choices in &self.either {
            let with = |rule: &Vec<Match>| -> Vec<Vec<Match>> {
                choices.iter().map(|choice| [&rule[..], std::slice::from_ref(choice)].concat()).collect()
            };
            rules = rules.iter().flat_map(with).collect();
        }
        rules
    }
}

/// Matches (`-m`) whose options are read here.
const KNOWN: [&str; 22] = [
    "tcp",
    "udp",
    "udplite",
    "sctp",
    "icmp",
    "icmp6",
    "ipv6-icmp",
    "icmpv6",
    "multiport",
    "state",
    "conntrack",
    "comment",
    "iprange",
    "addrtype",
    "connmark",
    "helper",
    "limit",
    "hashlimit",
    "connlimit",
    "rpfilter",
    "standard",
    "dccp",
];

/// Reads up to the target, `-j` or `-g`, or to the end.
pub(super) fn read(words: &mut Words<'_>, is_v4: bool, parsed: &mut Parsed) -> Result<(), String> {
    let mut module = "";
    loop {
        if matches!(words.peek(), None | Some("-j" | "-g" | "--jump" | "--goto")) {
            return Ok(());
        }
        let mut negated = words.take_not();
        let Some(option) = words.next() else { return Err("`!` stands before nothing".to_owned()) };
        if option == "-m" || option == "--match" {
            module = words.value(option)?;
            if !KNOWN.contains(&module) {
                parsed.matches.push(Match::Unknown(format!("the match `{module}` is not known")));
                words.skip_options();
            }
            if module == "rpfilter" {
                parsed.matches.push(reverse_path::read(words));
            }
            continue;
        }
        negated |= words.take_not(); // as old versions write it
        if matches!(module, "limit" | "hashlimit" | "connlimit") && option.starts_with(&format!("--{module}"))
        {
            parsed.matches.extend(limits::read(words, module, option, negated)?);
            continue;
        }
        if option == "-f" || option == "--fragment" {
            // Rules see datagrams whole: no packet is a later fragment.
            let none = Match::Set(Field::Protocol, NumberSet::default());
            parsed.matches.extend((!negated).then_some(none));
            continue;
        }
        match one(words, option, module, is_v4, parsed)? {
            Some(one) => parsed.matches.extend(if negated { not(one, option, is_v4) } else { one }),
            None if negated => parsed.matches.push(unknown(&format!("! {option}"))),
            None => {}
        }
    }
}

/// What an option looks at; `None` if it is nothing, or was said in another way.
fn one(
    words: &mut Words<'_>,
    option: &str,
    module: &str,
    is_v4: bool,
    parsed: &mut Parsed,
) -> Result<Option<Vec<Match>>, String> {
    let mut value = || words.value(option);
    let found = match option {
        "-s" | "--source" | "--src" => address(Field::Source, value()?, is_v4)?,
        "-d" | "--destination" | "--dst" => address(Field::Destination, value()?, is_v4)?,
        "-i" | "--in-interface" => interface(Field::In, value()?),
        "-o" | "--out-interface" => interface(Field::Out, value()?),
        "-p" | "--protocol" | "--proto" => match protocol(value()?) {
            Some(Protocol(0)) => return Ok(None),
            Some(number) => {
                parsed.protocol = Some(number);
                set(Field::Protocol, NumberSet::one(u128::from(number.0)))
            }
            None => vec![unknown(option)],
        },
        "--sport" | "--source-port" | "--sports" | "--source-ports" => {
            ports(Field::SourcePort, value()?, parsed)?
        }
        "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
            ports(Field::DestinationPort, value()?, parsed)?
        }
        "--ports" => {
            let list = value()?;
            let choices = [Field::SourcePort, Field::DestinationPort].map(|field| ports(field, list, parsed));
            let [source, destination] = choices;
            parsed.either.push([source?, destination?].concat());
            return Ok(None);
        }
        "--tcp-flags" => {
            let (mask, flags) = (value()?, value()?);
            vec![tcp_flags(mask, flags)?]
        }
        "--syn" => vec![Match::TcpFlags(TcpFlags { mask: 0x17, set: 0x02, negated: false })],
        "--icmp-type" | "--icmpv6-type" => return icmp(value()?, is_v4).map(Some),
        "--state" | "--ctstate" => return states(value()?, parsed),
        "--ctproto" => match protocol(value()?) {
            Some(number) => set(Field::Protocol, NumberSet::one(u128::from(number.0))),
            None => vec![unknown(option)],
        },
        "--ctstatus" => status(value()?),
        "--ctdir" => match value()? {
            "ORIGINAL" => set(Field::Direction, NumberSet::one(0)),
            "REPLY" => set(Field::Direction, NumberSet::one(1)),
            other => return Err(format!("`{other}` is no direction")),
        },
        "--mark" if module == "connmark" => vec![Match::Mark(mark(value()?)?)],
        "--helper" => vec![Match::Helper(value()?.to_owned())],
        "--src-range" => range(Field::Source, value()?)?,
        "--dst-range" => range(Field::Destination, value()?)?,
        "--src-type" if is_v4 => vec![kinds(Field::Source, value()?)],
        "--dst-type" if is_v4 => vec![kinds(Field::Destination, value()?)],
        "--comment" => {
            parsed.comment = Some(value()?.to_owned());
            return Ok(None);
        }
        _ => {
            words.skip_options();
            vec![unknown(option)]
        }
    };
    Ok(Some(found))
}

fn unknown(option: &str) -> Match {
    Match::Unknown(format!("what `{option}` looks at is not known"))
}

fn set(field: Field, set: NumberSet) -> Vec<Match> {
    vec![Match::Set(field, set)]
}

/// What does not fit a match.
fn not(found: Vec<Match>, option: &str, is_v4: bool) -> Vec<Match> {
    let negate = |one: Match| match one {
        Match::Set(field, set) => Match::Set(field, set.complement(max(field, is_v4))),
        Match::Interface { field, names, negated } => Match::Interface { field, names, negated: !negated },
        Match::Address { field, kinds, negated } => Match::Address { field, kinds, negated: !negated },
        Match::TcpFlags(flags) => Match::TcpFlags(TcpFlags { negated: !flags.negated, ..flags }),
        Match::Limit(_)
        | Match::Connections(_)
        | Match::NoReversePath(_)
        | Match::UnknownLimit(_)
        | Match::Differs(_)
        | Match::Unknown(_)
        | Match::Wider(_) => one,
        Match::Mark(_) | Match::Status(_) | Match::Helper(_) => unknown(&format!("! {option}")),
    };
    match found.len() {
        0 | 1 => found.into_iter().map(negate).collect(),
        // Of several, any may not fit.
        _ => vec![unknown(&format!("! {option}"))],
    }
}

/// The largest number of a field.
fn max(field: Field, is_v4: bool) -> u128 {
    match field {
        Field::Family | Field::Direction => 1,
        Field::Protocol => MAX_PROTOCOL,
        Field::SourcePort | Field::DestinationPort | Field::Icmp => MAX_PORT,
        Field::State => MAX_STATE,
        Field::Source | Field::Destination if is_v4 => MAX_V4,
        Field::In | Field::Out | Field::Source | Field::Destination => u128::MAX,
    }
}

fn interface(field: Field, name: &str) -> Vec<Match> {
    if name == "+" {
        return Vec::new();
    }
    vec![Match::Interface { field, names: vec![name.to_owned()], negated: false }]
}

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`.
fn address(field: Field, text: &str, is_v4: bool) -> Result<Vec<Match>, String> {
    let wrong = || format!("`{text}` is no address");
    let net = match text.split_once('/') {
        None => IpNet::from(text.parse::<IpAddr>().map_err(|_| wrong())?),
        Some((address, mask)) => match (mask.parse::<u8>(), mask.parse::<IpAddr>()) {
            (Ok(_), _) => text.parse().map_err(|_| wrong())?,
            (_, Ok(mask)) => {
                let address = address.parse().map_err(|_| wrong())?;
                match IpNet::with_netmask(address, mask) {
                    Ok(net) => net,
                    Err(_) => return Ok(vec![Match::Unknown("a mask with gaps cannot be said".to_owned())]),
                }
            }
            _ => return Err(wrong()),
        },
    };
    if net.addr().is_ipv4() != is_v4 {
        return Err(format!("`{text}` is of the other family"));
    }
    Ok(set(field, NumberSet::range(number(net.network()), number(net.broadcast()))))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// `10.0.0.1-10.0.0.9`.
fn range(field: Field, text: &str) -> Result<Vec<Match>, String> {
    let wrong = || format!("`{text}` is no range of addresses");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let address = |text: &str| text.parse::<IpAddr>().map(number).map_err(|_| wrong());
    Ok(set(field, NumberSet::range(address(first)?, address(last)?)))
}

/// Names that iptables has from /etc/protocols, beside those that the configuration knows.
const PROTOCOLS: [(&str, u8); 7] =
    [("all", 0), ("igmp", 2), ("ipencap", 4), ("pim", 103), ("l2tp", 115), ("hopopt", 0), ("ipv6-nonxt", 59)];

fn protocol(name: &str) -> Option<Protocol> {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| Protocol(*number));
    known.or_else(|| name.parse().ok())
}

/// `80`, `1024:65535`, `80,443,8000:8080`.
fn ports(field: Field, text: &str, parsed: &Parsed) -> Result<Vec<Match>, String> {
    if !parsed.protocol.is_some_and(Protocol::has_ports) {
        return Ok(vec![Match::Unknown("ports of this protocol cannot be matched".to_owned())]);
    }
    let one = |part: &str| -> Result<(u128, u128), String> {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let first = if first.is_empty() { "0" } else { first };
        let last = if last.is_empty() { "65535" } else { last };
        let range: PortRange = format!("{first}-{last}").parse()?;
        Ok((u128::from(range.first), u128::from(range.last)))
    };
    let ranges = text.split(',').map(one).collect::<Result<Vec<_>, String>>()?;
    Ok(set(field, NumberSet::of_ranges(ranges)))
}

const FLAGS: [(&str, u8); 8] = [
    ("FIN", 0x01),
    ("SYN", 0x02),
    ("RST", 0x04),
    ("PSH", 0x08),
    ("ACK", 0x10),
    ("URG", 0x20),
    ("ALL", 0x3f),
    ("NONE", 0),
];

fn tcp_flags(mask: &str, set: &str) -> Result<Match, String> {
    let bits = |list: &str| {
        let bit = |name: &str| FLAGS.iter().find(|(flag, _)| *flag == name).map(|(_, bit)| *bit);
        let bits = list.split(',').map(|name| bit(name).ok_or_else(|| format!("`{name}` is no TCP flag")));
        bits.sum::<Result<u8, String>>()
    };
    let (mask, set) = (bits(mask)?, bits(set)?);
    if set & !mask != 0 {
        return Ok(Match::Unknown("flags that are not looked at cannot be set".to_owned()));
    }
    Ok(Match::TcpFlags(TcpFlags { mask, set, negated: false }))
}

fn icmp(text: &str, is_v4: bool) -> Result<Vec<Match>, String> {
    if text == "any" {
        return Ok(Vec::new());
    }
    let kind: IcmpType = text.parse()?;
    let kind = if is_v4 { kind.icmp() } else { kind.icmpv6() };
    let (kind, code) = kind.ok_or_else(|| format!("`{text}` is of the other family"))?;
    let codes = code.map_or((0, 0xff), |code| (u128::from(code), u128::from(code)));
    let first = u128::from(kind) << 8;
    Ok(set(Field::Icmp, NumberSet::range(first | codes.0, first | codes.1)))
}

/// States, or what becomes of addresses (`DNAT`); any of both are alternatives.
fn states(text: &str, parsed: &mut Parsed) -> Result<Option<Vec<Match>>, String> {
    const STATES: [&str; 5] = ["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"];
    let mut states = Vec::new();
    let mut status = Vec::new();
    for word in text.split(',') {
        match (STATES.iter().position(|state| *state == word), word) {
            (Some(index), _) => states.push(index as u128),
            (None, "SNAT") => status.push(Status::Snat),
            (None, "DNAT") => status.push(Status::Dnat),
            (None, other) => return Err(format!("`{other}` is no state")),
        }
    }
    let (has_states, has_status) = (!states.is_empty(), !status.is_empty());
    let states = Match::Set(Field::State, states.into_iter().collect());
    Ok(match (has_states, has_status) {
        (_, false) => Some(vec![states]),
        (false, true) => Some(vec![Match::Status(status)]),
        (true, true) => {
            parsed.either.push(vec![states, Match::Status(status)]);
            None
        }
    })
}

fn status(text: &str) -> Vec<Match> {
    let one = |word: &str| match word {
        "SEEN_REPLY" => Some(Status::SeenReply),
        "ASSURED" => Some(Status::Assured),
        "CONFIRMED" => Some(Status::Confirmed),
        _ => None,
    };
    match text.split(',').map(one).collect::<Option<Vec<Status>>>() {
        Some(status) => vec![Match::Status(status)],
        None => vec![unknown("--ctstatus")],
    }
}

/// `0x10/0xf0`, `7`.
pub(super) fn mark(text: &str) -> Result<Mark, String> {
    text.to_ascii_lowercase().parse()
}

fn kinds(field: Field, text: &str) -> Match {
    let one = |word: &str| match word {
        "LOCAL" => Some(AddressKind::Local),
        "BROADCAST" => Some(AddressKind::Broadcast),
        "MULTICAST" => Some(AddressKind::Multicast),
        _ => None,
    };
    match text.split(',').map(one).collect::<Option<Vec<AddressKind>>>() {
        Some(kinds) => Match::Address { field, kinds, negated: false },
        None => Match::Unknown(format!("addresses of the kind {text} cannot be told")),
    }
}
