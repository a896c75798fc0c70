//! What is told of connections as messages of IPFIX (RFC 7011): flows in both directions (RFC 5103) with the addresses and ports
//! behind translation, and events of NAT (RFC 8158).
//!
//! Encoded here, by some tables: the crate that knows IPFIX (netgauze-flow-pkt 0.13) brings 270 crates into the build, an HTTP client
//! with TLS in C among them, for a generator of types for all of IANA's elements, of which these templates have 30.

use sluice_conntrack::events::End;
use sluice_conntrack::tuple::Family;

use super::record::{Micros, Record, Translation, What};

/// Bytes of a message, at most: it fits a packet of any link.
const MAX_MESSAGE: usize = 1400;

const VERSION: u16 = 10;
const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
const TEMPLATE_SET: u16 = 2;
const OPTIONS_TEMPLATE_SET: u16 = 3;

/// The enterprise number of the elements of the other direction (RFC 5103).
const REVERSE: u32 = 29_305;

/// IANA's elements, by their numbers.
mod element {
    pub const OCTET_DELTA_COUNT: u16 = 1;
    pub const PACKET_DELTA_COUNT: u16 = 2;
    pub const PROTOCOL_IDENTIFIER: u16 = 4;
    pub const SOURCE_TRANSPORT_PORT: u16 = 7;
    pub const SOURCE_IPV4_ADDRESS: u16 = 8;
    pub const DESTINATION_TRANSPORT_PORT: u16 = 11;
    pub const DESTINATION_IPV4_ADDRESS: u16 = 12;
    pub const SOURCE_IPV6_ADDRESS: u16 = 27;
    pub const DESTINATION_IPV6_ADDRESS: u16 = 28;
    pub const FLOW_END_REASON: u16 = 136;
    pub const EXPORTING_PROCESS_ID: u16 = 144;
    pub const FLOW_START_MILLISECONDS: u16 = 152;
    pub const FLOW_END_MILLISECONDS: u16 = 153;
    pub const NOT_SENT_FLOW_TOTAL_COUNT: u16 = 167;
    pub const POST_NAT_SOURCE_IPV4_ADDRESS: u16 = 225;
    pub const POST_NAT_DESTINATION_IPV4_ADDRESS: u16 = 226;
    pub const POST_NAPT_SOURCE_TRANSPORT_PORT: u16 = 227;
    pub const POST_NAPT_DESTINATION_TRANSPORT_PORT: u16 = 228;
    pub const NAT_EVENT: u16 = 230;
    pub const INGRESS_VRFID: u16 = 234;
    pub const POST_NAT_SOURCE_IPV6_ADDRESS: u16 = 281;
    pub const POST_NAT_DESTINATION_IPV6_ADDRESS: u16 = 282;
    pub const OBSERVATION_TIME_MILLISECONDS: u16 = 323;
}
use element::*;

/// An element of a template, and its bytes.
#[derive(Clone, Copy)]
enum Field {
    Forward(u16, u16),
    Reverse(u16, u16),
}
use Field::{Forward, Reverse};

/// What both kinds of records say of the ends of a connection.
const fn ends(family: Family) -> [Field; 10] {
    let [source, destination, post_source, post_destination, length] = match family {
        Family::V4 => [
            SOURCE_IPV4_ADDRESS,
            DESTINATION_IPV4_ADDRESS,
            POST_NAT_SOURCE_IPV4_ADDRESS,
            POST_NAT_DESTINATION_IPV4_ADDRESS,
            4,
        ],
        Family::V6 => [
            SOURCE_IPV6_ADDRESS,
            DESTINATION_IPV6_ADDRESS,
            POST_NAT_SOURCE_IPV6_ADDRESS,
            POST_NAT_DESTINATION_IPV6_ADDRESS,
            16,
        ],
    };
    [
        Forward(source, length),
        Forward(destination, length),
        Forward(post_source, length),
        Forward(post_destination, length),
        Forward(SOURCE_TRANSPORT_PORT, 2),
        Forward(DESTINATION_TRANSPORT_PORT, 2),
        Forward(POST_NAPT_SOURCE_TRANSPORT_PORT, 2),
        Forward(POST_NAPT_DESTINATION_TRANSPORT_PORT, 2),
        Forward(PROTOCOL_IDENTIFIER, 1),
        Forward(INGRESS_VRFID, 4),
    ]
}

