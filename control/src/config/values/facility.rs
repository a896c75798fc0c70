//! As whose messages of syslog are filed.

use std::fmt;
use std::str::FromStr;

use super::scalar::scalars;

scalars! {
    Facility: "string", "a facility of syslog: daemon, user, auth, authpriv or local0 to local7";
}

/// A facility (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

const FACILITIES: [(&str, u8); 12] = [
    ("user", 1),
    ("daemon", 3),
    ("auth", 4),
    ("authpriv", 10),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl Facility {
    /// `daemon`.
    pub const DAEMON: Facility = Facility(3);

    /// Its number in messages.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Facility {
    type Err = String;

    fn from_str(text: &str) -> Result<Facility, String> {
        let found = FACILITIES.iter().find(|(name, _)| *name == text);
        found.map(|(_, number)| Facility(*number)).ok_or_else(|| format!("`{text}` is not a facility"))
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FACILITIES.iter().find(|(_, number)| *number == self.0).map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_the_numbers_of_rfc_5424() {
        assert_eq!("local7".parse::<Facility>().map(Facility::number), Ok(23));
        assert_eq!(Facility::DAEMON.to_string(), "daemon");
        assert!("local8".parse::<Facility>().is_err());
    }
}
