//! Call signalling (H.225.0): H323-UserInformation, which messages of Q.931 have in their user-user element.

use super::control;
use super::grammar::{
    ALIASES, Additions, BOOLEAN, BYTE, CALL_TYPE, ENDPOINT_TYPE, EXTENSIBLE, Field, GUID, Mark, NON_STANDARD,
    OBJECT_IDENTIFIER, QSERIES, SHORT, Size, TRANSPORT_ADDRESS, Type, list,
};
use Field::{Optional, Required};
use Type::{Choice, Containing, Marked, Null, Octets, Sequence, Undescribed};

/// H323-UserInformation: h323-uu-pdu, user-data.
pub(super) const USER_INFORMATION: Type = Sequence(
    &[
        Required(UU_PDU),
        Optional(Sequence(&[Required(BYTE), Required(Octets(Size::of(1, 131)))], EXTENSIBLE)),
    ],
    EXTENSIBLE,
);

/// H323-UU-PDU: h323-message-body, nonStandardData; h245Control.
const UU_PDU: Type = Sequence(&[Required(BODY), Optional(NON_STANDARD)], Some(&[(2, TUNNELLED)]));

/// Messages of H.245 in a message of Q.931.
const TUNNELLED: Type = list(&Containing(&control::MESSAGE));

/// Channels that are opened without the H.245 channel (H.323 section 8.1.7).
const FAST_START: Type = list(&Containing(&control::OPEN_LOGICAL_CHANNEL));

const H245_ADDRESS: Type = Marked(Mark::H245, &TRANSPORT_ADDRESS);

/// Setup, CallProceeding, Connect, Alerting, Information, ReleaseComplete, Facility; Progress.
const BODY: Type = Choice(
    &[SETUP, PROCEEDING, CONNECT, PROCEEDING, INFORMATION, RELEASE_COMPLETE, FACILITY],
    Some(&[(0, PROGRESS)]),
);

/// Setup-UUIE: protocolIdentifier, h245Address, sourceAddress, sourceInfo, destinationAddress, destCallSignalAddress,
/// destExtraCallInfo, destExtraCRV, activeMC, conferenceID, conferenceGoal, callServices, callType; sourceCallSignalAddress, fastStart,
/// parallelH245Control.
const SETUP: Type = Sequence(
    &[
        Required(OBJECT_IDENTIFIER),
        Optional(H245_ADDRESS),
        Optional(ALIASES),
        Required(ENDPOINT_TYPE),
        Optional(ALIASES),
        Optional(Marked(Mark::Peer, &TRANSPORT_ADDRESS)),
        Optional(ALIASES),
        Optional(list(&SHORT)),
        Required(BOOLEAN),
        Required(GUID),
        Required(Choice(&[Null; 3], EXTENSIBLE)),
        Optional(QSERIES),
        Required(CALL_TYPE),
    ],
    Some(&[(0, Marked(Mark::Peer, &TRANSPORT_ADDRESS)), (6, FAST_START), (24, TUNNELLED)]),
);

/// CallProceeding-UUIE and Alerting-UUIE: protocolIdentifier, destinationInfo, h245Address; fastStart.
const PROCEEDING: Type = Sequence(
    &[Required(OBJECT_IDENTIFIER), Required(ENDPOINT_TYPE), Optional(H245_ADDRESS)],
    WITH_FAST_START,
);

/// Connect-UUIE: protocolIdentifier, h245Address, destinationInfo, conferenceID; fastStart.
const CONNECT: Type = Sequence(
    &[Required(OBJECT_IDENTIFIER), Optional(H245_ADDRESS), Required(ENDPOINT_TYPE), Required(GUID)],
    WITH_FAST_START,
);

const WITH_FAST_START: Additions = Some(&[(4, FAST_START)]);

/// Information-UUIE: protocolIdentifier; fastStart.
const INFORMATION: Type = Sequence(&[Required(OBJECT_IDENTIFIER)], Some(&[(3, FAST_START)]));

/// ReleaseComplete-UUIE: protocolIdentifier, reason.
const RELEASE_COMPLETE: Type =
    Sequence(&[Required(OBJECT_IDENTIFIER), Optional(Choice(&[Null; 12], EXTENSIBLE))], EXTENSIBLE);

/// Facility-UUIE: protocolIdentifier, alternativeAddress, alternativeAliasAddress, conferenceID, reason; h245Address, fastStart.
const FACILITY: Type = Sequence(
    &[
        Required(OBJECT_IDENTIFIER),
        Optional(Marked(Mark::Signalling, &TRANSPORT_ADDRESS)),
        Optional(ALIASES),
        Optional(GUID),
        Required(Choice(&[Null; 4], EXTENSIBLE)),
    ],
    Some(&[(6, H245_ADDRESS), (7, FAST_START)]),
);

/// Progress-UUIE: protocolIdentifier, destinationInfo, h245Address, callIdentifier, h245SecurityMode, tokens, cryptoTokens, fastStart.
const PROGRESS: Type = Sequence(
    &[
        Required(OBJECT_IDENTIFIER),
        Required(ENDPOINT_TYPE),
        Optional(H245_ADDRESS),
        Required(Sequence(&[Required(GUID)], EXTENSIBLE)),
        Optional(SECURITY),
        Optional(Undescribed),
        Optional(Undescribed),
        Optional(FAST_START),
    ],
    EXTENSIBLE,
);

/// H245Security: nonStandard, noSecurity, tls, ipsec.
const SECURITY: Type = Choice(&[NON_STANDARD, Null, CAPABILITIES, CAPABILITIES], EXTENSIBLE);

/// SecurityCapabilities: nonStandard, encryption, authentication, integrity.
const CAPABILITIES: Type =
    Sequence(&[Optional(NON_STANDARD), Required(MODE), Required(MODE), Required(MODE)], EXTENSIBLE);

/// SecurityServiceMode: nonStandard, none, default.
const MODE: Type = Choice(&[NON_STANDARD, Null, Null], EXTENSIBLE);
