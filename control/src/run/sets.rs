//! Named sets, changed while packets flow: what is made of a change, however large the set, is made on a thread of its own, and all
//! workers take it between two bursts. Changes that come meanwhile are made together, one behind the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use ipnet::IpNet;

use super::Event;
use super::background::{Background, Work};
use crate::config::{self, AddressSet, Config, Elements, LoweredRules, Prefix, Unread};
use crate::socket::protocol::{Response, SetChange, SetSummary};

/// Prefixes in one answer.
const PREFIXES_PER_ANSWER: usize = 4096;

/// A change that was asked for, and who waits for it.
#[derive(Debug)]
struct Asked {
    name: String,
    change: SetChange,
    asker: SyncSender<Response>,
}

/// What was made of changes.
pub struct Made {
    /// The sets with them.
    pub sets: BTreeMap<String, AddressSet>,
    /// The rules that look for addresses in those.
    pub rules: LoweredRules,
    /// What each of who wait is answered once it is in force.
    answers: Vec<Response>,
}

/// Changes that were asked for.
pub struct SetChanges {
    events: SyncSender<Event>,
    next: VecDeque<Asked>,
    making: Option<Making>,
}

/// Changes that are being made.
struct Making {
    asked: Vec<Asked>,
    work: Background<Result<Made, String>>,
    /// The revision of the configuration that they are for.
    revision: u64,
}

impl SetChanges {
    /// None yet.
    pub fn new(events: SyncSender<Event>) -> SetChanges {
        SetChanges { events, next: VecDeque::new(), making: None }
    }

    /// Wants one.
    pub fn ask(&mut self, name: String, change: SetChange, asker: SyncSender<Response>) {
        self.next.push_back(Asked { name, change, asker });
    }

    /// Begins to make what was asked for, if nothing is being made.
    pub fn go_on(&mut self, config: &Config, revision: u64) {
        if self.making.is_some() || self.next.is_empty() {
            return;
        }
        let asked: Vec<Asked> = mem::take(&mut self.next).into();
        let changes: Vec<_> = asked.iter().map(|asked| (asked.name.clone(), asked.change.clone())).collect();
        let config = config.clone();
        match Background::start("control-sets", self.events.clone(), Work::Sets, move || {
            make(config, changes)
        }) {
            Ok(work) => self.making = Some(Making { asked, work, revision }),
            Err(why) => refuse(asked, &why.to_string()),
        }
    }

    /// What has been made for a configuration of this revision, put in force by `put`, which is told to who waits; made once more if
    /// another configuration has come in force meanwhile. To be asked behind [`Work::Sets`].
    pub fn finish(&mut self, revision: u64, put: impl FnOnce(Made) -> Result<(), String>) {
        let Some(Making { asked, work, revision: made_for }) = self.making.take() else { return };
        let made = work.join();
        if made_for != revision {
            asked.into_iter().rev().for_each(|asked| self.next.push_front(asked));
            return;
        }
        let made = made.unwrap_or_else(|| Err("making a set failed; this is a fault of sluice".to_owned()));
        let done = made.and_then(|mut made| {
            let answers = mem::take(&mut made.answers);
            put(made).map(|()| answers)
        });
        match done {
            Ok(answers) => {
                for (Asked { asker, .. }, answer) in asked.into_iter().zip(answers) {
                    // A client that has gone away wants no answer.
                    let _ = asker.send(answer);
                }
            }
            Err(why) => refuse(asked, &why),
        }
    }
}

fn refuse(asked: Vec<Asked>, why: &str) {
    for Asked { asker, .. } in asked {
        let _ = asker.send(Response::Error { message: why.to_owned() });
    }
}

/// Makes changes one by one, and the rules by which they are in force. One that cannot be made leaves its set alone.
fn make(mut config: Config, changes: Vec<(String, SetChange)>) -> Result<Made, String> {
    let mut answers = Vec::with_capacity(changes.len());
    for (name, change) in changes {
        let answer = changed(&config, &name, &change).map(|elements| {
            let before = config.sets.insert(
                name.clone(),
                AddressSet { elements: Arc::new(elements), ..config.sets[&name].clone() },
            );
            let before = before.unwrap_or_default().elements;
            let now = &config.sets[&name].elements;
            let only = |one: &Elements, other: &Elements| {
                one.list().iter().filter(|prefix| !other.has(prefix)).count() as u64
            };
            let (added, deleted) = (only(now, &before), only(&before, now));
            Response::SetChanged { set: name.clone(), added, deleted, prefixes: now.list().len() as u64 }
        });
        answers.push(answer.unwrap_or_else(|message| Response::Error { message }));
    }
    let rules = config::lower_rules(&config).map_err(|problem| problem.message)?;
    Ok(Made { sets: config.sets, rules, answers })
}

