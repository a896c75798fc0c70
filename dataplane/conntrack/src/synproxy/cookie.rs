//! The cookie: the first sequence number of a SYN/ACK, by which the box knows its client again (RFC 4987 section 3.6).
//!
//! ```text
//!   bits 31-30   29-27   26-23    22     21-0
//!       time     MSS     wscale   SACK   keyed hash of all that, the tuple, and the client's first number
//! ```
//!
//! All 32 bits are hidden under another keyed hash of tuple and number, so that nobody can tell a connection's numbers (RFC 6528).
//! A guess is good once in 2^23. Time is counted in steps of 64 s, and a cookie is good in its step and in the next one.

use super::ClientOffer;
use crate::time::Instant;
use crate::tuple::Tuple;
use siphasher::sip::SipHasher24;

/// How long a step of time is.
const STEP_S: u64 = 64;
/// Maximum segment sizes that a cookie tells apart: those of tunnels, Ethernet and jumbo frames. A client that takes
/// segments of another size gets those of the next smaller one.
const SIZES: [u16; 8] = [216, 536, 1220, 1360, 1400, 1440, 1460, 8960];
/// In the place of a window scale: there is none.
const NO_SCALE: u32 = 15;

const HASH_BITS: u32 = 22;

/// Makes cookies, and knows them again.
#[derive(Clone, Debug)]
pub(crate) struct Cookies {
    hasher: SipHasher24,
}

impl Cookies {
    /// Those of a key, which must be random and secret outside of tests.
    pub(crate) fn new([a, b, c, d]: [u64; 4]) -> Self {
        // The key is not of cookies alone.
        let own =
            |word: u64| SipHasher24::new_with_keys(a, b).hash(&[c, d, word].map(u64::to_be_bytes).concat());
        Self { hasher: SipHasher24::new_with_keys(own(0), own(1)) }
    }

    /// The cookie for a client that has begun with this number.
    pub(crate) fn make(&self, now: Instant, tuple: &Tuple, isn: u32, offer: &ClientOffer) -> u32 {
        let step = now.as_secs() / STEP_S;
        let size = SIZES.iter().rposition(|size| *size <= offer.mss).unwrap_or_default() as u32;
        let wscale = offer.wscale.map_or(NO_SCALE, |wscale| u32::from(wscale).min(NO_SCALE - 1));
        let said = (step as u32 & 3) << 8 | size << 5 | wscale << 1 | u32::from(offer.sack_perm);
        let plain = said << HASH_BITS | self.proof(tuple, isn, step, said);
        plain ^ self.cover(tuple, isn)
    }

    /// What the client has offered that has begun with this number and got this cookie; `None` where it did not, or too long ago.
    pub(crate) fn open(&self, now: Instant, tuple: &Tuple, isn: u32, cookie: u32) -> Option<ClientOffer> {
        let plain = cookie ^ self.cover(tuple, isn);
        let said = plain >> HASH_BITS;
        let this = now.as_secs() / STEP_S;
        let age = (this as u32).wrapping_sub(said >> 8) & 3;
        let step = this.checked_sub(u64::from(age)).filter(|_| age <= 1)?;
        let is_good = plain & ((1 << HASH_BITS) - 1) == self.proof(tuple, isn, step, said);
        is_good.then(|| {
            let wscale = said >> 1 & 15;
            ClientOffer {
                mss: SIZES[said as usize >> 5 & 7],
                wscale: (wscale != NO_SCALE).then_some(wscale as u8),
                sack_perm: said & 1 != 0,
            }
        })
    }

    fn cover(&self, tuple: &Tuple, isn: u32) -> u32 {
        self.hash(tuple, isn, [0, 0]) as u32
    }

    fn proof(&self, tuple: &Tuple, isn: u32, step: u64, said: u32) -> u32 {
        // No other hash is of steps that begin with one.
        self.hash(tuple, isn, [step + 1, said.into()]) as u32 & ((1 << HASH_BITS) - 1)
    }

    fn hash(&self, tuple: &Tuple, isn: u32, [step, said]: [u64; 2]) -> u64 {
        let mut bytes = [0; 56];
        bytes[..16].copy_from_slice(&tuple.src.to_be_bytes());
        bytes[16..32].copy_from_slice(&tuple.dst.to_be_bytes());
        bytes[32..36].copy_from_slice(&tuple.selector.ports().to_be_bytes());
        bytes[36..40].copy_from_slice(&isn.to_be_bytes());
        bytes[40..48].copy_from_slice(&step.to_be_bytes());
        bytes[48..].copy_from_slice(&said.to_be_bytes());
        self.hasher.hash(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const OFFER: ClientOffer = ClientOffer { mss: 1460, wscale: Some(7), sack_perm: true };

    fn tuple(sport: u16) -> Tuple {
        Tuple::new([192, 0, 2, 1].into(), [198, 51, 100, 2].into(), 6, sport, 80)
    }

    fn at(secs: u64) -> Instant {
        Instant::from_ns(0).after(Duration::from_secs(secs))
    }

    #[test]
    fn a_cookie_keeps_what_the_client_offered() {
        let cookies = Cookies::new([1, 2, 3, 4]);
        for (mss, kept) in [(0, 216), (536, 536), (1300, 1220), (1459, 1440), (1460, 1460), (9000, 8960)] {
            for wscale in [None, Some(0), Some(7), Some(14)] {
                for sack_perm in [false, true] {
                    let cookie = cookies.make(at(0), &tuple(1), 77, &ClientOffer { mss, wscale, sack_perm });
                    let kept = ClientOffer { mss: kept, wscale, sack_perm };
                    assert_eq!(cookies.open(at(0), &tuple(1), 77, cookie), Some(kept));
                }
            }
        }
    }

    #[test]
    fn it_is_good_for_a_minute_and_for_two_at_most() {
        let cookies = Cookies::new([1, 2, 3, 4]);
        for made in [0, 63, 64, 1000] {
            let cookie = cookies.make(at(made), &tuple(1), 77, &OFFER);
            let is_good = |after| cookies.open(at(made + after), &tuple(1), 77, cookie).is_some();
            assert!((0..=64).all(is_good), "made at {made} s");
            assert!((128..600).filter(|after| is_good(*after)).count() == 0, "made at {made} s");
        }
    }

    #[test]
    fn it_is_good_for_its_client_alone_and_by_its_key() {
        let (cookies, others) = (Cookies::new([1, 2, 3, 4]), Cookies::new([1, 2, 3, 5]));
        let cookie = cookies.make(at(0), &tuple(1), 77, &OFFER);
        assert_eq!(cookies.open(at(0), &tuple(2), 77, cookie), None);
        assert_eq!(cookies.open(at(0), &tuple(1), 78, cookie), None);
        assert_eq!(others.open(at(0), &tuple(1), 77, cookie), None);
        assert!((0..32).all(|bit| cookies.open(at(0), &tuple(1), 77, cookie ^ 1 << bit).is_none()));
    }

    #[test]
    fn a_guess_is_rarely_good_and_numbers_of_neighbours_tell_nothing() {
        let cookies = Cookies::new([1, 2, 3, 4]);
        let good = (0..1 << 20).filter(|guess| cookies.open(at(100), &tuple(1), 77, guess << 12).is_some());
        assert!(good.count() <= 2);
        let all: Vec<u32> = (0..256).map(|sport| cookies.make(at(0), &tuple(sport), 77, &OFFER)).collect();
        for bit in 0..32 {
            let ones = all.iter().filter(|cookie| **cookie >> bit & 1 == 1).count();
            assert!((80..176).contains(&ones), "bit {bit} is one of {ones}");
        }
    }
}
