//! What NAT keeps in a shard, from one packet to the next.
//!
//! [`Binding`] decides what a connection is translated to and changes none of this. It is recorded once, when the connection is
//! confirmed, and given back once, when it ends.

use super::bind::Binding;
use super::budget::Budget;
use super::exhausted::Exhausted;
use super::ip_ids::IpIds;
use super::mapping::Mappings;
use super::pools::Pools;
use super::prefetch::LastBound;
use super::search::{Search, exhausted_key, hash_of};
use crate::configuration::Configuration;
use crate::entry::Status;
use crate::exchange::Exchange;
use crate::frame::Frame;
use crate::headers::Headers;
use crate::steer::Steering;
use crate::table::Table;
use crate::time::Instant;
use crate::tuple::{Tuple, address};
use crate::unconfirmed::Unconfirmed;
use ahash::RandomState;
use std::{io, mem};

/// The state of NAT in a shard.
#[derive(Debug)]
pub(crate) struct NatState {
    /// The secret key that new connections draw addresses and ports by.
    key: RandomState,
    /// What clients' ports are translated to by rules whose mapping is endpoint-independent.
    mappings: Mappings,
    /// The ports in use of the addresses that sources are translated to.
    pools: Pools,
    /// What was sought in vain a moment ago.
    exhausted: Exhausted,
    /// What the last translated source was bound by.
    last_bound: LastBound,
    /// The numbers that packets were given.
    ip_ids: IpIds,
    /// Where to go on looking for what a new configuration asks of entries ([`crate::sweep`]).
    pub(crate) sweep: Option<u32>,
}

const fn hasher([a, b, c, d]: [u64; 4]) -> RandomState {
    RandomState::with_seeds(a, b, c, d)
}

