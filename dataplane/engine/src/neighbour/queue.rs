//! A queue of slots in a table, whose links lie outside it: first in, first out, and any of them can leave before its turn.

/// No slot.
const NONE: u32 = u32::MAX;

/// What stands before and behind a slot in the one queue that it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    before: u32,
    behind: u32,
}

impl Link {
    /// Of a slot that is in no queue yet.
    pub(super) const LOOSE: Self = Self { before: NONE, behind: NONE };
}

/// The two ends of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    first: u32,
    last: u32,
    len: u32,
}

impl Queue {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE, len: 0 };

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// The slot that has been in it for longest.
    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Puts a slot that is in no queue behind all others.
    pub(super) fn push(&mut self, links: &mut [Link], slot: u32) {
        links[slot as usize] = Link { before: self.last, behind: NONE };
        match self.last {
            NONE => self.first = slot,
            last => links[last as usize].behind = slot,
        }
        self.last = slot;
        self.len += 1;
    }

    /// Takes out a slot that is in this queue.
    pub(super) fn remove(&mut self, links: &mut [Link], slot: u32) {
        let Link { before, behind } = links[slot as usize];
        match before {
            NONE => self.first = behind,
            before => links[before as usize].behind = behind,
        }
        match behind {
            NONE => self.last = before,
            behind => links[behind as usize].before = before,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue, links: &mut [Link]) -> Vec<u32> {
        let next = || {
            let first = queue.first()?;
            queue.remove(links, first);
            Some(first)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn items_leave_in_order_whichever_left_before() {
        for gone in 0..5 {
            let (mut queue, mut links) = (Queue::EMPTY, [Link::LOOSE; 5]);
            (0..5).for_each(|slot| queue.push(&mut links, slot));
            queue.remove(&mut links, gone);
            assert_eq!(queue.len(), 4);
            queue.push(&mut links, gone);
            let expected: Vec<_> = (0..5).filter(|slot| *slot != gone).chain([gone]).collect();
            assert_eq!(drain(&mut queue, &mut links), expected);
            assert_eq!((queue.len(), queue.first()), (0, None));
        }
    }
}
