//! Which entries a command is about: conntrack(8)'s filters, on the command line and on the socket alike.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use serde::{Deserialize, Serialize};
use sluice_conntrack::entry::Status;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::tuple::protocol::{GRE, is_icmp};

use super::filter_values::{EntryStatus, Family, NatPeer, Network, gre_key, state_name};
use crate::config::{Mark, Protocol};

/// conntrack(8)'s filters: an entry is shown if it fits all that are given.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Filter {
    /// Layer 4 protocol, by name or number: tcp, udp, icmp, 47
    #[arg(short = 'p', long, value_name = "PROTO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<Protocol>,

    /// Source address or network of the original direction: who opened the connection
    #[arg(short = 's', long, visible_alias = "orig-src", value_name = "IP[/LENGTH]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<Network>,

    /// Destination address or network of the original direction
    #[arg(short = 'd', long, visible_alias = "orig-dst", value_name = "IP[/LENGTH]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<Network>,

    /// Bits of the source address that count, instead of the length of its network.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_src: Option<IpAddr>,

    /// Bits of the destination address that count.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_dst: Option<IpAddr>,

    /// Source address or network of the reply direction: who answers, behind destination NAT
    #[arg(short = 'r', long, value_name = "IP[/LENGTH]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_src: Option<Network>,

    /// Destination address or network of the reply direction: whom is answered, before source NAT
    #[arg(short = 'q', long, value_name = "IP[/LENGTH]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_dst: Option<Network>,

    /// Source port of the original direction (protocols with ports)
    #[arg(long, visible_alias = "orig-port-src", value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,

    /// Destination port of the original direction
    #[arg(long, visible_alias = "orig-port-dst", value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,

    /// Source port of the reply direction
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_port_src: Option<u16>,

    /// Destination port of the reply direction
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_port_dst: Option<u16>,

    /// Type of an ICMP or ICMPv6 query: 8 for an echo request of IPv4
    #[arg(long, visible_alias = "icmpv6-type", value_name = "TYPE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,

    /// Code of an ICMP or ICMPv6 query
    #[arg(long, visible_alias = "icmpv6-code", value_name = "CODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,

    /// Identifier of an ICMP or ICMPv6 query
    #[arg(long, visible_alias = "icmpv6-id", value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<u16>,

    /// Source call id of GRE in the original direction, such as 7 or 0x10
    #[arg(long, visible_alias = "orig-key-src", value_name = "KEY", value_parser = gre_key)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub srckey: Option<u16>,

    /// Destination call id of GRE in the original direction
    #[arg(long, visible_alias = "orig-key-dst", value_name = "KEY", value_parser = gre_key)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dstkey: Option<u16>,

    /// Source call id of GRE in the reply direction
    #[arg(long, value_name = "KEY", value_parser = gre_key)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_key_src: Option<u16>,

    /// Destination call id of GRE in the reply direction
    #[arg(long, value_name = "KEY", value_parser = gre_key)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_key_dst: Option<u16>,

    /// Connections with source NAT; with an address and perhaps a port: to that one
    #[arg(short = 'n', long, value_name = "IP[:PORT]", num_args = 0..=1, default_missing_value = "any")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_nat: Option<NatPeer>,

    /// Connections with destination NAT; with an address and perhaps a port: to that one
    #[arg(short = 'g', long, value_name = "IP[:PORT]", num_args = 0..=1, default_missing_value = "any")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_nat: Option<NatPeer>,

    /// Connections with source or destination NAT; with an address and perhaps a port: to that one
    #[arg(short = 'j', long, value_name = "IP[:PORT]", num_args = 0..=1, default_missing_value = "any")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any_nat: Option<NatPeer>,

    /// Translated connections that the outside knows by this address and port.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<SocketAddr>,

    /// State of TCP or SCTP, as listings show it: ESTABLISHED, TIME_WAIT
    #[arg(long, value_name = "STATE", value_parser = state_name)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// Mark of the connection, such as 7 or 0x10; with /MASK only these bits count
    #[arg(short = 'm', long, value_name = "MARK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,

    /// Conntrack zone, that of both directions
    #[arg(short = 'w', long, visible_aliases = ["orig-zone", "reply-zone"], value_name = "ZONE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<u16>,

    /// Address family
    #[arg(short = 'f', long, value_name = "FAMILY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,

    /// Status bits; several, separated by commas, must all hold
    #[arg(short = 'u', long, value_name = "STATUS", value_delimiter = ',', ignore_case = true)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<EntryStatus>,

    /// Connections of a peer, which the box stands by for (`ha`)
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub standby: bool,
}

