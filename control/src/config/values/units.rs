//! Scalars with units: durations, counts, sizes.

use std::fmt;
use std::str::FromStr;

use super::scalar::scalars;

scalars! {
    Seconds: ["string", "integer"], "a duration such as 90s, 2m, 1h30m or 5d (a plain number is seconds)";
    Count: ["string", "integer"], "a count such as 65536, 500K or 4M (K, M, G are powers of 1000; Ki, Mi, Gi of 1024)";
    Percent: "string", "a part of a hundred such as 50%";
    Size: ["string", "integer"], "a size such as 512M or 1G (bytes; K, M, G are powers of 1024)";
}

/// So many hundredths, 100 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Percent, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
        match number {
            Some(percent @ 1..=100) => Ok(Percent(percent)),
            _ => Err(format!("`{text}` is not a part of a hundred")),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A duration in whole seconds, the resolution of every timeout of connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

const TIME_UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seconds, String> {
        let wrong = || format!("`{text}` is not a duration");
        let mut total = 0u64;
        let mut rest = text;
        while !rest.is_empty() {
            let (number, after) = leading_number(rest).ok_or_else(wrong)?;
            let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_len);
            let scale = match unit {
                "" if rest.len() == text.len() => 1, // a plain number, and nothing else
                _ => TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1,
            };
            total = number
                .checked_mul(scale)
                .and_then(|seconds| total.checked_add(seconds))
                .ok_or_else(|| format!("`{text}` is too long a duration"))?;
            rest = next;
        }
        if text.is_empty() {
            return Err(wrong());
        }
        u32::try_from(total).map(Seconds).map_err(|_| format!("`{text}` is too long a duration"))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = u64::from(self.0);
        for (unit, scale) in &TIME_UNITS[1..] {
            if rest >= *scale {
                write!(f, "{}{unit}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

/// A number of things. The suffixes K, M and G are powers of 1000, as people count connections; Ki, Mi and Gi
/// are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Count, String> {
        const UNITS: [(&str, u64); 7] = [
            ("", 1),
            ("K", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("Ki", 1 << 10),
            ("Mi", 1 << 20),
            ("Gi", 1 << 30),
        ];
        with_suffix(text, &UNITS).map(Count).ok_or_else(|| format!("`{text}` is not a count"))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n % 1_000_000 == 0 => write!(f, "{}M", n / 1_000_000),
            n => write!(f, "{n}"),
        }
    }
}

/// An amount of memory in bytes. The suffixes are powers of 1024, as in the kernel's `hugepagesz=1G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("", 1)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        with_suffix(text, &SIZE_UNITS).map(Size).ok_or_else(|| format!("`{text}` is not a size"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS.iter().find(|(_, scale)| self.0 > 0 && self.0.is_multiple_of(*scale));
        let (unit, scale) = exact.unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

fn with_suffix(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, suffix) = leading_number(text)?;
    let (_, scale) = units.iter().find(|(unit, _)| *unit == suffix)?;
    number.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        for (text, seconds) in [
            ("0", 0),
            ("30", 30),
            ("90s", 90),
            ("2m", 120),
            ("1h30m", 5_400),
            ("5d", 432_000),
            ("1w", 604_800),
        ] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        assert_eq!(Seconds(432_000).to_string(), "5d");
        assert_eq!(Seconds(90).to_string(), "1m30s");
        for text in ["", "d", "5x", "-3", "1.5h", "5 d", "30s15", "1m30", "99999999999999999999", "200000d"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }

    #[test]
    fn parts_of_a_hundred_are_from_1_to_100() {
        assert_eq!("50%".parse(), Ok(Percent(50)));
        assert_eq!(Percent(100).to_string(), "100%");
        for text in ["", "%", "0%", "101%", "50", "-1%", "1.5%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_duration_survives_a_round_trip() {
        for seconds in (0..2_000_000).step_by(7).chain([u32::MAX]) {
            assert_eq!(Seconds(seconds).to_string().parse(), Ok(Seconds(seconds)));
        }
    }

    #[test]
    fn counts_are_decimal_and_sizes_binary() {
        assert_eq!("4M".parse(), Ok(Count(4_000_000)));
        assert_eq!("4Mi".parse(), Ok(Count(4 << 20)));
        assert_eq!("65536".parse(), Ok(Count(65_536)));
        assert_eq!("1G".parse(), Ok(Size(1 << 30)));
        assert_eq!(Size(512 << 20).to_string(), "512M");
        assert_eq!(Count(4_000_000).to_string(), "4M");
        for text in ["", "M", "4 M", "4MB", "-1", "1.5M", "99999999999G"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }
}
