//! Messages of H.323, as an encoder of ASN.1 of its own has made them (ITU-T H.225.0 version 4, H.245 version 7).
//!
//! Where they have an endpoint stands one that nobody has: all bytes 0xee but the last of the address and of the port, which say the how
//! manieth it is. [`Message::with`] puts others there.

use std::net::{IpAddr, SocketAddr};

/// A message, in hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Message(&'static str);

/// Address and port as messages have them.
pub fn encoded(endpoint: &str) -> Vec<u8> {
    let endpoint: SocketAddr = endpoint.parse().unwrap();
    let mut bytes = match endpoint.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.extend(endpoint.port().to_be_bytes());
    bytes
}

impl Message {
    /// The message with these endpoints.
    #[track_caller]
    pub fn with<const N: usize>(self, endpoints: [&str; N]) -> Vec<u8> {
        let digits = self.0.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let mut bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        for (number, endpoint) in (1..).zip(endpoints) {
            let endpoint = encoded(endpoint);
            let mut none = vec![0xee; endpoint.len()];
            none[endpoint.len() - 3] = number;
            none[endpoint.len() - 1] = number;
            let mut places =
                (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&none)).collect::<Vec<_>>();
            assert!(!places.is_empty(), "it has endpoint {number}");
            for at in places.drain(..) {
                bytes[at..at + endpoint.len()].copy_from_slice(&endpoint);
            }
        }
        bytes
    }
}

/// Setup: h245Address, destCallSignalAddress, sourceCallSignalAddress.
pub const SETUP: Message = Message(
    "030000950802123405a104038893a52806616c696365007e007b0520f8060008914a000400eeeeee01ee010240040061006c\
     00690063006501807a4422c0b500534c0470686f6e6502312e30000100807500eeeeee02ee0200000102030405060708090a\
     0b0c0d0e0f00dd0d8000000700eeeeee03ee031100000102030405060708090a0b0c0d0e0f010001000100010010800100",
);

/// Setup with fastStart: destCallSignalAddress, sourceCallSignalAddress; mediaChannel and mediaControlChannel of a channel to the
/// caller, the latter again of one from him.
pub const SETUP_FAST: Message = Message(
    "030000c30802123405a104038893a52806616c696365007e00a90520b8060008914a00040240040061006c00690063006501\
     807a4422c0b500534c0470686f6e6502312e30000100807500eeeeee01ee0100000102030405060708090a0b0c0d0e0f00dd\
     1d8000000700eeeeee02ee021100000102030405060708090a0b0c0d0e0f34021f4000000600030000014c60138011140001\
     00eeeeee03ee0300eeeeee04ee04120000010c6013800a04000100eeeeee04ee04010001000100010010800180",
);

/// CallProceeding: h245Address.
pub const PROCEEDING: Message = Message(
    "030000570802123402a104038893a52806616c696365007e003d0521c0060008914a000422c0b500534c0470686f6e650231\
     2e3000eeeeee01ee01110c1100000102030405060708090a0b0c0d0e0f0100010010800100",
);

/// Alerting: h245Address.
pub const ALERTING: Message = Message(
    "030000580802123401a104038893a52806616c696365007e003e0523c0060008914a000422c0b500534c0470686f6e650231\
     2e3000eeeeee01ee011d0c001100000102030405060708090a0b0c0d0e0f0100010010800100",
);

/// Connect: h245Address.
pub const CONNECT: Message = Message(
    "030000690802123407a104038893a52806616c696365007e004f0522c0060008914a000400eeeeee01ee0122c0b500534c04\
     70686f6e6502312e3000000102030405060708090a0b0c0d0e0f1f0c001100000102030405060708090a0b0c0d0e0f010001\
     0010800100",
);

