//! What becomes of the rounds of a measurement.

use std::ops::RangeInclusive;

use anyhow::bail;

/// The part of the new connections over which their rate is taken, in tenths: the upcalls are at the begin.
const MEASURED_TENTHS: RangeInclusive<u64> = 1..=9;

/// The middle of the figures, or the mean of the two in the middle; none of none.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Each figure as a multiple of the one at the same index.
pub fn ratios(figures: &[f64], to: &[f64]) -> Vec<f64> {
    figures.iter().zip(to).map(|(figure, to)| figure / to).collect()
}

/// How many times as fast a packet is as another's, each less the time that the roofline takes for one: all three are rates, and figures at the
/// same index belong together.
pub fn net_ratios(rates: &[f64], to: &[f64], roofline: &[f64]) -> Vec<f64> {
    let net = |rate: f64, roofline: f64| 1.0 / rate - 1.0 / roofline;
    let ratio = |((rate, to), roofline): ((&f64, &f64), &f64)| net(*to, *roofline) / net(*rate, *roofline);
    rates.iter().zip(to).zip(roofline).map(ratio).collect()
}

/// How fast the count of `samples` (seconds, count) grew over the measured part of `connections`.
pub fn rate_of_growth(samples: &[(f64, u64)], connections: u64) -> anyhow::Result<f64> {
    let part = connections * MEASURED_TENTHS.start() / 10..=connections * MEASURED_TENTHS.end() / 10;
    let mut measured = samples.iter().filter(|(_, count)| part.contains(count));
    match (measured.next(), measured.next_back()) {
        (Some((begin_s, first)), Some((end_s, last))) if last > first => {
            Ok((last - first) as f64 / (end_s - begin_s))
        }
        _ => bail!(
            "the table was full before it could be watched: more connections are needed than {connections}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        assert_eq!(ratios(&[8.0, 9.0], &[2.0, 3.0]), [4.0, 3.0]);
    }

    #[test]
    fn what_both_have_is_taken_off_both() {
        let [ratio] = net_ratios(&[5.0], &[1.0], &[10.0])[..] else { panic!() };
        assert!((ratio - 9.0).abs() < 1e-9, "0.9 s to 0.1 s: {ratio}");
    }

    #[test]
    fn the_rate_leaves_both_ends_out() {
        let samples = [(0.0, 0), (0.5, 50), (0.6, 100), (0.7, 500), (0.8, 900), (3.0, 1000)];
        let rate = rate_of_growth(&samples, 1000).unwrap();
        assert!((rate - 4000.0).abs() < 1e-6, "{rate}");
    }

    #[test]
    fn too_few_samples_are_no_rate() {
        assert!(rate_of_growth(&[(0.0, 0), (1.0, 1000)], 1000).is_err());
        assert!(rate_of_growth(&[(0.0, 0), (0.5, 500), (1.0, 1000)], 1000).is_err());
    }
}
