//! Registration, admission and status (RAS of H.225.0): RasMessage.

use super::grammar::{
    ALIASES, Additions, BOOLEAN, CALL_TYPE, ENDPOINT_TYPE, EXTENSIBLE, Field, GUID, LONG, Mark, NON_STANDARD,
    OBJECT_IDENTIFIER, QSERIES, SHORT, Size, TRANSPORT_ADDRESS, Type, VENDOR, list,
};
use Field::{Optional, Required};
use Type::{Characters, Choice, Integer, Marked, Null, Sequence, Undescribed};

/// RasMessage, by the numbers of [`Kind`].
pub(super) const MESSAGE: Type = Choice(
    &[
        GATEKEEPER_REQUEST,
        GATEKEEPER_CONFIRM,
        Undescribed,
        REGISTRATION_REQUEST,
        REGISTRATION_CONFIRM,
        Undescribed,
        UNREGISTRATION_REQUEST,
        Undescribed,
        Undescribed,
        ADMISSION_REQUEST,
        ADMISSION_CONFIRM,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        LOCATION_REQUEST,
        LOCATION_CONFIRM,
        Undescribed,
        INFO_REQUEST,
        INFO_REQUEST_RESPONSE,
        Undescribed,
        Undescribed,
    ],
    EXTENSIBLE,
);

/// What a message is about, as far as that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    GatekeeperConfirm,
    RegistrationRequest,
    RegistrationConfirm,
    /// The registration is refused, is to end or has ended.
    Unregistration,
    /// An answer that says where a call is to go: AdmissionConfirm or LocationConfirm.
    Route,
    Other,
}

impl Kind {
    /// That of a message, which its first byte says: whether it is an addition, and its number of five bits.
    pub(super) const fn of(message: &[u8]) -> Option<Self> {
        let Some(first) = message.first() else { return None };
        Some(match *first >> 2 {
            1 => Self::GatekeeperConfirm,
            3 => Self::RegistrationRequest,
            4 => Self::RegistrationConfirm,
            5..=7 => Self::Unregistration,
            10 | 19 => Self::Route,
            _ => Self::Other,
        })
    }
}

/// RequestSeqNum, INTEGER (1..65535).
const NUMBER: Type = Integer(65_534);

/// GatekeeperIdentifier and EndpointIdentifier, BMPString (SIZE (1..128)).
const IDENTIFIER: Type = Characters(16, Size::of(1, 128));

const RAS_ADDRESS: Type = Marked(Mark::Ras, &TRANSPORT_ADDRESS);
const SIGNAL_ADDRESS: Type = Marked(Mark::Signalling, &TRANSPORT_ADDRESS);
const PEER_ADDRESS: Type = Marked(Mark::Peer, &TRANSPORT_ADDRESS);

/// TimeToLive, INTEGER (1..4294967295), as the second addition of a registration.
const WITH_TIME_TO_LIVE: Additions = Some(&[(1, Marked(Mark::TimeToLive, &Type::Number(u32::MAX - 1)))]);

/// GatekeeperRequest: requestSeqNum, protocolIdentifier, nonStandardData, rasAddress. Nothing behind it matters.
const GATEKEEPER_REQUEST: Type = Sequence(
    &[
        Required(NUMBER),
        Required(OBJECT_IDENTIFIER),
        Optional(NON_STANDARD),
        Required(RAS_ADDRESS),
        Required(Undescribed),
        Optional(Undescribed),
        Optional(Undescribed),
        Optional(Undescribed),
    ],
    EXTENSIBLE,
);

/// GatekeeperConfirm: requestSeqNum, protocolIdentifier, nonStandardData, gatekeeperIdentifier, rasAddress.
const GATEKEEPER_CONFIRM: Type = Sequence(
    &[
        Required(NUMBER),
        Required(OBJECT_IDENTIFIER),
        Optional(NON_STANDARD),
        Optional(IDENTIFIER),
        Required(RAS_ADDRESS),
    ],
    EXTENSIBLE,
);

/// RegistrationRequest: requestSeqNum, protocolIdentifier, nonStandardData, discoveryComplete, callSignalAddress, rasAddress,
/// terminalType, terminalAlias, gatekeeperIdentifier, endpointVendor; timeToLive.
const REGISTRATION_REQUEST: Type = Sequence(
    &[
        Required(NUMBER),
        Required(OBJECT_IDENTIFIER),
        Optional(NON_STANDARD),
        Required(BOOLEAN),
        Required(list(&SIGNAL_ADDRESS)),
        Required(list(&RAS_ADDRESS)),
        Required(ENDPOINT_TYPE),
        Optional(ALIASES),
        Optional(IDENTIFIER),
        Required(VENDOR),
    ],
    WITH_TIME_TO_LIVE,
);

