//! How often: packets in a while.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::scalar::scalars;

scalars! {
    Rate: "string", "a rate such as 10/s, 3/m, 100/h or 5/d (or /second, /minute, /hour, /day)";
}

/// So many in a unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: usize,
}

/// The units, short as in durations and long as nft and iptables write them.
const UNITS: [(&str, &str, u64); 4] =
    [("s", "second", 1), ("m", "minute", 60), ("h", "hour", 3_600), ("d", "day", 86_400)];

impl Rate {
    /// The time for each one. At least a microsecond, at most a day.
    pub fn interval(self) -> Duration {
        let seconds = UNITS.get(self.unit).map_or(1, |(.., seconds)| *seconds);
        Duration::from_secs(seconds) / self.count.max(1)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || format!("`{text}` is not a rate");
        let (count, name) = text.split_once('/').ok_or_else(wrong)?;
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let count = count.parse().map_err(|_| wrong())?;
        let named =
            |(short, long, _): &(&str, &str, u64)| name == *short || name == *long || name == &long[..3];
        let unit = UNITS.iter().position(named).ok_or_else(wrong)?;
        let rate = Rate { count, unit };
        match count {
            0 => Err(format!("`{text}` lets nothing through")),
            _ if rate.interval() < Duration::from_micros(1) => {
                Err(format!("`{text}` is too often to be counted"))
            }
            _ => Ok(rate),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, UNITS.get(self.unit).map_or("s", |(short, ..)| *short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_nft_and_iptables_write_them() {
        for (text, short, interval_ms) in [
            ("10/s", "10/s", 100),
            ("10/second", "10/s", 100),
            ("3/minute", "3/m", 20_000),
            ("3/min", "3/m", 20_000),
            ("6/hour", "6/h", 600_000),
            ("1/day", "1/d", 86_400_000),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string(), rate.interval().as_millis()), (short.to_owned(), interval_ms));
        }
        assert_eq!("1000000/s".parse::<Rate>().unwrap().interval(), Duration::from_micros(1));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in
            ["", "10", "/s", "10/", "10/w", "-1/s", "+1/s", "1.5/s", "10 /s", "99999999999/s", "é/s", "1/sé"]
        {
            assert!(text.parse::<Rate>().unwrap_err().contains("is not a rate"), "{text}");
        }
        assert!("0/s".parse::<Rate>().unwrap_err().contains("lets nothing through"));
        assert!("1000001/s".parse::<Rate>().unwrap_err().contains("too often"));
    }
}
