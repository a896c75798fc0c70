//! Installing: a record becomes an entry, on the shard that its connection belongs to on this box.
//!
//! That is the owner of its original tuple, or of its mapping: to that the owner delegates it, as it does with a first packet. Where another
//! shard owns the reply tuple, that is claimed. So a record may come from a box with any number of workers.

use super::helped::Expected;
use super::record::{Connection, Record, RecordStatus};
use super::{Installed, Installing, NotInstalled, Origin};
use crate::configuration::Verify;
use crate::entry::{Entry, Status};
use crate::events::End;
use crate::expectations::{Limits, Unexpected};
use crate::groups::{GroupSet, Role};
use crate::headers::Packet;
use crate::ids::{EntryId, GroupId, ShardId};
use crate::nat::{Filtering, inside, outside};
use crate::shard::Shard;
use crate::time::{MAX_TIMEOUT, Tick};
use crate::tracker::{self, Context, tcp};
use crate::tuple::{Direction, Tuple, protocol};
use crate::unconfirmed::Unconfirmed;

impl Shard {
    /// How many connections of a group there may be while it is on standby, which those of this box leave room for.
    pub fn set_quota(&mut self, group: GroupId, quota: u32) {
        self.foreign.set_quota(group, quota);
    }

    /// How many connections peers have told of, of groups that are on standby.
    pub const fn foreign(&self) -> u32 {
        self.foreign.len()
    }

    /// How many connections of peers have ended because another shard has an entry of their reply tuple: one of this box, or of a connection
    /// that the peer has no more.
    pub const fn foreign_refused(&self) -> u64 {
        self.foreign.refused
    }

    /// A peer begins to tell of all connections of a group.
    pub fn begin_bulk(&mut self, group: GroupId) {
        self.foreign.begin_bulk(group);
    }

    /// It has come to the end: connections of which it has not told are gone, and end as [`Self::expire`] comes to them.
    pub const fn end_bulk(&mut self, group: GroupId) {
        self.foreign.end_bulk(group);
    }

    /// Does what a record says.
    ///
    /// # Errors
    /// Why its connection cannot be here.
    pub fn install(&mut self, it: &Installing) -> Result<Installed, NotInstalled> {
        let [original, _] = it.record.tuples();
        if let Origin::Peer(group) = it.origin {
            self.may_tell(group, &it.record)?;
        }
        let own = self.steering().own();
        if !it.is_delegated && self.steering().owner(&original) != own {
            return Err(NotInstalled::Elsewhere);
        }
        match &it.record {
            Record::End(tuples) => Ok(self.install_end(tuples)),
            Record::Expected(expected) => self.install_beside(it, |shard, master| {
                let Expected { wanted, is_inactive, .. } = expected;
                let done = shard.try_to_expect(master, wanted, Limits::default(), *is_inactive);
                done.map(drop).map_err(|why| match why {
                    Unexpected::Clash => NotInstalled::Exists,
                    Unexpected::Full => NotInstalled::Full,
                })
            }),
            Record::Changed(changed) => self.install_beside(it, |shard, index| {
                let is_noted = shard.install_change(index, changed);
                is_noted.then_some(()).ok_or(NotInstalled::Full)
            }),
            Record::State(connection) => {
                let connection = &self.verified(connection, it.origin)?;
                let home = self.home(connection);
                if home != own && !it.is_delegated {
                    self.exchange.delegate(&original, home).ok_or(NotInstalled::Full)?;
                    return Ok(Installed::Delegated(home));
                }
                let installed = self.install_state(connection, it);
                if it.is_delegated && !matches!(installed, Ok(true)) {
                    // There is an entry already, which has a signpost, or there is none.
                    self.exchange.release(original);
                }
                installed.map(|_| Installed::Here)
            }
        }
    }

