//! Sets of numbers: addresses, ports, protocols, states, interfaces by their index. What rules look at is one such set for each
//! thing, so that rules that lie one behind the other are intersections, and what they negate are complements.

/// A set of numbers, as ranges in ascending order with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NumberSet(Vec<(u128, u128)>);

impl NumberSet {
    /// The set of one.
    pub(super) fn one(number: u128) -> NumberSet {
        NumberSet::range(number, number)
    }

    /// All from the first to the last; none if the last is below the first.
    pub(super) fn range(first: u128, last: u128) -> NumberSet {
        NumberSet::of_ranges(vec![(first, last)])
    }

    /// All of all ranges.
    pub(super) fn of_ranges(mut ranges: Vec<(u128, u128)>) -> NumberSet {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        NumberSet(joined)
    }

    /// Those from 0 to `max` that are not in it.
    pub(super) fn complement(&self, max: u128) -> NumberSet {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut next = Some(0);
        for (first, last) in &self.0 {
            if let (Some(start), Some(end)) = (next, first.checked_sub(1)) {
                gaps.push((start, end.min(max)));
            }
            next = last.checked_add(1);
        }
        gaps.extend(next.map(|start| (start, max)));
        NumberSet::of_ranges(gaps)
    }

    /// Those that are in both.
    pub(super) fn intersection(&self, other: &NumberSet) -> NumberSet {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut common = Vec::new();
        while let (Some((first, last)), Some((start, end))) = (ours.peek(), theirs.peek()) {
            common.push((*first.max(start), *last.min(end)));
            if last < end {
                ours.next()
            } else {
                theirs.next()
            };
        }
        NumberSet::of_ranges(common)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a number is in it.
    pub(super) fn contains(&self, number: u128) -> bool {
        self.0.iter().any(|(first, last)| (first..=last).contains(&&number))
    }

    /// Its ranges.
    pub(super) fn ranges(&self) -> &[(u128, u128)] {
        &self.0
    }

    /// Its numbers up to `max`, one by one.
    pub(super) fn numbers(&self, max: u128) -> impl Iterator<Item = u128> + '_ {
        self.0.iter().flat_map(move |(first, last)| *first..=(*last).min(max))
    }
}

impl FromIterator<u128> for NumberSet {
    fn from_iter<I: IntoIterator<Item = u128>>(numbers: I) -> NumberSet {
        NumberSet::of_ranges(numbers.into_iter().map(|number| (number, number)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u128 = 20;

    /// Some set of small numbers, by the bits of a number.
    fn of_bits(bits: u32) -> NumberSet {
        (0..=MAX).filter(|number| bits >> number & 1 == 1).collect()
    }

    #[test]
    fn sets_are_what_they_are_number_by_number() {
        let mut bits = 1_u32;
        for _ in 0..500 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (one, other) = (of_bits(bits >> 4), of_bits(bits.rotate_left(13) >> 3));
            let (both, rest) = (one.intersection(&other), one.complement(MAX));
            for number in 0..=MAX {
                assert_eq!(both.contains(number), one.contains(number) && other.contains(number));
                assert_eq!(rest.contains(number), !one.contains(number));
            }
            assert_eq!(rest.complement(MAX), one);
            assert_eq!(one.numbers(MAX).collect::<NumberSet>(), one);
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let all = NumberSet::default().complement(u128::MAX);
        assert_eq!(all.ranges(), [(0, u128::MAX)]);
        assert!(all.complement(u128::MAX).is_empty());
        assert_eq!(NumberSet::one(u128::MAX).complement(u128::MAX).ranges(), [(0, u128::MAX - 1)]);
    }
}