/// RegistrationConfirm: requestSeqNum, protocolIdentifier, nonStandardData, callSignalAddress, terminalAlias, gatekeeperIdentifier,
/// endpointIdentifier; timeToLive.
const REGISTRATION_CONFIRM: Type = Sequence(
    &[
        Required(NUMBER),
        Required(OBJECT_IDENTIFIER),
        Optional(NON_STANDARD),
        Required(list(&SIGNAL_ADDRESS)),
        Optional(ALIASES),
        Optional(IDENTIFIER),
        Required(IDENTIFIER),
    ],
    WITH_TIME_TO_LIVE,
);

/// UnregistrationRequest: requestSeqNum, callSignalAddress. Nothing behind it matters.
const UNREGISTRATION_REQUEST: Type = Sequence(
    &[
        Required(NUMBER),
        Required(list(&SIGNAL_ADDRESS)),
        Optional(Undescribed),
        Optional(Undescribed),
        Optional(Undescribed),
    ],
    EXTENSIBLE,
);

/// AdmissionRequest: requestSeqNum, callType, callModel, endpointIdentifier, destinationInfo, destCallSignalAddress,
/// destExtraCallInfo, srcInfo, srcCallSignalAddress. Nothing behind it matters.
const ADMISSION_REQUEST: Type = Sequence(
    &[
        Required(NUMBER),
        Required(CALL_TYPE),
        Optional(CALL_MODEL),
        Required(IDENTIFIER),
        Optional(ALIASES),
        Optional(PEER_ADDRESS),
        Optional(ALIASES),
        Required(ALIASES),
        Optional(PEER_ADDRESS),
        Required(LONG),
        Required(SHORT),
        Optional(NON_STANDARD),
        Optional(QSERIES),
        Required(GUID),
        Required(BOOLEAN),
        Required(BOOLEAN),
    ],
    EXTENSIBLE,
);

const CALL_MODEL: Type = Choice(&[Null, Null], EXTENSIBLE);

/// AdmissionConfirm: requestSeqNum, bandWidth, callModel, destCallSignalAddress. Nothing behind it matters.
const ADMISSION_CONFIRM: Type = Sequence(
    &[
        Required(NUMBER),
        Required(LONG),
        Required(CALL_MODEL),
        Required(SIGNAL_ADDRESS),
        Optional(Undescribed),
        Optional(Undescribed),
    ],
    EXTENSIBLE,
);

/// LocationRequest: requestSeqNum, endpointIdentifier, destinationInfo, nonStandardData, replyAddress.
const LOCATION_REQUEST: Type = Sequence(
    &[
        Required(NUMBER),
        Optional(IDENTIFIER),
        Required(ALIASES),
        Optional(NON_STANDARD),
        Required(RAS_ADDRESS),
    ],
    EXTENSIBLE,
);

/// LocationConfirm: requestSeqNum, callSignalAddress, rasAddress, nonStandardData.
const LOCATION_CONFIRM: Type = Sequence(
    &[Required(NUMBER), Required(SIGNAL_ADDRESS), Required(RAS_ADDRESS), Optional(NON_STANDARD)],
    EXTENSIBLE,
);

/// InfoRequest: requestSeqNum, callReferenceValue, nonStandardData, replyAddress.
const INFO_REQUEST: Type =
    Sequence(&[Required(NUMBER), Required(SHORT), Optional(NON_STANDARD), Optional(RAS_ADDRESS)], EXTENSIBLE);

/// InfoRequestResponse: nonStandardData, requestSeqNum, endpointType, endpointIdentifier, rasAddress, callSignalAddress,
/// endpointAlias, perCallInfo. What that says of calls is for the gatekeeper's accounts.
const INFO_REQUEST_RESPONSE: Type = Sequence(
    &[
        Optional(NON_STANDARD),
        Required(NUMBER),
        Required(ENDPOINT_TYPE),
        Required(IDENTIFIER),
        Required(RAS_ADDRESS),
        Required(list(&SIGNAL_ADDRESS)),
        Optional(ALIASES),
        Optional(Undescribed),
    ],
    EXTENSIBLE,
);
