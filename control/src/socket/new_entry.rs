//! An entry that an operator names by its tuple, makes or changes: what conntrack(8)'s options say of it.

use serde::{Deserialize, Serialize};
use sluice_conntrack::counters::{ProtocolLabel, STATES};
use sluice_conntrack::entry::Status;
use sluice_conntrack::tuple::protocol::{GRE, SCTP, TCP, is_icmp};
use sluice_conntrack::{NewEntry, Tuple};

use super::Filter;
use super::filter_values::{EntryStatus, NatPeer, Network};
use crate::config::{Mark, Protocol, Seconds};

/// An option that a command cannot do without, where it was left out: in the words of conntrack(8).
pub fn required<T>(name: &str, given: Option<T>) -> Result<T, String> {
    given.ok_or_else(|| format!("you need to supply the `--{name}` option for this command"))
}

/// The tuple of either direction that it names as a whole.
///
/// # Errors
/// What is missing, or cannot be, in words for the user.
pub fn tuple(filter: &Filter) -> Result<Tuple, String> {
    if filter.src.is_some() || filter.dst.is_some() || filter.reply_src.is_none() {
        return original(filter);
    }
    let number = required("proto", filter.proto)?;
    if is_icmp(number.0) {
        return Err("a query is named by its original direction: -s, -d, --icmp-type".to_owned());
    }
    let ends = [("reply-src", filter.reply_src), ("reply-dst", filter.reply_dst)];
    let ports = [("reply-port-src", filter.reply_port_src), ("reply-port-dst", filter.reply_port_dst)];
    let keys = keys(filter, number, ports, [filter.reply_key_src, filter.reply_key_dst])?;
    between(filter, number, ends, keys)
}

/// The original tuple that it names as a whole.
fn original(filter: &Filter) -> Result<Tuple, String> {
    let number = required("proto", filter.proto)?;
    let ends = [("src", filter.src), ("dst", filter.dst)];
    let ports = [("sport", filter.sport), ("dport", filter.dport)];
    let keys = keys(filter, number, ports, [filter.srckey, filter.dstkey])?;
    between(filter, number, ends, keys)
}

/// What a tuple of a protocol has instead of ports.
fn keys(
    filter: &Filter,
    number: Protocol,
    ports: [(&str, Option<u16>); 2],
    keys: [Option<u16>; 2],
) -> Result<[u16; 2], String> {
    let [source, destination] = ports.map(|(name, port)| required(name, port));
    match number.0 {
        _ if number.has_ports() => Ok([source?, destination?]),
        of if is_icmp(of) => {
            let kind = required("icmp-type", filter.icmp_type)?;
            let code = filter.icmp_code.unwrap_or_default();
            Ok([filter.icmp_id.unwrap_or_default(), u16::from_be_bytes([kind, code])])
        }
        GRE => Ok(keys.map(Option::unwrap_or_default)),
        _ => Ok([0; 2]),
    }
}

fn between(
    filter: &Filter,
    number: Protocol,
    ends: [(&str, Option<Network>); 2],
    [sport, dport]: [u16; 2],
) -> Result<Tuple, String> {
    let [source, destination] = ends.map(|(name, end)| required(name, end)?.host(name));
    let (source, destination) = (source?, destination?);
    if source.is_ipv4() != destination.is_ipv4() {
        return Err("all addresses are to be of one family, IPv4 or IPv6".to_owned());
    }
    let tuple = Tuple::new(source, destination, number.0, sport, dport);
    Ok(Tuple { selector: tuple.selector.with_zone(filter.zone.unwrap_or_default()), ..tuple })
}