impl NatState {
    /// That of a shard with room for so many entries, which has translated nothing yet; `seed` is its key, too, and `pools` are
    /// those of its configuration.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(entries: u32, seed: [u64; 4], pools: Pools) -> io::Result<Self> {
        Ok(Self {
            key: hasher(seed),
            mappings: Mappings::new(entries, seed)?,
            pools,
            exhausted: Exhausted::default(),
            last_bound: LastBound::default(),
            ip_ids: IpIds::default(),
            sweep: None,
        })
    }

    /// Has new connections draw by another key.
    pub(crate) const fn set_key(&mut self, key: [u64; 4]) {
        self.key = hasher(key);
    }

    /// What new connections draw addresses and ports by.
    pub(super) const fn hasher(&self) -> &RandomState {
        &self.key
    }

    /// The mappings of its clients.
    pub(crate) const fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    /// Bytes of memory behind it, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.mappings.memory_bytes() + self.pools.memory_bytes()
    }

    /// The ports in use.
    pub(crate) const fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Goes on with the pools of another configuration, which take over what is known of addresses that both have; the old ones
    /// are left in their place.
    pub(crate) fn replace_pools(&mut self, pools: &mut Pools) {
        pools.take_over(&mut self.pools);
        mem::swap(pools, &mut self.pools);
    }

    /// The sweep has come to its end, or there is none to be made: all entries are counted.
    pub(crate) fn end_sweep(&mut self) {
        self.sweep = None;
        self.pools.complete();
    }

    /// The binding of a connection whose reply tuple was refused so many times.
    #[inline]
    pub(crate) fn binding<'a>(
        &'a mut self,
        configuration: &'a Configuration,
        table: &'a Table,
        exchange: &'a Exchange,
        now: Instant,
        refusals: u8,
    ) -> Binding<'a> {
        let search = Search {
            table,
            exchange,
            pools: &self.pools,
            exhausted: &mut self.exhausted,
            key: &self.key,
            now,
            budget: Budget::new(refusals),
        };
        Binding { configuration, mappings: &self.mappings, search }
    }

    /// Fetches what the translation of a packet without an entry will most probably look at.
    pub(crate) fn prefetch(&self, configuration: &Configuration, table: &Table, original: &Tuple) {
        self.last_bound.prefetch((&configuration.nat, &self.pools, table), &self.key, original);
    }

    /// Remembers what a connection was bound by.
    pub(crate) fn note_bound(&mut self, rule: usize, unconfirmed: &Unconfirmed) {
        let Unconfirmed { reply, masqueraded, .. } = unconfirmed;
        let own = masqueraded.then(|| address(reply.family(), reply.dst));
        self.last_bound = LastBound { rule, own };
    }

    /// Records that a connection which is being confirmed uses a mapping, that of its client or that which it came in by. Where there
    /// is no room for a new one, it goes without.
    pub(crate) fn join_mapping(&mut self, unconfirmed: &mut Unconfirmed) {
        let Unconfirmed { original, reply, masqueraded, .. } = unconfirmed;
        if let Some(filtering) = unconfirmed.mapped
            && !self.mappings.join(original, reply, *masqueraded, filtering)
        {
            unconfirmed.mapped = None;
        }
        if unconfirmed.eif && !self.mappings.join_known(reply) {
            unconfirmed.eif = false;
        }
    }

    /// Records that a connection uses its mapping no more, if it has any: it has ended, or finds no room.
    #[inline(never)]
    pub(crate) fn leave_mapping(&mut self, [original, reply]: &[Tuple; 2], status: Status) {
        if status.contains(Status::MAPPED) {
            self.mappings.leave(original, reply);
        }
        if status.contains(Status::EIF) {
            self.mappings.leave(reply, original);
        }
    }

    /// Another shard has refused a tuple to a connection, which is bound again next.
    pub(crate) fn note_refused(&mut self, reply: &Tuple, now: Instant) {
        let port = reply.reply_port();
        self.exhausted.note(hash_of(&self.key, reply), &(port..=port), now);
    }

    /// A translated connection has ended, which packets of this tuple came to: its port may serve another.
    pub(crate) fn forget_exhausted(&mut self, reply: &Tuple, exchange: &Exchange, now: Instant) {
        if !self.exhausted.is_empty(now) {
            self.exhausted.forget(exhausted_key(&self.key, reply, exchange.needs_signpost(reply)));
        }
    }

    /// Counts the ports that a translated entry in a slot of the table uses: that of its source, and the mapped or announced one
    /// that it came in by. `count` also gets whether the sweep has passed the entry, and will not count it any more.
    pub(crate) fn count_ports(
        &mut self,
        index: u32,
        [original, reply]: [&Tuple; 2],
        status: Status,
        count: impl Fn(&mut Pools, &Tuple, bool),
    ) {
        let swept = self.sweep.is_none_or(|next| index < next);
        count(&mut self.pools, reply, swept);
        if status.came_by_own_port() {
            count(&mut self.pools, original, swept);
        }
    }

    /// Gives a packet whose source was translated an identification of the box's own, where it needs one.
    pub(crate) fn rewrite_ip_id<F: Frame>(&mut self, frame: &mut F, headers: &Headers, steering: &Steering) {
        self.ip_ids.rewrite(frame, headers, &self.key, steering);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Hash;
    use crate::nat::{Filtering, PortBlock, inside};
    use std::net::IpAddr;

    const SEED: [u64; 4] = [1, 2, 3, 4];
    const OUTSIDE: [u8; 4] = [203, 0, 113, 1];

    fn state() -> NatState {
        NatState::new(8, SEED, Pools::new([IpAddr::from(OUTSIDE)])).unwrap()
    }

    /// A connection of a client to a server, bound by a mapping.
    fn mapped(server: u8) -> Unconfirmed {
        let server = [198, 51, 100, server].into();
        let mut it = Unconfirmed::new(Tuple::new([10, 0, 0, 1].into(), server, 17, 4000, 53), None);
        it.commit(&Tuple::new(server, OUTSIDE.into(), 17, 53, 5000), Hash::default());
        it.mapped = Some(Filtering::EndpointIndependent);
        it
    }

    /// One that came in by that mapping.
    fn from_outside() -> Unconfirmed {
        let stranger = [192, 0, 2, 9].into();
        let mut it = Unconfirmed::new(Tuple::new(stranger, OUTSIDE.into(), 17, 99, 5000), None);
        it.commit(&Tuple::new([10, 0, 0, 1].into(), stranger, 17, 4000, 99), Hash::default());
        it.eif = true;
        it
    }

    #[test]
    fn a_mapping_is_used_by_those_who_go_out_and_who_come_in() {
        let mut state = state();
        let connections = [mapped(1), mapped(2), from_outside()].map(|mut it| {
            state.join_mapping(&mut it);
            ([it.original, it.reply], it.status())
        });
        let client = inside(&connections[0].0[0]);
        assert_eq!(state.mappings().get(&client).map(|mapped| mapped.uses), Some(3));
        for (tuples, status) in &connections {
            assert!(state.mappings().get(&client).is_some());
            state.leave_mapping(tuples, *status);
        }
        assert_eq!(state.mappings().len(), (0, 0));
    }

    #[test]
    fn who_finds_no_room_for_a_mapping_goes_without() {
        let mut state = NatState::new(0, SEED, Pools::default()).unwrap();
        let (mut client, mut stranger) = (mapped(1), from_outside());
        state.join_mapping(&mut client);
        state.join_mapping(&mut stranger);
        assert_eq!((client.mapped, stranger.eif), (None, false));
        assert!(!client.status().intersects(Status::USES_MAPPING));
    }

    fn used(state: &NatState) -> [u32; 3] {
        state.pools().used(&PortBlock::whole(OUTSIDE.into()))
    }

    #[test]
    fn an_entry_counts_ports_on_both_sides_where_it_came_in_by_a_mapping() {
        let mut state = state();
        let it = from_outside();
        let tuples = [&it.original, &it.reply];
        state.count_ports(0, tuples, it.status(), Pools::take);
        assert_eq!(used(&state), [0, 1, 0]);
        state.count_ports(0, tuples, it.status(), Pools::give_back);
        assert_eq!(used(&state), [0; 3]);
    }

    #[test]
    fn a_sweep_counts_those_behind_it_once() {
        let mut state = NatState::new(8, SEED, Pools::default()).unwrap();
        state.replace_pools(&mut Pools::new([IpAddr::from(OUTSIDE)]));
        state.sweep = Some(5);
        let it = mapped(1);
        for index in [4, 5] {
            state.count_ports(index, [&it.original, &it.reply], it.status(), Pools::take);
        }
        assert_eq!(used(&state), [0, 1, 0]);
        state.count_ports(4, [&it.original, &it.reply], it.status(), Pools::give_back);
        assert_eq!(used(&state), [0; 3]);
    }
}