    /// Whether a peer may tell of a connection of a group: one whose addresses are the group's, as far as they are any group's. What is
    /// translated to an address that is in none could go on with no other box.
    fn may_tell(&self, group: GroupId, record: &Record) -> Result<(), NotInstalled> {
        if self.role(group) == Role::Active {
            return Err(NotInstalled::Active);
        }
        let (groups, tuples) = (&self.configuration.groups, record.tuples());
        let is_in_none = || match record {
            // A translation may leave the address, and change the port alone.
            Record::State(Connection { original, reply, .. }) if reply.dst != original.src => {
                !groups.all().is_empty() && groups.of_number(reply.family(), reply.dst).is_none()
            }
            _ => false,
        };
        let expected = match record {
            Record::Expected(Expected { wanted, .. }) => groups.of(wanted.tuple.destination()),
            _ => None,
        };
        match groups.of_addresses(&tuples).or(expected) {
            Some(other) if other != group => Err(NotInstalled::OtherGroup),
            _ if expected.is_some_and(|other| other != group) => Err(NotInstalled::OtherGroup),
            _ if is_in_none() => Err(NotInstalled::OtherGroup),
            _ => Ok(()),
        }
    }

    /// The shard that keeps the mapping of a connection, else the owner of its original tuple.
    fn home(&self, connection: &Connection) -> ShardId {
        let Connection { original, reply, status, .. } = connection;
        let steering = self.steering();
        if status.contains(RecordStatus::EIF) {
            steering.owner_of_endpoint(&outside(original))
        } else if status.contains(RecordStatus::MAPPED) && self.may_be_mapped(original, reply) {
            steering.owner_of_endpoint(&inside(original))
        } else {
            steering.owner(original)
        }
    }

    /// Whether one shard owns both ends of the mapping by which a connection was translated. On the box that it comes from, one did.
    fn may_be_mapped(&self, original: &Tuple, reply: &Tuple) -> bool {
        let steering = self.steering();
        steering.owner_of_endpoint(&inside(original)) == steering.owner_of_endpoint(&outside(reply))
    }

    /// A peer's connection has ended.
    fn install_end(&mut self, tuples: &[Tuple; 2]) -> Installed {
        if let Some(home) = self.exchange.signpost(&tuples[0]) {
            return Installed::Delegated(home);
        }
        if let Some(index) = self.entry_of(&tuples[0])
            && self.is_foreign(index)
            && self.table.entries.tuples(index) == *tuples
        {
            self.end(index, End::Deleted);
        }
        Installed::Here
    }

    /// Does what is told of beside a connection that was told of by the same, on the shard that has it.
    fn install_beside(
        &mut self,
        it: &Installing,
        install: impl FnOnce(&mut Self, u32) -> Result<(), NotInstalled>,
    ) -> Result<Installed, NotInstalled> {
        let tuples = it.record.tuples();
        let is_peers = it.origin.group().is_some();
        if is_peers && self.configuration.verify == Verify::Policy {
            return Err(NotInstalled::Policy);
        }
        if let Some(home) = self.exchange.signpost(&tuples[0]) {
            return Ok(Installed::Delegated(home));
        }
        let index = self.entry_of(&tuples[0]).filter(|index| {
            let is_installed = self.table.entries.at(*index).status.contains(Status::INSTALLED);
            is_installed && self.is_foreign(*index) == is_peers && self.table.entries.tuples(*index) == tuples
        });
        install(self, index.ok_or(NotInstalled::Unknown)?).map(|()| Installed::Here)
    }

    /// The living entry of an original or reply tuple.
    fn entry_of(&mut self, tuple: &Tuple) -> Option<u32> {
        if !self.is_taken(tuple) {
            return None;
        }
        self.table.search(&self.table.key(tuple), tuple).map(|(index, _)| index)
    }