/// The reply tuple: the inverse of the original one, but for what is said of it.
fn reply(filter: &Filter, original: &Tuple) -> Result<Tuple, String> {
    let plain = original.invert();
    let is_query = is_icmp(original.protocol());
    let (mut source, mut destination) = (plain.source(), plain.destination());
    let (mut sport, mut dport) = (plain.selector.sport(), plain.selector.dport());
    for (nat, end, port) in [
        (filter.dst_nat, &mut source, if is_query { None } else { Some(&mut sport) }),
        (filter.src_nat, &mut destination, if is_query { None } else { Some(&mut dport) }),
    ] {
        match (nat, port) {
            (None, _) => {}
            (Some(NatPeer::Any), _) => return Err("a translation needs an address here".to_owned()),
            (Some(NatPeer::Address(to)), _) => *end = to,
            (Some(NatPeer::Port(to)), Some(port)) => (*end, *port) = (to.ip(), to.port()),
            (Some(NatPeer::Port(_)), None) => return Err("a query has no ports".to_owned()),
        }
    }
    for (name, given, end) in
        [("reply-src", filter.reply_src, &mut source), ("reply-dst", filter.reply_dst, &mut destination)]
    {
        if let Some(network) = given {
            *end = network.host(name)?;
        }
    }
    sport = filter.reply_port_src.or(filter.reply_key_src).unwrap_or(sport);
    dport = filter.reply_port_dst.or(filter.reply_key_dst).unwrap_or(dport);
    let families = [source, destination].map(|end| end.is_ipv4());
    if families != [original.source().is_ipv4(); 2] {
        return Err("all addresses are to be of one family, IPv4 or IPv6".to_owned());
    }
    let reply = Tuple::new(source, destination, original.protocol(), sport, dport);
    Ok(Tuple { selector: reply.selector.with_zone(original.selector.zone()), ..reply })
}

/// What of entries is changed; what is left out stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Update {
    /// Connection mark: the bits of the mask are cleared, then those of the value flipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// Seconds that an entry lives from now on, unless a packet comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
}

/// A connection that an operator makes, by the options that filter in other commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewConnection {
    /// Its protocol, tuples, state, mark, zone and status.
    pub entry: Box<Filter>,
    /// How long it lives unless a packet comes, in seconds.
    pub timeout: Seconds,
    /// Verification tags of SCTP, of the original and the reply direction.
    #[serde(default)]
    pub vtags: [u32; 2],
}

impl NewConnection {
    /// What a worker makes of it.
    ///
    /// # Errors
    /// What is missing, or cannot be, in words for the user.
    pub fn lower(&self) -> Result<NewEntry, String> {
        let Self { entry, timeout, vtags } = self;
        let original = self::original(entry)?;
        let reply = self::reply(entry, &original)?;
        if timeout.0 == 0 {
            return Err("an entry with a timeout of 0 expires at once".to_owned());
        }
        let mark = entry.mark.map_or(0, |Mark { value, .. }| value);
        let state = state(original.protocol(), entry.state.as_deref())?;
        if original.protocol() == SCTP && vtags.contains(&0) {
            return Err("an association needs its tags, `--orig-vtag` and `--reply-vtag`".to_owned());
        }
        let mut status = Status::default();
        for given in &entry.status {
            match given {
                EntryStatus::Assured => status.insert(Status::ASSURED),
                EntryStatus::SeenReply => status.insert(Status::SEEN_REPLY),
                EntryStatus::Unreplied | EntryStatus::Unset => {}
                EntryStatus::Expected => return Err("what is expected is made by `-I expect`".to_owned()),
            }
        }
        let timeout_ms = timeout.0.saturating_mul(1000);
        Ok(NewEntry { original, reply, state, status, timeout_ms, mark, tags: *vtags })
    }
}

