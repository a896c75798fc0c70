//! The tracker of ICMP and ICMPv6 queries (RFC 792, RFC 950, RFC 4443, RFC 4620). Errors are no queries: see
//! the pipeline.

use super::{Context, Update};
use crate::headers::Packet;
use crate::icmp_type::{self, Class};
use crate::settings::Preset;
use crate::tuple::{Direction, Selector, protocol};
use crate::verdict::InvalidReason;

/// A query opens a connection; nothing else does.
pub fn open(context: Context<'_>, packet: Packet<'_>) -> Result<u32, InvalidReason> {
    let selector = packet.headers.tuple.selector;
    if is_query(selector) {
        Ok(timeout_ms(context, packet))
    } else if is_query(selector.invert()) {
        Err(InvalidReason::IcmpUnsolicited)
    } else {
        Err(InvalidReason::IcmpType)
    }
}

/// Query and answer alike refresh it. In classic days the answer was the end of it.
pub fn update(context: Context<'_>, packet: Packet<'_>, direction: Direction) -> Update {
    match (context.settings.preset, direction) {
        (Preset::Classic, Direction::Reply) => Update::End,
        _ => Update::Refresh { timeout_ms: timeout_ms(context, packet) },
    }
}

pub(super) fn is_query(selector: Selector) -> bool {
    let [kind, _code] = selector.dport().to_be_bytes();
    icmp_type::class(selector.family(), kind) == Class::Query
}

fn timeout_ms(context: Context<'_>, packet: Packet<'_>) -> u32 {
    let timeouts = &context.settings.timeouts;
    if packet.headers.protocol == protocol::ICMPV6 { timeouts.icmpv6_ms } else { timeouts.icmp_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;
    use crate::settings::Settings;
    use crate::time::Tick;
    use crate::tuple::{Family, Tuple};

    fn headers(family: Family, kind: u8, code: u8) -> Headers {
        let protocol = if family == Family::V4 { protocol::ICMP } else { protocol::ICMPV6 };
        let selector = Selector::new(family, protocol, 0, 77, u16::from_be_bytes([kind, code]));
        Headers { tuple: Tuple { src: 1, dst: 2, selector }, protocol, ..Headers::default() }
    }

    fn settings(preset: Preset) -> Settings {
        let mut settings = Settings::of(preset, 1);
        settings.timeouts.icmpv6_ms = 31_000;
        settings
    }

    fn opened(family: Family, kind: u8, code: u8) -> Result<u32, InvalidReason> {
        let settings = settings(Preset::Linux);
        let headers = headers(family, kind, code);
        open(Context { settings: &settings, now: Tick::default() }, Packet { headers: &headers, head: &[] })
    }

    fn updated(preset: Preset, family: Family, kind: u8, direction: Direction) -> Update {
        let settings = settings(preset);
        let headers = headers(family, kind, 0);
        let context = Context { settings: &settings, now: Tick::default() };
        update(context, Packet { headers: &headers, head: &[] }, direction)
    }

    #[test]
    fn every_type_opens_is_unsolicited_or_unknown() {
        for kind in 0..=u8::MAX {
            let expected = match kind {
                8 | 13 | 15 | 17 => Ok(30_000),
                0 | 14 | 16 | 18 => Err(InvalidReason::IcmpUnsolicited),
                _ => Err(InvalidReason::IcmpType),
            };
            assert_eq!(opened(Family::V4, kind, 0), expected, "type {kind}");
            let expected = match kind {
                128 | 139 => Ok(31_000),
                129 | 140 => Err(InvalidReason::IcmpUnsolicited),
                _ => Err(InvalidReason::IcmpType),
            };
            assert_eq!(opened(Family::V6, kind, 0), expected, "v6 type {kind}");
        }
    }

    #[test]
    fn the_code_of_a_query_does_not_matter() {
        assert_eq!(opened(Family::V4, 8, 1), Ok(30_000));
        assert_eq!(opened(Family::V4, 0, 1), Err(InvalidReason::IcmpUnsolicited));
    }

    #[test]
    fn linux_is_refreshed_by_query_and_answer() {
        for (kind, direction) in [(8, Direction::Original), (0, Direction::Reply)] {
            let update = updated(Preset::Linux, Family::V4, kind, direction);
            assert_eq!(update, Update::Refresh { timeout_ms: 30_000 });
        }
        let update = updated(Preset::Linux, Family::V6, 129, Direction::Reply);
        assert_eq!(update, Update::Refresh { timeout_ms: 31_000 });
    }

    #[test]
    fn classic_ends_with_the_answer() {
        let query = updated(Preset::Classic, Family::V4, 8, Direction::Original);
        assert_eq!(query, Update::Refresh { timeout_ms: 30_000 });
        assert_eq!(updated(Preset::Classic, Family::V4, 0, Direction::Reply), Update::End);
        assert_eq!(updated(Preset::Classic, Family::V6, 129, Direction::Reply), Update::End);
    }
}
