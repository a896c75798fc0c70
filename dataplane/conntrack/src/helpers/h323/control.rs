//! Control of a call (H.245): MultimediaSystemControlMessage, as far as it opens channels.

use super::grammar::{
    BOOLEAN, BYTE, DIALLED_DIGITS, EXTENSIBLE, Field, LONG, Mark, OBJECT_IDENTIFIER, SHORT, STRING, Size,
    Type, list, octets,
};
use Field::{Optional, Required};
use Type::{Bits, Characters, Choice, Endpoint, Integer, Marked, Null, Octets, Sequence, Undescribed};

/// MultimediaSystemControlMessage: request, response, command, indication.
pub(super) const MESSAGE: Type = Choice(&[REQUEST, RESPONSE, Undescribed, Undescribed], EXTENSIBLE);

/// RequestMessage, of whose alternatives openLogicalChannel is the fourth.
const REQUEST: Type = Choice(
    &[
        Undescribed,
        Undescribed,
        Undescribed,
        OPEN_LOGICAL_CHANNEL,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
    ],
    EXTENSIBLE,
);

/// ResponseMessage, of whose alternatives openLogicalChannelAck is the sixth.
const RESPONSE: Type = Choice(
    &[
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        OPEN_LOGICAL_CHANNEL_ACK,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
        Undescribed,
    ],
    EXTENSIBLE,
);

/// LogicalChannelNumber, INTEGER (1..65535).
const CHANNEL: Type = Integer(65_534);

/// OpenLogicalChannel: forwardLogicalChannelNumber, forwardLogicalChannelParameters, reverseLogicalChannelParameters; separateStack.
///
/// Of the multiplexParameters those of H.222, H.223 and V.76 are for other networks than IP.
pub(super) const OPEN_LOGICAL_CHANNEL: Type = Sequence(
    &[
        Required(CHANNEL),
        Required(Sequence(
            &[
                Optional(SHORT),
                Required(DATA_TYPE),
                Required(Choice(&[Undescribed, Undescribed, Undescribed], Some(&[(0, H2250_PARAMETERS)]))),
            ],
            EXTENSIBLE,
        )),
        Optional(Sequence(
            &[
                Required(DATA_TYPE),
                Optional(Choice(&[Undescribed, Undescribed], Some(&[(0, H2250_PARAMETERS)]))),
            ],
            EXTENSIBLE,
        )),
    ],
    Some(&[(0, NETWORK_ACCESS)]),
);

/// OpenLogicalChannelAck: forwardLogicalChannelNumber, reverseLogicalChannelParameters; separateStack, forwardMultiplexAckParameters.
const OPEN_LOGICAL_CHANNEL_ACK: Type = Sequence(
    &[
        Required(CHANNEL),
        Optional(Sequence(
            &[
                Required(CHANNEL),
                Optional(SHORT),
                Optional(Choice(&[Undescribed], Some(&[(0, H2250_PARAMETERS)]))),
            ],
            EXTENSIBLE,
        )),
    ],
    Some(&[(0, NETWORK_ACCESS), (1, Choice(&[H2250_ACK_PARAMETERS], EXTENSIBLE))]),
);

/// H2250LogicalChannelParameters: nonStandard, sessionID, associatedSessionID, mediaChannel, mediaGuaranteedDelivery,
/// mediaControlChannel, mediaControlGuaranteedDelivery, silenceSuppression, destination, dynamicRTPPayloadType, mediaPacketization.
const H2250_PARAMETERS: Type = Sequence(
    &[
        Optional(list(&NON_STANDARD)),
        Required(BYTE),
        Optional(Integer(254)),
        Optional(MEDIA),
        Optional(BOOLEAN),
        Optional(MEDIA),
        Optional(BOOLEAN),
        Optional(BOOLEAN),
        Optional(Sequence(&[Required(Integer(192)), Required(Integer(192))], EXTENSIBLE)),
        Optional(PAYLOAD_TYPE),
        Optional(Choice(&[Null], EXTENSIBLE)),
    ],
    EXTENSIBLE,
);