/// What a flow has in front of its ends: its times, its reason to end, and what has passed in both directions.
const FLOW: [Field; 7] = [
    Forward(FLOW_START_MILLISECONDS, 8),
    Forward(FLOW_END_MILLISECONDS, 8),
    Forward(FLOW_END_REASON, 1),
    Forward(PACKET_DELTA_COUNT, 8),
    Forward(OCTET_DELTA_COUNT, 8),
    Reverse(PACKET_DELTA_COUNT, 8),
    Reverse(OCTET_DELTA_COUNT, 8),
];

/// What an event of NAT has.
const EVENT: [Field; 2] = [Forward(OBSERVATION_TIME_MILLISECONDS, 8), Forward(NAT_EVENT, 1)];

/// The templates of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Template {
    Flow(Family),
    Event(Family),
}

impl Template {
    const ALL: [Template; 4] = [
        Template::Flow(Family::V4),
        Template::Flow(Family::V6),
        Template::Event(Family::V4),
        Template::Event(Family::V6),
    ];

    /// Its number: those below 256 are not for data.
    fn id(self) -> u16 {
        256 + Self::ALL.iter().position(|template| *template == self).unwrap_or_default() as u16
    }

    fn fields(self) -> Vec<Field> {
        match self {
            Template::Flow(family) => [&FLOW[..], &ends(family)].concat(),
            Template::Event(family) => [&EVENT[..], &ends(family)].concat(),
        }
    }
}

/// The template of what the exporter says of itself.
const OPTIONS: u16 = 260;

/// A message, and how many data records it has.
pub type Message = (Vec<u8>, u64);

/// Makes messages of one stream to one collector.
#[derive(Debug)]
pub struct Exporter {
    /// Observation domain.
    domain: u32,
    process: u32,
    /// Data records so far, modulo 2^32.
    sequence: u32,
    message: Vec<u8>,
    /// Where the set that is being written begins, its number, and how many records the message has.
    set: Option<(usize, u16)>,
    records: u32,
}

impl Exporter {
    /// Of an observation domain, by the process of this number.
    pub fn new(domain: u32, process: u32) -> Exporter {
        Exporter { domain, process, sequence: 0, message: Vec::new(), set: None, records: 0 }
    }

    /// A message with all templates, and how many events were lost so far.
    pub fn templates(&mut self, lost: u64, now_us: Micros) -> Vec<u8> {
        self.begin();
        self.open(TEMPLATE_SET);
        for template in Template::ALL {
            let fields = template.fields();
            self.put16(template.id());
            self.put16(fields.len() as u16);
            fields.into_iter().for_each(|field| self.field(field));
        }
        self.open(OPTIONS_TEMPLATE_SET);
        // Two elements, the first of which is what the other is about.
        [OPTIONS, 2, 1].into_iter().for_each(|number| self.put16(number));
        [Forward(EXPORTING_PROCESS_ID, 4), Forward(NOT_SENT_FLOW_TOTAL_COUNT, 8)]
            .into_iter()
            .for_each(|field| self.field(field));
        self.open(OPTIONS);
        self.message.extend(self.process.to_be_bytes());
        self.message.extend(lost.to_be_bytes());
        self.records += 1;
        self.finish(now_us).0
    }

    /// The flow of a connection that has ended, or the part of one that goes on; gives a message that is full, if there is one.
    pub fn flow(&mut self, record: &Record, now_us: Micros) -> Option<Message> {
        let Record { translation, traffic, end, state } = record;
        let reason = match (translation.what, end) {
            (What::Begin, _) | (What::End, None) => return None,
            (What::Alive, _) => ACTIVE_TIMEOUT,
            (What::End, Some(end)) => flow_end_reason(*end, *state),
        };
        let full = self.make_room(Template::Flow(translation.original.family()), now_us);
        for time in [translation.began_us, translation.at_us] {
            self.message.extend((time / 1000).to_be_bytes());
        }
        self.message.push(reason);
        for traffic in traffic.unwrap_or_default() {
            self.message.extend(traffic.packets.to_be_bytes());
            self.message.extend(traffic.bytes.to_be_bytes());
        }
        self.put_ends(translation);
        self.records += 1;
        full
    }

    /// The event of NAT that the begin or the end of a translated connection is; gives a message that is full, if there is one.
    pub fn event(&mut self, translation: &Translation, now_us: Micros) -> Option<Message> {
        let event = nat_event(translation).filter(|_| translation.is_translated())?;
        let full = self.make_room(Template::Event(translation.original.family()), now_us);
        self.message.extend((translation.at_us / 1000).to_be_bytes());
        self.message.push(event);
        self.put_ends(translation);
        self.records += 1;
        full
    }

    /// The message that is not full, if there is one.
    pub fn rest(&mut self, now_us: Micros) -> Option<Message> {
        (self.records > 0).then(|| self.finish(now_us))
    }

