//! What several rules say.

use crate::config::nearest::nearest;
use crate::config::path::{Path, Problem};
use crate::config::schema::Config;
use crate::config::values::List;

/// A name that no interface has.
pub(crate) fn no_interface(name: &str, config: &Config, path: Path) -> Problem {
    let names: Vec<&str> = config.interfaces.keys().map(String::as_str).collect();
    let help = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the interfaces are: {}", names.join(", ")),
    };
    Problem::at(path, format!("there is no interface `{name}`")).help(Some(help))
}

/// The place of an element of a list that may be written as one value.
pub(super) fn element<T>(list: &List<T>, path: Path, index: usize) -> Path {
    if list.iter().len() > 1 { path.join(index) } else { path }
}

/// An address as a number.
pub(super) fn number(address: std::net::IpAddr) -> u128 {
    match address {
        std::net::IpAddr::V4(v4) => u128::from(v4.to_bits()),
        std::net::IpAddr::V6(v6) => v6.to_bits(),
    }
}
