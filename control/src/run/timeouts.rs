//! Timeouts by name, as `sluice timeouts` shows and changes them. A name is the keys below `conntrack.timeouts`.

use serde_json::Value;

use crate::config::{self, Config, Seconds};
use crate::socket::protocol::Timeout;

/// All that are in force, in the order of the file.
pub fn list(config: &Config) -> Vec<Timeout> {
    let resolved = config::resolved(config.clone()).conntrack.timeouts;
    let mut timeouts = Vec::new();
    // Timeouts are plain data, so they are always valid JSON.
    collect("", &serde_json::to_value(resolved).unwrap_or_default(), &mut timeouts);
    timeouts
}

fn collect(name: &str, value: &Value, into: &mut Vec<Timeout>) {
    let below = |key: &String| if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
    match value {
        Value::Object(keys) => keys.iter().for_each(|(key, value)| collect(&below(key), value, into)),
        scalar => {
            let text = scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned);
            if let Ok(Seconds(seconds)) = text.parse() {
                into.push(Timeout { name: name.to_owned(), seconds });
            }
        }
    }
}

/// The configuration with one timeout changed.
///
/// # Errors
/// There is no such timeout, or the value is none, or out of bounds: in words for the user.
pub fn set(config: &Config, name: &str, value: &str) -> Result<Config, String> {
    if !list(config).iter().any(|timeout| timeout.name == name) {
        return Err(format!("there is no timeout `{name}`; `sluice timeouts get` shows them all"));
    }
    let Seconds(seconds) = value.parse().map_err(|why| format!("{name}: {why}"))?;
    let mut timeouts = serde_json::to_value(&config.conntrack.timeouts).map_err(|error| error.to_string())?;
    let mut found = &mut timeouts;
    for key in name.split('.') {
        found = &mut found[key];
    }
    *found = seconds.into();
    let mut changed = config.clone();
    changed.conntrack.timeouts = serde_json::from_value(timeouts).map_err(|error| error.to_string())?;
    match config::check(&changed).first() {
        None => Ok(changed),
        Some(problem) => Err(problem.message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = "{version: 1, interfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null1'}}}";
        config::parse("test", text.as_bytes()).unwrap()
    }

    fn seconds(config: &Config, name: &str) -> Option<u32> {
        list(config).into_iter().find(|timeout| timeout.name == name).map(|timeout| timeout.seconds)
    }

    #[test]
    fn the_presets_timeouts_are_listed() {
        assert_eq!(seconds(&config(), "tcp.established"), Some(432_000));
        assert_eq!(seconds(&config(), "icmp"), Some(30));
        assert_eq!(list(&config()).len(), 27);
    }

    #[test]
    fn one_changes_and_the_others_stay() {
        let before = config();
        let after =
            set(&before, "tcp.time-wait", "2m").and_then(|config| set(&config, "generic", "9")).unwrap();
        assert_eq!((seconds(&after, "tcp.time-wait"), seconds(&after, "generic")), (Some(120), Some(9)));
        let changed = |timeout: &&Timeout| seconds(&before, &timeout.name) != Some(timeout.seconds);
        assert_eq!(list(&after).iter().filter(changed).count(), 1, "time-wait has that value by default");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(set(&config(), "tcp.establish", "5").unwrap_err().contains("sluice timeouts get"));
        assert!(set(&config(), "tcp", "5").is_err());
        assert!(set(&config(), "tcp.close", "soon").unwrap_err().contains("soon"));
        assert!(set(&config(), "tcp.close", "0").unwrap_err().contains("at once"));
        assert!(set(&config(), "tcp.close", "100d").unwrap_err().contains("too long"));
    }
}