/// What a change makes of a set.
fn changed(config: &Config, name: &str, change: &SetChange) -> Result<Elements, String> {
    let set = config.sets.get(name).ok_or_else(|| no_set(config, name))?;
    let before = set.elements.list().iter().copied();
    let nets = |prefixes: &[Prefix]| prefixes.iter().map(|prefix| prefix.0).collect::<Vec<IpNet>>();
    let elements: Elements = match change {
        SetChange::Add(prefixes) => before.chain(nets(prefixes)).collect(),
        SetChange::Delete(prefixes) => {
            let gone = BTreeSet::from_iter(nets(prefixes));
            if let Some(missing) = gone.iter().find(|prefix| !set.elements.has(prefix)) {
                return Err(format!("{} is not in the set {name}", Prefix(*missing)));
            }
            before.filter(|prefix| !gone.contains(prefix)).collect()
        }
        SetChange::Replace(file) if !file.is_absolute() => {
            return Err(format!("{}: a path from the root is needed", file.display()));
        }
        SetChange::Replace(file) => {
            let read = config::read_set_file(file).map_err(|unread| match unread {
                Unread::File(why) => why,
                Unread::Lines(error) => error.to_string(),
            });
            read?.into_iter().collect()
        }
        SetChange::Flush => Elements::default(),
    };
    elements.check_size()?;
    Ok(elements)
}

fn no_set(config: &Config, name: &str) -> String {
    let problem = config::no_set(name, config, config::Path::root());
    let help = problem.help.map(|help| format!("; {help}")).unwrap_or_default();
    format!("{}{help}", problem.message)
}

/// The sets, in the order of their names.
pub fn list(config: &Config) -> Response {
    let summary = |(name, set): (&String, &AddressSet)| {
        let list = set.elements.list();
        let ipv4 = list.partition_point(|prefix| matches!(prefix, IpNet::V4(_)));
        SetSummary {
            set: name.clone(),
            ipv4: ipv4 as u64,
            ipv6: (list.len() - ipv4) as u64,
            memory_bytes: set.elements.memory_bytes() as u64,
            file: set.file.clone(),
        }
    };
    Response::Sets { sets: config.sets.iter().map(summary).collect() }
}

/// The prefixes of a set from a position on, as many as an answer has room for.
pub fn show(config: &Config, name: &str, from: u64) -> Response {
    let Some(set) = config.sets.get(name) else { return Response::Error { message: no_set(config, name) } };
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let rest = set.elements.list().get(from..).unwrap_or_default();
    let prefixes: Vec<Prefix> = rest.iter().take(PREFIXES_PER_ANSWER).copied().map(Prefix).collect();
    let next = (prefixes.len() < rest.len()).then_some((from + prefixes.len()) as u64);
    Response::Set { prefixes, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = "version: 1\ninterfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null1'}}\n\
            sets: {bad: {prefixes: [192.0.2.0/24, '2001:db8::/32']}, idle: {}}\n\
            policy: {rules: [{source: '@bad', action: drop}]}";
        config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn prefixes(list: &[&str]) -> Vec<Prefix> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(sets: &BTreeMap<String, AddressSet>, name: &str) -> Vec<String> {
        sets[name].elements.list().iter().map(IpNet::to_string).collect()
    }

    #[test]
    fn changes_are_made_one_behind_the_other_and_each_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list.txt");
        std::fs::write(&file, "203.0.113.0/24 # all\n").unwrap();
        let change = |name: &str, change| (name.to_owned(), change);
        let made = make(
            config(),
            vec![
                change("bad", SetChange::Add(prefixes(&["198.51.100.7", "192.0.2.0/24"]))),
                change("bad", SetChange::Delete(prefixes(&["198.51.100.7", "198.51.100.8"]))),
                change("bad", SetChange::Delete(prefixes(&["192.0.2.0/24"]))),
                change("bda", SetChange::Flush),
                change("idle", SetChange::Replace(file)),
            ],
        )
        .unwrap();
        assert_eq!(shown(&made.sets, "bad"), ["198.51.100.7/32", "2001:db8::/32"]);
        assert_eq!(shown(&made.sets, "idle"), ["203.0.113.0/24"]);
        let done = |added, deleted, prefixes, set: &str| Response::SetChanged {
            set: set.to_owned(),
            added,
            deleted,
            prefixes,
        };
        assert_eq!(made.answers[0], done(1, 0, 3, "bad"));
        assert_eq!(made.answers[2], done(0, 1, 2, "bad"));
        assert_eq!(made.answers[4], done(1, 0, 1, "idle"));
        let why = |answer: &Response| match answer {
            Response::Error { message } => message.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(why(&made.answers[1]), "198.51.100.8/32 is not in the set bad");
        assert_eq!(why(&made.answers[3]), "there is no set `bda`; did you mean `@bad`?");
    }

    #[test]
    fn a_set_is_shown_page_by_page() {
        let mut config = config();
        let many: Elements = (0..PREFIXES_PER_ANSWER as u32 + 1)
            .map(|n| IpNet::from(std::net::IpAddr::from(n.to_be_bytes())))
            .collect();
        config.sets.get_mut("idle").unwrap().elements = Arc::new(many);
        let page = |from| match show(&config, "idle", from) {
            Response::Set { prefixes, next } => (prefixes.len(), next),
            other => panic!("{other:?}"),
        };
        assert_eq!(page(0), (PREFIXES_PER_ANSWER, Some(PREFIXES_PER_ANSWER as u64)));
        assert_eq!((page(PREFIXES_PER_ANSWER as u64), page(u64::MAX)), ((1, None), (0, None)));
        let Response::Sets { sets } = list(&config) else { panic!() };
        let numbers: Vec<_> = sets.iter().map(|set| (set.set.as_str(), set.ipv4, set.ipv6)).collect();
        assert_eq!(numbers, [("bad", 1, 1), ("idle", PREFIXES_PER_ANSWER as u64 + 1, 0)]);
        assert!(sets.iter().all(|set| set.memory_bytes > 0));
    }
}