    fn make_room(&mut self, template: Template, now_us: Micros) -> Option<Message> {
        let length = template.fields().iter().map(|field| usize::from(field.length())).sum::<usize>();
        let full = self.message.len() + SET_HEADER + length > MAX_MESSAGE;
        let message = full.then(|| self.finish(now_us));
        if self.message.is_empty() {
            self.begin();
        }
        if self.set.is_none_or(|(_, id)| id != template.id()) {
            self.open(template.id());
        }
        message
    }

    fn begin(&mut self) {
        self.message.clear();
        self.message.resize(MESSAGE_HEADER, 0);
        self.set = None;
    }

    /// Begins a set.
    fn open(&mut self, id: u16) {
        self.close();
        self.set = Some((self.message.len(), id));
        self.put16(id);
        self.put16(0);
    }

    fn close(&mut self) {
        if let Some((begin, _)) = self.set.take() {
            let length = (self.message.len() - begin) as u16;
            self.message[begin + 2..begin + 4].copy_from_slice(&length.to_be_bytes());
        }
    }

    fn finish(&mut self, now_us: Micros) -> Message {
        self.close();
        let mut message = std::mem::take(&mut self.message);
        let mut header = Vec::with_capacity(MESSAGE_HEADER);
        header.extend(VERSION.to_be_bytes());
        header.extend((message.len() as u16).to_be_bytes());
        header.extend(((now_us / 1_000_000) as u32).to_be_bytes());
        header.extend(self.sequence.to_be_bytes());
        header.extend(self.domain.to_be_bytes());
        message[..MESSAGE_HEADER].copy_from_slice(&header);
        let records = std::mem::take(&mut self.records);
        self.sequence = self.sequence.wrapping_add(records);
        (message, records.into())
    }

    fn put16(&mut self, number: u16) {
        self.message.extend(number.to_be_bytes());
    }

    fn field(&mut self, field: Field) {
        match field {
            Forward(element, length) => [element, length].into_iter().for_each(|number| self.put16(number)),
            Reverse(element, length) => {
                [element | 1 << 15, length].into_iter().for_each(|number| self.put16(number));
                self.message.extend(REVERSE.to_be_bytes());
            }
        }
    }

    fn put_ends(&mut self, translation: &Translation) {
        let Translation { original, reply, .. } = translation;
        let post = reply.invert();
        for tuple in [original, &post] {
            for address in [tuple.src, tuple.dst] {
                match original.family() {
                    Family::V4 => self.message.extend((address as u32).to_be_bytes()),
                    Family::V6 => self.message.extend(address.to_be_bytes()),
                }
            }
        }
        for tuple in [original, &post] {
            self.put16(tuple.selector.sport());
            self.put16(tuple.selector.dport());
        }
        self.message.push(original.protocol());
        self.message.extend(u32::from(original.selector.zone()).to_be_bytes());
    }
}

impl Field {
    const fn length(self) -> u16 {
        match self {
            Forward(_, length) | Reverse(_, length) => length,
        }
    }
}

/// The flow goes on (RFC 5102 section 5.11.3).
const ACTIVE_TIMEOUT: u8 = 2;

/// Why a flow has ended (RFC 5102 section 5.11.3).
fn flow_end_reason(end: End, state: Option<&'static str>) -> u8 {
    const IDLE_TIMEOUT: u8 = 1;
    const END_OF_FLOW_DETECTED: u8 = 3;
    const FORCED_END: u8 = 4;
    const LACK_OF_RESOURCES: u8 = 5;
    match end {
        // What TCP has ended stays for a while, so that late segments are known.
        End::Expired if matches!(state, Some("TIME_WAIT" | "CLOSE" | "LAST_ACK")) => END_OF_FLOW_DETECTED,
        End::Expired => IDLE_TIMEOUT,
        End::Closed | End::Refused => END_OF_FLOW_DETECTED,
        End::Deleted => FORCED_END,
        End::Evicted => LACK_OF_RESOURCES,
    }
}

