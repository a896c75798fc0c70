//! Records of connections that clients have saved, a few pages of the table at a time, and loaded, a few records at a time.

use sluice_conntrack::replica::{Installed, Installing, NotInstalled, Origin, Record};
use sluice_conntrack::{ShardId, Steering, Tuple};
use sluice_engine::command::{Answer, Command, ToInstall, Unanswered};
use sluice_engine::report::PAGE;

use super::entries::is_agreed;
use super::listings::pages;
use super::snapshot::export;
use super::workers::Workers;
use crate::socket::Packed;
use crate::socket::protocol::{Cursor, NotLoaded, Response};

/// Records of connections from a position in the table on, as many as a few pages hold.
pub fn save(workers: &mut Workers, from: Cursor) -> Result<Response, Unanswered> {
    let mut records = Vec::new();
    let next = pages(workers, export, from, |_, page| {
        records.push(Packed::of(page));
        Ok(())
    })?;
    Ok(Response::Saved { records, next })
}

/// Does what records say, each in its order. Those of connections that `is_standby` for are refused: another box has them.
pub fn load(
    workers: &mut Workers,
    packed: &Packed,
    is_standby: impl Fn(&[Tuple; 2]) -> bool,
) -> Result<Response, Unanswered> {
    let records = match packed.records() {
        Ok(records) if records.len() <= PAGE => records,
        Ok(_) => return Ok(refused(&format!("at most {PAGE} records are loaded at a time"))),
        Err(why) => return Ok(refused(&why.to_string())),
    };
    let Some(steering) = Steering::new(ShardId(0), workers.count()) else { return Err(Unanswered::Gone) };
    let mut not_loaded = Vec::new();
    let mut lists: Vec<Vec<(usize, Installing)>> = vec![Vec::new(); usize::from(workers.count())];
    for (number, record) in records.into_iter().enumerate() {
        let why = match record {
            Ok(Record::End(_)) => "it says that a connection has ended".to_owned(),
            Ok(record) if is_standby(&record.tuples()) => "this box stands by for its group".to_owned(),
            Ok(record) => {
                let owner = steering.owner(&record.tuples()[0]);
                let installing = Installing { record, origin: Origin::Own, is_delegated: false };
                lists[usize::from(owner.0)].push((number, installing));
                continue;
            }
            Err(why) => why.to_string(),
        };
        not_loaded.push(NotLoaded { number, why });
    }
    // What one worker gives to another, that one does.
    while let Some(shard) = lists.iter().position(|list| !list.is_empty()) {
        let (numbers, list): (Vec<usize>, Vec<Installing>) =
            std::mem::take(&mut lists[shard]).into_iter().unzip();
        for (number, (installing, became)) in numbers.into_iter().zip(install(workers, shard as u16, list)?) {
            match became {
                Some(Ok(Installed::Delegated(home))) if !installing.is_delegated => {
                    lists[usize::from(home.0)]
                        .push((number, Installing { is_delegated: true, ..installing }));
                }
                Some(Ok(Installed::Here)) => {
                    let [original, reply] = installing.record.tuples();
                    let is_claimed = matches!(installing.record, Record::State(_))
                        && usize::from(steering.owner(&reply).0) != shard;
                    if is_claimed && !is_agreed(workers, &original)? {
                        not_loaded.push(NotLoaded { number, why: NotInstalled::Exists.to_string() });
                    }
                }
                Some(Err(why)) => not_loaded.push(NotLoaded { number, why: why.to_string() }),
                Some(Ok(Installed::Delegated(_))) | None => return Err(Unanswered::Late),
            }
        }
    }
    not_loaded.sort_by_key(|it| it.number);
    Ok(Response::Loaded { not_loaded })
}

fn refused(message: &str) -> Response {
    Response::Error { message: message.to_owned() }
}

/// Has a worker do what records say; gives them with what became of each.
fn install(
    workers: &mut Workers,
    shard: u16,
    records: Vec<Installing>,
) -> Result<Vec<ToInstall>, Unanswered> {
    let list = records.into_iter().map(|installing| (installing, None)).collect();
    let installed = workers.ask_one(shard, Command::Install(list), |answer| match answer {
        Answer::Installed(list) => Some(list),
        _ => None,
    });
    installed.unwrap_or(Err(Unanswered::Gone))
}