/// Connect with fastStart: mediaChannel, mediaControlChannel.
pub const CONNECT_FAST: Message = Message(
    "030000970802123407a104038893a52806616c696365007e007d052280060008914a000422c0b500534c0470686f6e650231\
     2e3000000102030405060708090a0b0c0d0e0f1f1c001100000102030405060708090a0b0c0d0e0f34021f40000006000300\
     00014c6013801114000100eeeeee01ee0100eeeeee02ee02120000010c6013800a04000100eeeeee02ee0201000100108001\
     80",
);

/// Connect: h245Address of IPv6.
pub const CONNECT_V6: Message = Message(
    "030000750802123407a104038893a52806616c696365007e005b0522c0060008914a000430eeeeeeeeeeeeeeeeeeeeeeeeee\
     eeee01ee0122c0b500534c0470686f6e6502312e3000000102030405060708090a0b0c0d0e0f1f0c00110000010203040506\
     0708090a0b0c0d0e0f0100010010800100",
);

/// Progress: h245Address; mediaChannel and mediaControlChannel of fastStart.
pub const PROGRESS: Message = Message(
    "0300008d0802123403a104038893a52806616c696365007e00730528006be4060008914a000422c0b500534c0470686f6e65\
     02312e3000eeeeee01ee0100000102030405060708090a0b0c0d0e0f20021f4000000600030000014c6013801114000100ee\
     eeee02ee0200eeeeee03ee03120000010c6013800a04000100eeeeee03ee0305800100010010800100",
);

/// Facility, callForwarded: alternativeAddress.
pub const FORWARD: Message = Message(
    "030000490802123462a104038893a52806616c696365007e002f0526c0060008914a000400eeeeee01ee0123e03000110000\
     0102030405060708090a0b0c0d0e0f0100010010800100",
);

/// Facility, startH245: h245Address.
pub const START_H245: Message = Message(
    "0300004c0802123462a104038893a52806616c696365007e0032052680060008914a00048101001f05801100000102030405\
     060708090a0b0c0d0e0f0700eeeeee01ee010100010010800100",
);

/// Facility with h245Control: OpenLogicalChannel with its mediaControlChannel, OpenLogicalChannelAck with mediaChannel and
/// mediaControlChannel.
pub const TUNNELLED: Message = Message(
    "030000700802123462a104038893a52806616c696365007e0056052680060008914a000463e0300011000001020304050607\
     08090a0b0c0d0e0f0100010010c001802d0213030000640c6013800a04000100eeeeee01ee011722c000640680101c0000ee\
     eeee02ee0200eeeeee03ee03",
);

/// ReleaseComplete.
pub const RELEASE: Message = Message(
    "0300003e080212345aa104038893a52806616c696365007e00240525c0060008914a000458a8000011000001020304050607\
     08090a0b0c0d0e0f10800100",
);

/// TerminalCapabilitySet.
pub const CAPABILITIES: Message = Message("0300000e02000106000881750007");

/// OpenLogicalChannel: mediaControlChannel.
pub const OPEN: Message = Message("03000017030000640c6013800a04000100eeeeee01ee01");

/// OpenLogicalChannel: mediaChannel, mediaControlChannel.
pub const OPEN_MEDIA: Message = Message("0300001e030000640c6013801114000100eeeeee01ee0100eeeeee02ee02");

/// OpenLogicalChannelAck: mediaChannel, mediaControlChannel.
pub const OPEN_ACK: Message = Message("0300001b22c000640680101c0000eeeeee01ee0100eeeeee02ee02");

/// The same of IPv6.
pub const OPEN_ACK_V6: Message = Message(
    "0300003322c000640680281c0010eeeeeeeeeeeeeeeeeeeeeeeeeeeeee01ee0108eeeeeeeeeeeeeeeeeeeeeeeeeeeeee02ee\
     02",
);

/// OpenLogicalChannel for T.120: the localAreaAddress of its separateStack.
pub const OPEN_T120: Message =
    Message("0300002e03c0000610183001004002808003000003501830010040028080030000030500090800eeeeee01ee0100");