/// The event of NAT (RFC 8158 section 5.1): of IPv4 that of a NAT44 session, of IPv6, which has none, that of a translation.
fn nat_event(translation: &Translation) -> Option<u8> {
    const TRANSLATION_CREATE: u8 = 1;
    const TRANSLATION_DELETE: u8 = 2;
    const NAT44_SESSION_CREATE: u8 = 4;
    const NAT44_SESSION_DELETE: u8 = 5;
    match (translation.what, translation.original.family()) {
        (What::Begin, Family::V4) => Some(NAT44_SESSION_CREATE),
        (What::End, Family::V4) => Some(NAT44_SESSION_DELETE),
        (What::Begin, Family::V6) => Some(TRANSLATION_CREATE),
        (What::End, Family::V6) => Some(TRANSLATION_DELETE),
        (What::Alive, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::Tuple;
    use sluice_conntrack::listing::Traffic;
    use sluice_conntrack::tuple::protocol;

    fn record(what: What) -> Record {
        let (client, server) = ([10, 0, 0, 1].into(), [198, 51, 100, 7].into());
        let original = Tuple::new(client, server, protocol::TCP, 4000, 53);
        let reply = Tuple::new(server, [203, 0, 113, 10].into(), protocol::TCP, 53, 2000);
        let (at_us, began_us) = (1_780_000_000_250_000, 1_779_999_970_250_000);
        let translation = Translation { what, at_us, began_us, original, reply, translated: [true, false] };
        let traffic = Some([Traffic { packets: 2, bytes: 56 }, Traffic { packets: 1, bytes: 99 }]);
        Record { translation, traffic, state: Some("TIME_WAIT"), end: Some(End::Expired) }
    }

    /// Number and bytes of each set of a message, whose header is looked at.
    fn sets(message: &[u8], sequence: u32) -> Vec<(u16, Vec<u8>)> {
        let short = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
        let long = |at: usize| u32::from(short(at)) << 16 | u32::from(short(at + 2));
        assert_eq!((short(0), usize::from(short(2))), (10, message.len()));
        assert_eq!((long(4), long(8), long(12)), (1_780_000_000, sequence, 7));
        let (mut at, mut sets) = (16, Vec::new());
        while at < message.len() {
            let length = usize::from(short(at + 2));
            sets.push((short(at), message[at + 4..at + length].to_vec()));
            at += length;
        }
        sets
    }

    #[test]
    fn templates_come_with_what_was_lost() {
        let mut exporter = Exporter::new(7, 77);
        let message = exporter.templates(9, 1_780_000_000_000_000);
        let sets = sets(&message, 0);
        assert_eq!(sets.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 3, 260]);
        // Of the first: 17 elements, two of them of an enterprise.
        assert_eq!(sets[0].1[..4], [1, 0, 0, 17]);
        assert_eq!(sets[0].1.len(), 2 * (4 + 17 * 4 + 2 * 4) + 2 * (4 + 12 * 4));
        assert_eq!(sets[2].1, [0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(exporter.rest(0), None);
    }

    #[test]
    fn records_have_the_length_of_their_templates_and_messages_are_counted() {
        let mut exporter = Exporter::new(7, 77);
        let now_us = 1_780_000_000_000_000;
        assert_eq!(exporter.flow(&record(What::Begin), now_us), None);
        assert_eq!(exporter.event(&record(What::Begin).translation, now_us), None);
        assert_eq!(exporter.flow(&record(What::End), now_us), None);
        let (message, records) = exporter.rest(now_us).unwrap();
        assert_eq!(records, 2);
        let both = sets(&message, 0);
        let lengths = [258, 256].map(|id| {
            let fields = Template::ALL[id - 256].fields();
            (id as u16, fields.iter().map(|field| usize::from(field.length())).sum::<usize>())
        });
        assert_eq!(both.iter().map(|(id, bytes)| (*id, bytes.len())).collect::<Vec<_>>(), lengths);
        let (event, flow) = (&both[0].1, &both[1].1);
        assert_eq!((event[8], flow[16]), (4, 3), "a NAT44 session begins; a flow ends since TCP has");
        let ends = [
            10, 0, 0, 1, 198, 51, 100, 7, 203, 0, 113, 10, 198, 51, 100, 7, 15, 160, 0, 53, 7, 208, 0, 53, 6,
        ];
        assert_eq!((&event[9..34], &flow[49..74]), (&ends[..], &ends[..]));
        assert_eq!(flow[17..25], 2_u64.to_be_bytes());
        exporter.flow(&record(What::Alive), now_us);
        let (message, _) = exporter.rest(now_us).unwrap();
        assert_eq!(sets(&message, 2)[0].1[16], 2, "a flow goes on");
        let full = (0..100).filter_map(|_| exporter.flow(&record(What::End), now_us));
        let full: Vec<_> = full.collect();
        assert!(full.iter().all(|(message, _)| message.len() <= MAX_MESSAGE && message.len() > 1280));
        let per_message = (MAX_MESSAGE - 16 - 4) / lengths[1].1;
        assert_eq!(sets(&full[1].0, 3 + per_message as u32)[0].1.len(), per_message * lengths[1].1);
    }
}