impl Filter {
    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether it filters by nothing that expectations lack.
    pub fn fits_expectations(&self) -> bool {
        let Filter { proto, family, zone, src, dst, sport, dport, .. } = *self;
        *self == Filter { proto, family, zone, src, dst, sport, dport, ..Filter::default() }
    }

    /// Whether an entry fits.
    pub fn matches(&self, entry: &EntrySnapshot) -> bool {
        let (original, reply) = (&entry.original, &entry.reply);
        let within = |network: &Network, address: IpAddr| network.0.contains(&address);
        let has_ports = Protocol(original.protocol()).has_ports();
        let (is_icmp, is_gre) = (is_icmp(original.protocol()), original.protocol() == GRE);
        let [icmp_type, icmp_code] = original.selector.dport().to_be_bytes();
        self.proto.is_none_or(|protocol| protocol.0 == original.protocol())
            && self.src.is_none_or(|network| network.has(original.source(), self.mask_src))
            && self.dst.is_none_or(|network| network.has(original.destination(), self.mask_dst))
            && self.reply_src.is_none_or(|network| within(&network, reply.source()))
            && self.reply_dst.is_none_or(|network| within(&network, reply.destination()))
            && self.sport.is_none_or(|port| has_ports && original.selector.sport() == port)
            && self.dport.is_none_or(|port| has_ports && original.selector.dport() == port)
            && self.reply_port_src.is_none_or(|port| has_ports && reply.selector.sport() == port)
            && self.reply_port_dst.is_none_or(|port| has_ports && reply.selector.dport() == port)
            && self.icmp_type.is_none_or(|number| is_icmp && icmp_type == number)
            && self.icmp_code.is_none_or(|number| is_icmp && icmp_code == number)
            && self.icmp_id.is_none_or(|id| is_icmp && original.selector.sport() == id)
            && self.srckey.is_none_or(|key| is_gre && original.selector.sport() == key)
            && self.dstkey.is_none_or(|key| is_gre && original.selector.dport() == key)
            && self.reply_key_src.is_none_or(|key| is_gre && reply.selector.sport() == key)
            && self.reply_key_dst.is_none_or(|key| is_gre && reply.selector.dport() == key)
            && self.src_nat.is_none_or(|peer| has_source(entry, peer))
            && self.dst_nat.is_none_or(|peer| has_destination(entry, peer))
            && self.any_nat.is_none_or(|peer| has_source(entry, peer) || has_destination(entry, peer))
            && self.public.is_none_or(|public| is_known_as(entry, public))
            && self
                .state
                .as_ref()
                .is_none_or(|name| entry.state.is_some_and(|s| s.eq_ignore_ascii_case(name)))
            && self.mark.is_none_or(|Mark { value, mask }| entry.mark & mask == value & mask)
            && self.zone.is_none_or(|zone| entry.zone() == zone)
            && self.family.is_none_or(|family| family.is(original.family()))
            && (!self.standby || entry.is_standby)
            && self.status.iter().all(|status| status.holds(entry.status))
    }
}

/// Whether the source was translated, and to this.
fn has_source(entry: &EntrySnapshot, peer: NatPeer) -> bool {
    let reply = &entry.reply;
    entry.status.contains(Status::SRC_NAT) && peer.is(reply.destination(), reply.reply_port())
}

/// Whether the destination was translated, and to this.
fn has_destination(entry: &EntrySnapshot, peer: NatPeer) -> bool {
    let reply = &entry.reply;
    entry.status.contains(Status::DST_NAT) && peer.is(reply.source(), reply.selector.sport())
}