/// The number of a state that a protocol has, which may not be left out where there are any.
fn state(protocol: u8, name: Option<&str>) -> Result<u8, String> {
    let label = ProtocolLabel::of(protocol);
    match (protocol, name) {
        (TCP | SCTP, name) => {
            let name = required("state", name)?;
            let number = (1..STATES).find(|number| label.state(*number) == Some(name));
            let number = number.ok_or_else(|| format!("no connection of {} is {name}", label.label()))?;
            Ok(number as u8)
        }
        (_, None) => Ok(0),
        (_, Some(_)) => Err(format!("connections of {} have no states", label.label())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(entry: &str) -> Result<NewEntry, String> {
        let json = format!(r#"{{"entry":{entry},"timeout":"5m","vtags":[1,2]}}"#);
        serde_json::from_str::<NewConnection>(&json).unwrap().lower()
    }

    #[test]
    fn what_is_not_said_of_the_reply_follows_from_the_original_direction() {
        let udp = |more: &str| {
            let ends = r#""proto":"udp","src":"10.0.0.5","dst":"192.0.2.1","sport":4000,"dport":53"#;
            lowered(&format!("{{{ends}{more}}}")).unwrap()
        };
        let original = Tuple::new([10, 0, 0, 5].into(), [192, 0, 2, 1].into(), 17, 4000, 53);
        assert_eq!(
            (udp("").original, udp("").reply, udp("").timeout_ms),
            (original, original.invert(), 300_000)
        );
        let reply = |source: [u8; 4], destination: [u8; 4], sport, dport| {
            Tuple::new(source.into(), destination.into(), 17, sport, dport)
        };
        for (more, expected) in [
            (r#","src-nat":"203.0.113.1""#, reply([192, 0, 2, 1], [203, 0, 113, 1], 53, 4000)),
            (r#","src-nat":"203.0.113.1:5000""#, reply([192, 0, 2, 1], [203, 0, 113, 1], 53, 5000)),
            (r#","dst-nat":"10.9.0.9:5300""#, reply([10, 9, 0, 9], [10, 0, 0, 5], 5300, 4000)),
            (r#","reply-src":"10.9.0.9","reply-port-dst":7"#, reply([10, 9, 0, 9], [10, 0, 0, 5], 53, 7)),
        ] {
            assert_eq!(udp(more).reply, expected, "{more}");
        }
        let zoned = udp(r#","zone":7,"mark":"0x10","status":["ASSURED","SEEN_REPLY"]"#);
        assert_eq!([zoned.original, zoned.reply].map(|tuple| tuple.selector.zone()), [7, 7]);
        assert_eq!((zoned.mark, zoned.status), (16, Status::ASSURED.union(Status::SEEN_REPLY)));
    }

    #[test]
    fn each_protocol_has_what_it_needs() {
        let entry = |rest: &str| lowered(&format!(r#"{{"src":"10.0.0.5","dst":"192.0.2.1",{rest}}}"#));
        let tcp = entry(r#""proto":"tcp","sport":1,"dport":2,"state":"ESTABLISHED""#).unwrap();
        assert_eq!(tcp.state, 3);
        let sctp = entry(r#""proto":"sctp","sport":1,"dport":2,"state":"ESTABLISHED""#).unwrap();
        assert_eq!((sctp.state, sctp.tags), (4, [1, 2]));
        let echo = entry(r#""proto":"icmp","icmp-type":8,"icmp-id":77"#).unwrap();
        assert_eq!((echo.original.selector.sport(), echo.original.selector.dport()), (77, 8 << 8));
        assert_eq!(echo.reply, echo.original.invert());
        assert!(entry(r#""proto":"gre","dstkey":7"#).is_ok() && entry(r#""proto":"esp""#).is_ok());
        for (rest, said) in [
            (r#""proto":"tcp","sport":1,"dport":2"#, "--state"),
            (r#""proto":"tcp","sport":1,"dport":2,"state":"COOKIE_WAIT""#, "no connection of tcp"),
            (r#""proto":"tcp","sport":1,"dport":2,"state":"NONE""#, "no connection of tcp"),
            (r#""proto":"udp","sport":1,"dport":2,"state":"ESTABLISHED""#, "no states"),
            (r#""proto":"udp","sport":1"#, "--dport"),
            (r#""proto":"icmp""#, "--icmp-type"),
            (r#""proto":"udp","sport":1,"dport":2,"reply-src":"::1""#, "one family"),
            (r#""proto":"udp","sport":1,"dport":2,"reply-src":"10.0.0.0/8""#, "one address"),
            (r#""proto":"udp","sport":1,"dport":2,"src-nat":"any""#, "needs an address"),
            (r#""sport":1,"dport":2"#, "--proto"),
        ] {
            assert!(entry(rest).unwrap_err().contains(said), "{rest}");
        }
    }

    #[test]
    fn an_entry_is_named_by_either_tuple() {
        let tuple = |json: &str| super::tuple(&serde_json::from_str::<Filter>(json).unwrap());
        let original =
            tuple(r#"{"proto":"udp","src":"10.0.0.5","dst":"192.0.2.1","sport":4000,"dport":53}"#).unwrap();
        let reply = r#"{"proto":"udp","reply-src":"192.0.2.1","reply-dst":"10.0.0.5",
            "reply-port-src":53,"reply-port-dst":4000}"#;
        assert_eq!(tuple(reply).unwrap(), original.invert());
        assert!(tuple(r#"{"src":"10.0.0.5"}"#).unwrap_err().contains("--proto"));
        assert!(tuple(r#"{"proto":"udp","src":"10.0.0.5"}"#).unwrap_err().contains("--sport"));
    }
}