/// H2250LogicalChannelAckParameters: nonStandard, sessionID, mediaChannel, mediaControlChannel, dynamicRTPPayloadType.
const H2250_ACK_PARAMETERS: Type = Sequence(
    &[
        Optional(list(&NON_STANDARD)),
        Optional(Integer(254)),
        Optional(MEDIA),
        Optional(MEDIA),
        Optional(PAYLOAD_TYPE),
    ],
    EXTENSIBLE,
);

const MEDIA: Type = Marked(Mark::Media, &TRANSPORT_ADDRESS);

/// INTEGER (96..127).
const PAYLOAD_TYPE: Type = Integer(31);

/// NetworkAccessParameters: distribution, networkAddress, associateConference, externalReference. The networkAddress is a q2931Address,
/// an e164Address or a localAreaAddress.
const NETWORK_ACCESS: Type = Sequence(
    &[
        Optional(Choice(&[Null, Null], EXTENSIBLE)),
        Required(Choice(
            &[Q2931_ADDRESS, DIALLED_DIGITS, Marked(Mark::T120, &TRANSPORT_ADDRESS)],
            EXTENSIBLE,
        )),
        Required(BOOLEAN),
        Optional(Octets(Size::of(1, 255))),
    ],
    EXTENSIBLE,
);

const Q2931_ADDRESS: Type = Sequence(
    &[
        Required(Choice(&[Characters(4, Size::of(1, 16)), Octets(Size::of(1, 20))], EXTENSIBLE)),
        Optional(Octets(Size::of(1, 20))),
    ],
    EXTENSIBLE,
);

/// NonStandardParameter of H.245, which is not extensible.
const NON_STANDARD: Type = Sequence(
    &[
        Required(Choice(
            &[OBJECT_IDENTIFIER, Sequence(&[Required(BYTE), Required(BYTE), Required(SHORT)], None)],
            None,
        )),
        Required(STRING),
    ],
    None,
);

/// TransportAddress of H.245: unicastAddress, multicastAddress. Nothing is expected at a group's address.
const TRANSPORT_ADDRESS: Type = Choice(&[UNICAST, MULTICAST], EXTENSIBLE);

/// UnicastAddress: iPAddress, iPXAddress, iP6Address, netBios, iPSourceRouteAddress.
const UNICAST: Type = Choice(
    &[
        Sequence(&[Required(Endpoint(4))], EXTENSIBLE),
        Sequence(&[Required(octets(6)), Required(octets(4)), Required(octets(2))], EXTENSIBLE),
        Sequence(&[Required(Endpoint(16))], EXTENSIBLE),
        octets(16),
        Sequence(
            &[
                Required(Choice(&[Null, Null], None)),
                Required(octets(4)),
                Required(SHORT),
                Required(list(&octets(4))),
            ],
            EXTENSIBLE,
        ),
    ],
    EXTENSIBLE,
);

/// MulticastAddress: iPAddress, iP6Address.
const MULTICAST: Type = Choice(
    &[
        Sequence(&[Required(octets(4)), Required(SHORT)], EXTENSIBLE),
        Sequence(&[Required(octets(16)), Required(SHORT)], EXTENSIBLE),
    ],
    EXTENSIBLE,
);

/// DataType: nonStandard, nullData, videoData, audioData, data, encryptionData.
const DATA_TYPE: Type =
    Choice(&[NON_STANDARD, Null, VIDEO, AUDIO, DATA, Choice(&[NON_STANDARD, Null], EXTENSIBLE)], EXTENSIBLE);

/// VideoCapability: nonStandard, h261, h262, h263, is11172.
const VIDEO: Type = Choice(&[NON_STANDARD, H261, H262, H263, IS11172_VIDEO], EXTENSIBLE);

/// H261VideoCapability: qcifMPI, cifMPI, temporalSpatialTradeOffCapability, maxBitRate, stillImageTransmission.
const H261: Type = Sequence(
    &[
        Optional(Integer(3)),
        Optional(Integer(3)),
        Required(BOOLEAN),
        Required(Integer(19_199)),
        Required(BOOLEAN),
    ],
    EXTENSIBLE,
);