    /// Whether a connection is in the table anew; false where it has been there.
    fn install_state(&mut self, connection: &Connection, it: &Installing) -> Result<bool, NotInstalled> {
        let Connection { original, reply, .. } = connection;
        if let Origin::Peer(group) = it.origin
            && let Some(index) = self.entry_of(original)
            && self.is_foreign(index)
            && self.table.entries.tuples(index) == [*original, *reply]
        {
            self.update_foreign(index, group, connection);
            return Ok(false);
        }
        for tuple in [original, reply] {
            self.make_way_for_record(tuple, it.origin)?;
        }
        let group = it.origin.group();
        if group.is_some_and(|group| !self.foreign.has_room(group)) {
            return Err(NotInstalled::Full);
        }
        let claims = self.exchange.needs_signpost(reply);
        if claims && !self.exchange.may_claim(reply) {
            return Err(NotInstalled::Busy);
        }
        let mut unconfirmed = self.unconfirmed_of(connection, it)?;
        let key = self.table.key(original);
        let index = self.confirm(&key, &mut unconfirmed).ok_or(NotInstalled::Full)?;
        self.foreign.note(index, group);
        let born_s = (self.now.as_secs() as u32).wrapping_sub(connection.age_s);
        self.table.entries.set_born(index, born_s);
        if group.is_none() && self.has_lost_address(index, &self.configuration.forwarding) {
            self.end(index, End::Deleted);
            return Err(NotInstalled::LostAddress);
        }
        if claims {
            self.claim(index, &unconfirmed);
        }
        Ok(true)
    }

    /// Ends a peer's connection that has a tuple of one that is told of now: the newer one is right.
    fn make_way_for_record(&mut self, tuple: &Tuple, origin: Origin) -> Result<(), NotInstalled> {
        match self.entry_of(tuple) {
            Some(index) if origin.group().is_some() && self.is_foreign(index) => {
                self.end(index, End::Deleted);
                Ok(())
            }
            Some(_) => Err(NotInstalled::Exists),
            None if self.exchange.signpost(tuple).is_some() => Err(NotInstalled::Exists),
            None => Ok(()),
        }
    }

    /// The connection of a record, as it is put into the table.
    fn unconfirmed_of(&self, connection: &Connection, it: &Installing) -> Result<Unconfirmed, NotInstalled> {
        let Connection { original, reply, status, .. } = connection;
        let mut unconfirmed = Unconfirmed::new(*original, None);
        unconfirmed.delegated = it.is_delegated;
        unconfirmed.is_foreign = it.origin.group().is_some();
        unconfirmed.helper = connection.assigned();
        unconfirmed.masqueraded = status.contains(RecordStatus::MASQUERADED);
        if *reply != original.invert() {
            unconfirmed.commit(reply, self.table.key(reply).hash);
        }
        if status.contains(RecordStatus::MAPPED) && self.may_be_mapped(original, reply) {
            let is_open = status.contains(RecordStatus::OPEN);
            let filtering = if is_open { Filtering::EndpointIndependent } else { Filtering::default() };
            unconfirmed.mapped = Some(filtering);
            if !self.nat.mappings().may_join(original, reply) {
                return Err(NotInstalled::Exists);
            }
        }
        unconfirmed.eif = status.contains(RecordStatus::EIF) && self.nat.mappings().leads(original, reply);
        let told = status.status().intersection(Status::SEEN_REPLY.union(Status::ASSURED));
        unconfirmed.entry.status = told.union(Status::INSTALLED);
        let now = Tick::at(self.now);
        let entry = &mut unconfirmed.entry;
        (entry.state, entry.mark) = (connection.state, connection.mark);
        entry.deadline = now.after_ms(lifetime_ms(connection.remaining_ms, it.origin));
        self.begin_told(entry, connection);
        Ok(unconfirmed)
    }

    fn begin_told(&self, entry: &mut Entry, connection: &Connection) {
        let context = Context { settings: &self.configuration.settings, now: Tick::at(self.now) };
        let age_ms = connection.age_s.saturating_mul(1000).min(i32::MAX as u32);
        tracker::begin_told(context, entry, &connection.tracker, age_ms);
    }

