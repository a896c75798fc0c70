//! Types of ASN.1 as far as PER has to know them, and the types that the protocols of H.323 have in common.

/// What a value is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Where a RAS message is answered.
    Ras,
    /// Where an end takes calls.
    Signalling,
    /// Where a call is to go, or comes from.
    Peer,
    /// Where an end takes the H.245 channel of a call.
    H245,
    /// Where it takes media, by RTP or RTCP.
    Media,
    /// Where it takes T.120.
    T120,
    /// How long a registration lives, in seconds less one.
    TimeToLive,
}

/// A type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    /// NULL.
    Null,
    /// So many BOOLEANs, or others of a fixed number of bits.
    Bits(u32),
    /// INTEGER, by the largest less the smallest.
    Integer(u32),
    /// INTEGER whose value is wanted.
    Number(u32),
    /// OCTET STRING, and what is encoded as one: OBJECT IDENTIFIER.
    Octets(Size),
    /// A string of characters that have so many bits each.
    Characters(u32, Size),
    /// OCTET STRING which has an encoding of this type.
    Containing(&'static Self),
    /// The address and the port of an endpoint, by the bytes of the address: OCTET STRING and INTEGER(0..65535).
    Endpoint(usize),
    /// SEQUENCE.
    Sequence(&'static [Field], Additions),
    /// SEQUENCE OF.
    SequenceOf(Size, &'static Self),
    /// CHOICE.
    Choice(&'static [Self], Additions),
    /// A type whose values are wanted.
    Marked(Mark, &'static Self),
    /// One that is not described, as nothing behind it matters.
    Undescribed,
}

/// A field of a SEQUENCE.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Required(Type),
    Optional(Type),
}

/// What was added to an extensible type later, by the number of the addition, as far as it matters; `None` where a type is not
/// extensible.
pub(super) type Additions = Option<&'static [(usize, Type)]>;

/// How many of something there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) least: u32,
    pub(super) most: u32,
}

impl Size {
    /// Any number.
    pub(super) const ANY: Self = Self::of(0, u32::MAX);

    pub(super) const fn of(least: u32, most: u32) -> Self {
        Self { least, most }
    }
}

use Field::{Optional, Required};
use Type::{Bits, Characters, Choice, Integer, Null, Octets, Sequence, SequenceOf};

/// Extensible, without an addition that matters.
pub(super) const EXTENSIBLE: Additions = Some(&[]);

pub(super) const BOOLEAN: Type = Bits(1);
pub(super) const BYTE: Type = Integer(u8::MAX as u32);
pub(super) const SHORT: Type = Integer(u16::MAX as u32);
pub(super) const LONG: Type = Integer(u32::MAX);
pub(super) const STRING: Type = Octets(Size::ANY);
pub(super) const OBJECT_IDENTIFIER: Type = STRING;

/// OCTET STRING of so many bytes.
pub(super) const fn octets(bytes: u32) -> Type {
    Octets(Size::of(bytes, bytes))
}

/// SEQUENCE OF any number.
pub(super) const fn list(of: &'static Type) -> Type {
    SequenceOf(Size::ANY, of)
}

/// IA5String (SIZE (1..128)) (FROM ("0123456789#*,")).
pub(super) const DIALLED_DIGITS: Type = Characters(4, Size::of(1, 128));

/// NonStandardParameter of H.225.0.
pub(super) const NON_STANDARD: Type = Sequence(
    &[Required(Choice(&[OBJECT_IDENTIFIER, H221_NON_STANDARD], EXTENSIBLE)), Required(STRING)],
    None,
);

const H221_NON_STANDARD: Type = Sequence(&[Required(BYTE), Required(BYTE), Required(SHORT)], EXTENSIBLE);

/// TransportAddress of H.225.0: ipAddress, ipSourceRoute, ipxAddress, ip6Address, netBios, nsap, nonStandardAddress.
pub(super) const TRANSPORT_ADDRESS: Type = Choice(
    &[
        Type::Endpoint(4),
        Sequence(
            &[
                Required(octets(4)),
                Required(SHORT),
                Required(list(&octets(4))),
                Required(Choice(&[Null, Null], EXTENSIBLE)),
            ],
            EXTENSIBLE,
        ),
        Sequence(&[Required(octets(6)), Required(octets(4)), Required(octets(2))], None),
        Sequence(&[Required(Type::Endpoint(16))], EXTENSIBLE),
        octets(16),
        Octets(Size::of(1, 20)),
        NON_STANDARD,
    ],
    EXTENSIBLE,
);

/// AliasAddress: dialledDigits, h323-ID.
pub(super) const ALIAS: Type = Choice(&[DIALLED_DIGITS, Characters(16, Size::of(1, 256))], EXTENSIBLE);

pub(super) const ALIASES: Type = list(&ALIAS);

/// GloballyUniqueID, also called ConferenceIdentifier.
pub(super) const GUID: Type = octets(16);

/// VendorIdentifier: vendor, productId, versionId.
pub(super) const VENDOR: Type = Sequence(
    &[Required(H221_NON_STANDARD), Optional(Octets(Size::of(1, 256))), Optional(Octets(Size::of(1, 256)))],
    EXTENSIBLE,
);

/// What has a nonStandardData and additions only: GatekeeperInfo, TerminalInfo, McuInfo, H310Caps to T120OnlyCaps.
const NON_STANDARD_ONLY: Type = Sequence(&[Optional(NON_STANDARD)], EXTENSIBLE);

/// SupportedProtocols: nonStandardData, h310, h320, h321, h322, h323, h324, voice, t120-only.
const SUPPORTED_PROTOCOL: Type = Choice(
    &[
        NON_STANDARD,
        NON_STANDARD_ONLY,
        NON_STANDARD_ONLY,
        NON_STANDARD_ONLY,
        NON_STANDARD_ONLY,
        NON_STANDARD_ONLY,
        NON_STANDARD_ONLY,
        NON_STANDARD_ONLY,
        NON_STANDARD_ONLY,
    ],
    EXTENSIBLE,
);

/// EndpointType: nonStandardData, vendor, gatekeeper, gateway, mcu, terminal, mc, undefinedNode.
pub(super) const ENDPOINT_TYPE: Type = Sequence(
    &[
        Optional(NON_STANDARD),
        Optional(VENDOR),
        Optional(NON_STANDARD_ONLY),
        Optional(Sequence(&[Optional(list(&SUPPORTED_PROTOCOL)), Optional(NON_STANDARD)], EXTENSIBLE)),
        Optional(NON_STANDARD_ONLY),
        Optional(NON_STANDARD_ONLY),
        Required(BOOLEAN),
        Required(BOOLEAN),
    ],
    EXTENSIBLE,
);

/// QseriesOptions: q932Full to q957Full, q954Info.
pub(super) const QSERIES: Type =
    Sequence(&[Required(Bits(7)), Required(Sequence(&[Required(Bits(2))], EXTENSIBLE))], EXTENSIBLE);

/// CallType.
pub(super) const CALL_TYPE: Type = Choice(&[Null; 4], EXTENSIBLE);