/// GatekeeperRequest: rasAddress.
pub const GATEKEEPER_REQUEST: Message = Message(
    "02200006060008914a000400eeeeee01ee0122c0b500534c0470686f6e6502312e30000240040061006c0069006300650180\
     7a441600400100",
);

/// GatekeeperConfirm: rasAddress.
pub const GATEKEEPER_CONFIRM: Message = Message("04800006060008914a0004020067006b00eeeeee01ee01");

/// RegistrationRequest: callSignalAddress, rasAddress.
pub const REGISTRATION_REQUEST: Message = Message(
    "0ec00006060008914a0004800100eeeeee01ee010100eeeeee02ee0222c0b500534c0470686f6e6502312e30000240040061\
     006c00690063006501807a44020067006b60b500534c0470686f6e6502312e30340b0002000100010001000100",
);

/// The same with a timeToLive of 60 s.
pub const REGISTRATION_REQUEST_60: Message = Message(
    "0ec00006060008914a0004800100eeeeee01ee010100eeeeee02ee0222c0b500534c0470686f6e6502312e30000240040061\
     006c00690063006501807a44020067006b60b500534c0470686f6e6502312e30348b00020002003b0100010001000100",
);

/// The same of IPv6, without timeToLive.
pub const REGISTRATION_REQUEST_V6: Message = Message(
    "0ec00006060008914a0004800130eeeeeeeeeeeeeeeeeeeeeeeeeeeeee01ee010130eeeeeeeeeeeeeeeeeeeeeeeeeeeeee02\
     ee0222c0b500534c0470686f6e6502312e30000240040061006c00690063006501807a44020067006b60b500534c0470686f\
     6e6502312e30340b0002000100010001000100",
);

/// RegistrationConfirm: callSignalAddress of the gatekeeper.
pub const REGISTRATION_CONFIRM: Message = Message(
    "12c00006060008914a00040100eeeeee01ee010240040061006c00690063006501807a44020067006b100031003200330034\
     005f0065006e00640070260a000001000100",
);

/// The same with a timeToLive of 90 s.
pub const REGISTRATION_CONFIRM_90: Message = Message(
    "12c00006060008914a00040100eeeeee01ee010240040061006c00690063006501807a44020067006b100031003200330034\
     005f0065006e00640070268a000002005901000100",
);

/// RegistrationReject.
pub const REGISTRATION_REJECT: Message = Message("14000006060008914a000460");

/// UnregistrationRequest: callSignalAddress.
pub const UNREGISTRATION_REQUEST: Message =
    Message("184000060100eeeeee01ee01100031003200330034005f0065006e00640070");

/// UnregistrationConfirm.
pub const UNREGISTRATION_CONFIRM: Message = Message("1c0006");

/// AdmissionRequest: destCallSignalAddress, srcCallSignalAddress.
pub const ADMISSION_REQUEST: Message = Message(
    "26d0000602000031003200330034005f0065006e006400700100807500eeeeee01ee010240040061006c0069006300650180\
     7a4400eeeeee02ee02400500004d000102030405060708090a0b0c0d0e0f096020100001801100000102030405060708090a\
     0b0c0d0e0f01000100",
);

/// AdmissionConfirm: destCallSignalAddress.
pub const ADMISSION_CONFIRM: Message =
    Message("2b00000640050040eeeeee01ee0100772c00c00001000c8001f8000100010001000100");

/// LocationRequest: replyAddress.
pub const LOCATION_REQUEST: Message =
    Message("4a0000060240040061006c00690063006501807a4400eeeeee01ee0120800201000100");

/// LocationConfirm: callSignalAddress, rasAddress.
pub const LOCATION_CONFIRM: Message = Message("4c000600eeeeee01ee0100eeeeee02ee02");

/// InfoRequestResponse: rasAddress, callSignalAddress.
pub const INFO_RESPONSE: Message = Message(
    "5a00000622c0b500534c0470686f6e6502312e3001000031003200330034005f0065006e0064007000eeeeee01ee010100ee\
     eeee02ee020e2401000180",
);
