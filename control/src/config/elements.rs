//! What is in a named set: the prefixes that the configuration lists, and those of a file, which are read together with it.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use sluice_conntrack::policy::AddressSet;

use super::error::{ConfigError, Finding, MAX_FINDINGS};
use super::values::Prefix;

/// Most prefixes of a set.
const MAX_ELEMENTS: usize = 1 << 21;

/// As many of them as there may be, with a comment behind each.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// The prefixes of a set, in order, each once.
#[derive(Debug, Default)]
pub struct Elements {
    list: Vec<IpNet>,
    /// As shards look for addresses in it.
    lowered: OnceLock<Arc<AddressSet>>,
}

impl PartialEq for Elements {
    fn eq(&self, other: &Elements) -> bool {
        self.list == other.list
    }
}

impl FromIterator<IpNet> for Elements {
    fn from_iter<I: IntoIterator<Item = IpNet>>(prefixes: I) -> Elements {
        let mut list: Vec<IpNet> = prefixes.into_iter().collect();
        list.sort_unstable();
        list.dedup();
        Elements { list, lowered: OnceLock::new() }
    }
}

impl Elements {
    /// The prefixes, in order: IPv4 before IPv6.
    pub fn list(&self) -> &[IpNet] {
        &self.list
    }

    /// Whether a prefix is one of them.
    pub fn has(&self, prefix: &IpNet) -> bool {
        self.list.binary_search(prefix).is_ok()
    }

    /// Bytes of memory that they take, as they are listed and, if any rule does, as they are looked for.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.list.as_slice()) + self.lowered.get().map_or(0, |set| set.memory_bytes())
    }

    /// Whether a set may have so many.
    ///
    /// # Errors
    /// It may not.
    pub fn check_size(&self) -> Result<(), String> {
        match self.list.len() > MAX_ELEMENTS {
            true => {
                Err(format!("the set has {} prefixes, of which it may have {MAX_ELEMENTS}", self.list.len()))
            }
            false => Ok(()),
        }
    }

    /// As shards look for addresses in it: made when it is first asked for.
    pub fn lowered(&self) -> Arc<AddressSet> {
        let make = || Arc::new(AddressSet::new(self.list.iter().map(|net| (&Prefix(*net)).into())));
        Arc::clone(self.lowered.get_or_init(make))
    }
}

/// Why a file gives no prefixes.
#[derive(Debug)]
pub enum Unread {
    /// It cannot be read, or is no file of text.
    File(String),
    /// What is wrong in it.
    Lines(Box<ConfigError>),
}

/// Reads the prefixes of a file, one a line.
///
/// # Errors
/// The file cannot be read, or has lines that are none.
pub fn read_file(path: &Path) -> Result<Vec<IpNet>, Unread> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|why| Unread::File(format!("cannot read {name}: {why}")))?;
    parse(&name, &text).map_err(|error| Unread::Lines(Box::new(error)))
}

/// A pipe or a device would keep the reader waiting, or never end.
fn read_text(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The prefixes of such a text; `name` is what its errors call it.
fn parse(name: &str, text: &str) -> Result<Vec<IpNet>, ConfigError> {
    let (mut prefixes, mut findings) = (Vec::new(), Vec::new());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let word = line.split(['#', ';']).next().unwrap_or_default();
        let indent = word.len() - word.trim_start().len();
        let word = word.trim();
        if !word.is_empty() {
            match word.parse::<Prefix>() {
                Ok(Prefix(net)) => prefixes.push(net),
                Err(why) => findings.push(no_prefix(start + indent..start + indent + word.len(), why)),
            }
        }
        start += line.len();
        if findings.len() == MAX_FINDINGS {
            break;
        }
    }
    match findings.is_empty() {
        true => Ok(prefixes),
        false => Err(ConfigError::new(name, text, findings)),
    }
}

fn no_prefix(at: Range<usize>, why: String) -> Finding {
    let expected = "an address or a prefix, such as 198.51.100.7 or 2001:db8::/32".to_owned();
    Finding { expected: Some(expected), ..Finding::at(at, why) }
}

#[cfg(test)]
mod tests {
    use sluice_conntrack::tuple::{Family, number};

    use super::*;

    fn nets(text: &str) -> Vec<String> {
        parse("list.txt", text)
            .unwrap_or_else(|error| panic!("{error}"))
            .iter()
            .map(IpNet::to_string)
            .collect()
    }

    #[test]
    fn a_file_has_a_prefix_a_line_and_comments() {
        let text = "# a list\n192.0.2.0/24\r\n  198.51.100.7 ; SBL1\n\n2001:db8::/32 # ours\n203.0.113.9";
        assert_eq!(nets(text), ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32", "203.0.113.9/32"]);
        assert!(nets("").is_empty() && nets("\n# nothing\n").is_empty());
    }

    #[test]
    fn what_is_no_prefix_is_shown_where_it_stands() {
        let error =
            parse("list.txt", "192.0.2.1\n  192.0.2.300 # no\n10.0.0.1/8\n1.2.3.4 5.6.7.8\n").unwrap_err();
        let shown = error.to_string();
        for said in
            ["list.txt:2:3", "`192.0.2.300` is not a prefix", "list.txt:3:1", "10.0.0.0/8", "list.txt:4:1"]
        {
            assert!(shown.contains(said), "{said} in {shown}");
        }
        assert_eq!(error.findings().len(), 3);
    }

    #[test]
    fn what_is_no_file_of_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let why = |path: &Path| match read_file(path) {
            Err(Unread::File(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(directory.path()).contains("no regular file"));
        assert!(why(&directory.path().join("none")).contains("No such file"));
        assert!(why(Path::new("/dev/zero")).contains("no regular file"));
        let binary = directory.path().join("binary");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        assert!(why(&binary).contains("UTF-8"));
    }

    #[test]
    fn elements_are_in_order_and_each_once() {
        let elements: Elements = ["2001:db8::/32", "192.0.2.0/24", "10.0.0.0/8", "192.0.2.0/24"]
            .map(|net| net.parse().unwrap())
            .into_iter()
            .collect();
        let shown: Vec<String> = elements.list().iter().map(IpNet::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"]);
        assert!(
            elements.has(&"10.0.0.0/8".parse().unwrap()) && !elements.has(&"10.0.0.0/9".parse().unwrap())
        );
        let address = |text: &str| number(text.parse().unwrap());
        assert!(elements.lowered().contains(Family::V4, address("10.1.2.3")));
        assert!(!elements.lowered().contains(Family::V6, address("2001:db9::1")));
    }
}