/// Whether this stands for the client towards its server, or for the server towards its client.
fn is_known_as(entry: &EntrySnapshot, public: SocketAddr) -> bool {
    let original = &entry.original;
    let of_server = SocketAddr::new(original.destination(), original.reply_port());
    has_source(entry, NatPeer::Port(public)) || entry.status.contains(Status::DST_NAT) && of_server == public
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::Tuple;

    fn entry(source: &str, destination: &str, protocol: u8) -> EntrySnapshot {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let original = Tuple::new(source, destination, protocol, 40_000, 80);
        let mut status = Status::default();
        status.insert(Status::SEEN_REPLY);
        EntrySnapshot {
            original,
            reply: original.invert(),
            state: (protocol == 6).then_some("ESTABLISHED"),
            remaining_s: 100,
            status,
            traffic: None,
            gre_timeouts: None,
            tags: None,
            mark: 0x12,
            age_s: 0,
            shows_age: false,
            helper: None,
            seqadj: None,
            master: None,
            uses: 1,
            is_standby: false,
        }
    }

    /// Whether the entry fits a filter written in JSON.
    fn fits(entry: &EntrySnapshot, filter: &str) -> bool {
        let filter: Filter = serde_json::from_str(filter).unwrap();
        filter.matches(entry)
    }

    #[test]
    fn each_part_tells_entries_apart() {
        let tcp = entry("10.0.0.5", "192.0.2.1", 6);
        let udp = entry("2001:db8::5", "2001:db8:1::1", 17);
        for filter in [
            r#"{"proto":"tcp"}"#,
            r#"{"src":"10.0.0.0/8"}"#,
            r#"{"src":"10.1.2.3/8"}"#,
            r#"{"dst":"192.0.2.1"}"#,
            r#"{"reply-src":"192.0.2.0/24"}"#,
            r#"{"reply-dst":"10.0.0.5"}"#,
            r#"{"state":"established"}"#,
            r#"{"family":"ipv4"}"#,
        ] {
            assert!(fits(&tcp, filter) && !fits(&udp, filter), "{filter}");
        }
    }

    #[test]
    fn all_parts_must_fit() {
        let tcp = entry("10.0.0.5", "192.0.2.1", 6);
        assert!(fits(&tcp, "{}"));
        assert!(fits(
            &tcp,
            r#"{"sport":40000,"dport":80,"mark":"0x2/0xf","zone":0,"status":["SEEN_REPLY"]}"#
        ));
        for filter in [
            r#"{"sport":40000,"dport":81}"#,
            r#"{"sport":40001}"#,
            r#"{"mark":2}"#,
            r#"{"zone":1}"#,
            r#"{"status":["SEEN_REPLY","ASSURED"]}"#,
            r#"{"status":["UNREPLIED"]}"#,
            r#"{"status":["UNSET"]}"#,
            r#"{"status":["EXPECTED"]}"#,
        ] {
            assert!(!fits(&tcp, filter), "{filter}");
        }
    }

    /// A connection from 10.0.0.5:40000 to 192.0.2.1:80, translated to come from 203.0.113.1:5000 and go to 10.9.0.9:8080.
    fn translated(status: &[Status]) -> EntrySnapshot {
        let (server, client) = ("10.9.0.9".parse().unwrap(), "203.0.113.1".parse().unwrap());
        let mut entry = entry("10.0.0.5", "192.0.2.1", 6);
        entry.reply = Tuple::new(server, client, 6, 8080, 5000);
        status.iter().for_each(|bit| entry.status.insert(*bit));
        entry
    }

    #[test]
    fn translations_are_found_by_what_they_lead_to() {
        let (plain, source) = (entry("10.0.0.5", "192.0.2.1", 6), translated(&[Status::SRC_NAT]));
        let (destination, both) =
            (translated(&[Status::DST_NAT]), translated(&[Status::SRC_NAT, Status::DST_NAT]));
        let fitting = |filter: &str| [&plain, &source, &destination, &both].map(|entry| fits(entry, filter));
        for (filter, expected) in [
            (r#"{"src-nat":"any"}"#, [false, true, false, true]),
            (r#"{"src-nat":"203.0.113.1"}"#, [false, true, false, true]),
            (r#"{"src-nat":"203.0.113.1:5000"}"#, [false, true, false, true]),
            (r#"{"src-nat":"203.0.113.1:5001"}"#, [false; 4]),
            (r#"{"dst-nat":"any"}"#, [false, false, true, true]),
            (r#"{"dst-nat":"10.9.0.9:8080"}"#, [false, false, true, true]),
            (r#"{"dst-nat":"192.0.2.1"}"#, [false; 4]),
            (r#"{"any-nat":"any"}"#, [false, true, true, true]),
            (r#"{"any-nat":"10.9.0.9"}"#, [false, false, true, true]),
            (r#"{"public":"203.0.113.1:5000"}"#, [false, true, false, true]),
            (r#"{"public":"192.0.2.1:80"}"#, [false, false, true, true]),
            (r#"{"public":"10.9.0.9:8080"}"#, [false; 4]),
        ] {
            assert_eq!(fitting(filter), expected, "{filter}");
        }
    }

    #[test]
    fn ports_of_replies_are_those_after_translation() {
        let entry = translated(&[Status::SRC_NAT, Status::DST_NAT]);
        assert!(fits(&entry, r#"{"sport":40000,"dport":80,"reply-port-src":8080,"reply-port-dst":5000}"#));
        assert!(!fits(&entry, r#"{"reply-port-src":80}"#) && !fits(&entry, r#"{"reply-port-dst":40000}"#));
    }

    #[test]
    fn states_are_those_that_listings_show() {
        assert_eq!(state_name("time_wait").unwrap(), "TIME_WAIT");
        assert_eq!(state_name("LISTEN").unwrap(), "SYN_SENT2");
        assert_eq!(state_name("COOKIE_WAIT").unwrap(), "COOKIE_WAIT");
        assert!(state_name("ESTABLISH").unwrap_err().contains("ESTABLISHED"));
    }

    #[test]
    fn an_identifier_counts_as_a_port_of_the_outside() {
        let mut query = entry("10.0.0.5", "192.0.2.1", 1);
        query.reply = Tuple::new("192.0.2.1".parse().unwrap(), "203.0.113.1".parse().unwrap(), 1, 77, 0);
        query.status.insert(Status::SRC_NAT);
        assert!(fits(&query, r#"{"public":"203.0.113.1:77"}"#));
    }

    #[test]
    fn ends_are_written_as_they_are_read() {
        for text in ["any", "203.0.113.1", "203.0.113.1:80", "2001:db8::1", "[2001:db8::1]:80"] {
            assert_eq!(text.parse::<NatPeer>().unwrap().to_string(), text);
        }
        assert!("2001:db8::1]:80".parse::<NatPeer>().is_err() && "all".parse::<NatPeer>().is_err());
    }

    #[test]
    fn queries_have_a_type_and_an_identifier_and_tunnels_keys() {
        let query = |kind: u16| {
            let ends = ["10.0.0.5", "192.0.2.1"].map(|end| end.parse().unwrap());
            let original = Tuple::new(ends[0], ends[1], 1, 77, kind << 8);
            EntrySnapshot { original, reply: original.invert(), ..entry("10.0.0.5", "192.0.2.1", 1) }
        };
        assert!(fits(&query(8), r#"{"icmp-type":8,"icmp-code":0,"icmp-id":77}"#));
        assert!(!fits(&query(13), r#"{"icmp-type":8}"#) && !fits(&query(8), r#"{"icmp-id":78}"#));
        let (udp, tunnel) = (entry("10.0.0.5", "192.0.2.1", 17), entry("10.0.0.5", "192.0.2.1", 47));
        assert!(!fits(&udp, r#"{"icmp-code":80}"#) && !fits(&udp, r#"{"srckey":40000}"#));
        assert!(fits(&tunnel, r#"{"srckey":40000,"dstkey":80,"reply-key-src":80,"reply-key-dst":40000}"#));
    }

    #[test]
    fn a_mask_says_which_bits_of_an_address_count() {
        let tcp = entry("10.9.0.5", "192.0.2.1", 6);
        assert!(fits(&tcp, r#"{"src":"10.0.0.5","mask-src":"255.0.0.255"}"#));
        assert!(fits(&tcp, r#"{"dst":"192.7.7.7","mask-dst":"255.0.0.0"}"#));
        assert!(!fits(&tcp, r#"{"src":"10.0.0.6","mask-src":"255.0.0.255"}"#));
        assert!(!fits(&tcp, r#"{"src":"2001:db8::5","mask-src":"::"}"#), "of another family");
        assert!(!fits(&tcp, r#"{"src":"10.0.0.5","mask-src":"::"}"#), "of another family");
    }

    #[test]
    fn the_number_of_a_query_is_no_port() {
        assert!(!fits(&entry("10.0.0.5", "192.0.2.1", 1), r#"{"sport":40000}"#));
    }
}