    /// Brings a peer's connection up to date, or one that was this box's own before its group was on standby.
    fn update_foreign(&mut self, index: u32, group: GroupId, connection: &Connection) {
        let now = Tick::at(self.now);
        self.begin_help_anew(index, connection.assigned());
        let mut entry = *self.table.entries.at(index);
        let from = entry.state;
        entry.tracker.clear();
        self.begin_told(&mut entry, connection);
        let told = connection.status.status().intersection(Status::SEEN_REPLY.union(Status::ASSURED));
        entry.status.insert(told.union(Status::INSTALLED));
        entry.status.remove(Status::SEQ_ADJUST);
        (entry.state, entry.mark) = (connection.state, connection.mark);
        match self.told_for(index) {
            Some(_) => self.foreign.paint(index),
            None => self.foreign.note(index, Some(group)),
        }
        *self.table.entries.at_mut(index) = entry;
        self.table.change_state(index, from);
        self.refresh(index, now.after_ms(lifetime_ms(connection.remaining_ms, Origin::Peer(group))));
        self.tell_update(index);
    }

    /// A packet of a connection that was installed has come: it is this box's own from now on, and its windows count when enough has fitted
    /// them.
    pub(crate) fn settle(&mut self, id: EntryId, packet: Packet<'_>, direction: Direction) {
        let index = id.index;
        let Some(entry) = self.table.entries.get(id).filter(|it| it.status.contains(Status::INSTALLED))
        else {
            return;
        };
        let has_windows =
            entry.protocol() == protocol::TCP && self.configuration.settings.tcp.window_tracking;
        let fits = has_windows && tcp::fits(entry, packet, direction);
        let is_known = !has_windows || fits && self.foreign.has_fitted(index, direction as usize);
        match self.told_for(index) {
            // What comes of it here is the box's own message.
            Some(_) if self.is_foreign(index) => return,
            Some(_) => self.adopt(index),
            None => {}
        }
        if is_known {
            let entry = self.table.entries.at_mut(index);
            entry.status.remove(Status::INSTALLED);
            if has_windows {
                tcp::keep_to_windows(entry);
            }
        }
    }

    /// Whether an entry is a peer's, and the latest bulk of its group has not told of it.
    fn has_faded(&self, index: u32) -> bool {
        let group = || {
            let tuples = self.table.entries.tuples(index);
            self.told_for(index).or_else(|| self.configuration.group_of(&tuples))
        };
        self.is_foreign(index)
            && group().is_some_and(|group| self.foreign.fading.contains(group))
            && !(self.told_for(index).is_some() && self.foreign.is_fresh(index))
    }

    /// Goes on with ending peers' connections that the last bulk did not tell of, at most `budget` slots. False when there is more to do.
    pub(crate) fn go_on_fading(&mut self, budget: u32) -> bool {
        for _ in 0..budget {
            let next = self.foreign.sweep.and_then(|index| self.table.entries.next_index(index));
            self.foreign.sweep = next.map(|index| index + 1);
            let Some(index) = next else {
                self.foreign.fading = GroupSet::default();
                return true;
            };
            if self.table.entries.at(index).is_used() && self.has_faded(index) {
                self.end(index, End::Deleted);
            }
        }
        self.foreign.sweep.is_none()
    }
}

impl Origin {
    /// The group that a peer tells of it for, if one does.
    const fn group(self) -> Option<GroupId> {
        match self {
            Self::Own => None,
            Self::Peer(group) => Some(group),
        }
    }
}

/// How long an entry lives of which so much is left where it comes from. A peer tells again of what lives before that is over, so that its
/// copy goes only when nobody has told of it for twice as long.
fn lifetime_ms(remaining_ms: u32, origin: Origin) -> u32 {
    let times = match origin {
        Origin::Own => 1,
        Origin::Peer(_) => 2,
    };
    remaining_ms.saturating_mul(times).min(MAX_TIMEOUT.as_millis() as u32)
}
