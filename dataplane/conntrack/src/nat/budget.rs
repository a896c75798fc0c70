//! What one packet may cost while a reply tuple is sought for its connection.
//!
//! A probe asks the index whether a tuple is taken, which is a cache line or two. Where every port of every address leads to the
//! same server already, a search could go on through all of them; it ends with its budget, and the client's next connection
//! goes on from another port.

/// Probes that a connection may take, whatever it has to choose from.
const MAX_PROBES: u64 = 128;

/// Probes that it may take again, each time that another shard has refused what was found.
const PROBES_AGAIN: u64 = 64;

/// Probes that each address may take at least, as long as there are any.
const LEAST_OF_ADDRESS: u64 = 4;

/// How often a connection is bound before it is given up: as often as there are addresses to try.
pub(crate) const MAX_BINDINGS: u8 = 16;

/// What is left to be spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: u64,
    /// What is kept for the addresses behind this one.
    reserved: u64,
    /// Whether the connection is given up if what is found is refused, too.
    pub(super) is_last: bool,
}

impl Budget {
    /// That of a connection whose reply tuple was refused so many times.
    pub(super) fn new(refused: u8) -> Self {
        let left = if refused == 0 { MAX_PROBES } else { PROBES_AGAIN };
        Self { left, reserved: 0, is_last: refused + 1 >= MAX_BINDINGS }
    }

    /// Gives the next address its part, the same as to those that come after it: so many with this one.
    pub(super) fn share_among(&mut self, addresses: u64) {
        let part = self.left.div_ceil(addresses.max(1)).max(LEAST_OF_ADDRESS);
        self.reserved = self.left.saturating_sub(part);
    }

    /// Spends a probe. False where the address has none left.
    pub(super) const fn spend(&mut self) -> bool {
        let may = self.left > self.reserved;
        if may {
            self.left -= 1;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of so many addresses may spend.
    fn shares(refused: u8, addresses: u64) -> Vec<u64> {
        let mut budget = Budget::new(refused);
        let spend = |step| {
            budget.share_among(addresses - step);
            std::iter::repeat_with(|| budget.spend()).take_while(|may| *may).count() as u64
        };
        (0..addresses).map(spend).collect()
    }

    #[test]
    fn addresses_share_the_probes_of_a_packet() {
        assert_eq!(shares(0, 1), [128]);
        assert_eq!(shares(0, 16), [8; 16]);
        assert_eq!(shares(0, 3), [43, 43, 42]);
        assert_eq!(shares(9, 32)[..17], [[4; 16].as_slice(), &[0]].concat());
    }

    #[test]
    fn what_an_address_leaves_is_for_those_behind_it() {
        let mut budget = Budget::new(0);
        budget.share_among(2);
        assert!(budget.spend());
        budget.share_among(1);
        assert_eq!(std::iter::repeat_with(|| budget.spend()).take_while(|may| *may).count(), 127);
        assert!(!budget.spend());
    }

    #[test]
    fn a_connection_is_given_up_in_the_end() {
        let last: Vec<u8> = (0..MAX_BINDINGS).filter(|refused| Budget::new(*refused).is_last).collect();
        assert_eq!(last, [MAX_BINDINGS - 1]);
    }
}