/// H262VideoCapability: profiles and levels, videoBitRate, vbvBufferSize, samplesPerLine, linesPerFrame, framesPerSecond,
/// luminanceSampleRate.
const H262: Type = Sequence(
    &[
        Required(Bits(11)),
        Optional(BIT_RATE),
        Optional(BUFFER_SIZE),
        Optional(Integer(16_383)),
        Optional(Integer(16_383)),
        Optional(Integer(15)),
        Optional(LONG),
    ],
    EXTENSIBLE,
);

/// H263VideoCapability: sqcifMPI, qcifMPI, cifMPI, cif4MPI, cif16MPI, maxBitRate, unrestrictedVector to
/// temporalSpatialTradeOffCapability, hrd-B, bppMaxKb.
const H263: Type = Sequence(
    &[
        Optional(Integer(31)),
        Optional(Integer(31)),
        Optional(Integer(31)),
        Optional(Integer(31)),
        Optional(Integer(31)),
        Required(Integer(192_399)),
        Required(Bits(5)),
        Optional(Integer(524_287)),
        Optional(SHORT),
    ],
    EXTENSIBLE,
);

/// IS11172VideoCapability: constrainedBitstream, videoBitRate, vbvBufferSize, samplesPerLine, linesPerFrame, pictureRate,
/// luminanceSampleRate.
const IS11172_VIDEO: Type = Sequence(
    &[
        Required(BOOLEAN),
        Optional(BIT_RATE),
        Optional(BUFFER_SIZE),
        Optional(Integer(16_383)),
        Optional(Integer(16_383)),
        Optional(Integer(15)),
        Optional(LONG),
    ],
    EXTENSIBLE,
);

const BIT_RATE: Type = Integer((1 << 30) - 1);
const BUFFER_SIZE: Type = Integer((1 << 18) - 1);

/// AudioCapability: nonStandard, g711Alaw64k, g711Alaw56k, g711Ulaw64k, g711Ulaw56k, g722-64k, g722-56k, g722-48k, g7231, g728, g729,
/// g729AnnexA, is11172, is13818.
const AUDIO: Type = Choice(
    &[
        NON_STANDARD,
        BYTE,
        BYTE,
        BYTE,
        BYTE,
        BYTE,
        BYTE,
        BYTE,
        Sequence(&[Required(BYTE), Required(BOOLEAN)], None),
        BYTE,
        BYTE,
        BYTE,
        Sequence(&[Required(Bits(8)), Required(Integer(447))], EXTENSIBLE),
        Sequence(&[Required(Bits(20)), Required(Integer(1129))], EXTENSIBLE),
    ],
    EXTENSIBLE,
);

/// DataApplicationCapability: application, maxBitRate. The application is nonStandard, t120, dsm-cc, userData, t84, t434, h224, nlpid,
/// dsvdControl or h222DataPartitioning.
const DATA: Type = Sequence(
    &[
        Required(Choice(
            &[
                NON_STANDARD,
                DATA_PROTOCOL,
                DATA_PROTOCOL,
                DATA_PROTOCOL,
                Sequence(&[Required(DATA_PROTOCOL), Required(T84_PROFILE)], None),
                DATA_PROTOCOL,
                DATA_PROTOCOL,
                Sequence(&[Required(DATA_PROTOCOL), Required(STRING)], None),
                Null,
                DATA_PROTOCOL,
            ],
            EXTENSIBLE,
        )),
        Required(LONG),
    ],
    EXTENSIBLE,
);

/// DataProtocolCapability: nonStandard, v14buffered, v42lapm, hdlcFrameTunnelling, h310SeparateVCStack, h310SingleVCStack, transparent.
const DATA_PROTOCOL: Type = Choice(&[NON_STANDARD, Null, Null, Null, Null, Null, Null], EXTENSIBLE);

/// T84Profile: t84Unrestricted, t84Restricted.
const T84_PROFILE: Type = Choice(&[Null, Sequence(&[Required(Bits(19))], EXTENSIBLE)], None);
