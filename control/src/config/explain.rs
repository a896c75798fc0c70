//! Serde's messages in the words of the person who writes the file, with the nearest valid key.

use super::nearest::nearest;
use super::path::{Path, Problem, Step};
use super::rules::refused_keys;

/// Keys of policy rules that have no place in a NAT rule.
const BEHIND_NAT: [&str; 5] = ["state", "tcp-flags", "helper", "direction", "action"];

/// Serde's phrases for what it wanted or got, and ours.
const PHRASES: [(&str, &str); 16] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number"),
    ("a boolean", "true or false"),
    ("a sequence", "a list"),
    ("a map", "a mapping"),
    ("path string", "a path"),
    ("a string", "text"),
    ("map", "a mapping"),
    ("sequence", "a list"),
    ("unit value", "nothing"),
    ("IP address", "an IP address"),
    ("socket address", "an address and port such as 127.0.0.1:9464"),
    ("invalid socket address syntax", "an address and port such as 127.0.0.1:9464"),
    ("invalid IP address syntax", "an IP address such as 203.0.113.254"),
    ("unit variant", "one of the words"),
];

/// What serde found wrong at this path.
pub(super) fn explain(path: Path, message: &str) -> Problem {
    let (what, expected) = match message.rsplit_once(", expected ") {
        Some((what, expected)) => (what, Some(expected)),
        None => (message, None),
    };
    if let Some(key) = quoted_after(what, "unknown field ") {
        return unknown_key(path, key, expected.unwrap_or(""));
    }
    if let Some(key) = missing_key(what) {
        let place = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
        return Problem::at(path, format!("{place} lacks the key `{key}`")).on_key();
    }
    if let Some(word) = quoted_after(what, "unknown variant ") {
        let words = quoted_words(expected.unwrap_or(""));
        let problem = Problem::at(path, format!("`{word}` is not known here")).expected(one_of(&words));
        return problem.help(nearest(word, &words).map(|near| format!("did you mean `{near}`?")));
    }
    if let Some((_, ours)) = PHRASES.iter().find(|(serde, _)| *serde == what) {
        return Problem::at(path, "the value has the wrong form".to_owned()).expected((*ours).to_owned());
    }
    let what = match what.split_once(": ") {
        Some(("invalid type", got)) => format!("wrong type: {}", ours(got)),
        Some(("invalid value", got)) => format!("wrong value: {}", ours(got)),
        _ => what.to_owned(),
    };
    match expected {
        Some(expected) => Problem::at(path, what).expected(ours(expected).to_owned()),
        None => Problem::at(path, what),
    }
}

/// The key that is missing, if the message says that one is.
pub(super) fn missing_key(message: &str) -> Option<&str> {
    quoted_after(message, "missing field ")
}

fn unknown_key(container: Path, key: &str, expected: &str) -> Problem {
    // Serde's path ends in the unknown key itself; a message of our own may stop before it.
    let path = if container.ends_with(key) { container } else { container.join(key) };
    if path.steps().first() == Some(&Step::from("nat")) && BEHIND_NAT.contains(&key) {
        let message = format!("a NAT rule has no `{key}`: it translates connections, by their first packet");
        return Problem::at(path, message).on_key();
    }
    let refused = refused_keys(&path);
    let keys: Vec<&str> = quoted_words(expected).into_iter().filter(|key| !refused.contains(key)).collect();
    let help = match nearest(key, &keys) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("valid keys here: {}", keys.join(", ")),
    };
    Problem::at(path, format!("unknown key `{key}`")).help(Some(help)).on_key()
}

fn ours(phrase: &str) -> &str {
    PHRASES.iter().find(|(serde, _)| *serde == phrase).map_or(phrase, |(_, ours)| ours)
}

fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The word in backquotes after this prefix.
fn quoted_after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_prefix('`')?.strip_suffix('`')
}

/// Every word in backquotes.
fn quoted_words(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use serde_yaml::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what serde says about it is of interest")]
    struct Keys {
        first: u8,
        second: Option<Word>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        One,
        Two,
    }

    fn said<T: DeserializeOwned + std::fmt::Debug>(yaml: &str) -> String {
        let value: Value = serde_yaml::from_str(yaml).unwrap();
        serde_yaml::from_value::<T>(value).unwrap_err().to_string()
    }

    fn explained<T: DeserializeOwned + std::fmt::Debug>(yaml: &str) -> (String, String) {
        let problem = explain(Path::root(), &said::<T>(yaml));
        (problem.message, problem.expected.or(problem.help).unwrap_or_default())
    }

    /// Whoever takes a new serde hears of it here if that says things otherwise.
    #[test]
    fn what_serde_says_is_understood() {
        let told = |message: &str, rest: &str| (message.to_owned(), rest.to_owned());
        assert_eq!(
            explained::<Keys>("{first: 1, secnd: one}"),
            told("unknown key `secnd`", "did you mean `second`?")
        );
        assert_eq!(explained::<Keys>("{}"), told("the file lacks the key `first`", ""));
        assert_eq!(missing_key(&said::<Keys>("{}")), Some("first"));
        assert_eq!(explained::<Word>("three"), told("`three` is not known here", "one or two"));
        assert_eq!(explained::<u8>("x"), told("wrong type: string \"x\"", "a whole number from 0 to 255"));
        assert_eq!(
            explained::<u16>("70000"),
            told("wrong value: integer `70000`", "a whole number from 0 to 65535")
        );
        assert_eq!(explained::<u32>("[]"), told("wrong type: a list", "a whole number"));
        assert_eq!(explained::<bool>("{}"), told("wrong type: a mapping", "true or false"));
        assert_eq!(explained::<Vec<u8>>("1"), told("wrong type: integer `1`", "a list"));
        assert_eq!(explained::<std::path::PathBuf>("[]"), told("wrong type: a list", "a path"));
        assert_eq!(explained::<String>("[]"), told("wrong type: a list", "text"));
        assert_eq!(explained::<std::net::IpAddr>("[]"), told("wrong type: a list", "an IP address"));
    }
}
