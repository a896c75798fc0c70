//! Texts of a packet that become others: collected while it is read, and made all at once.

use super::text::Text;

/// Texts that one packet may have rewritten.
pub(crate) const MAX_EDITS: usize = 32;

/// A text that becomes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Where it begins in the payload.
    pub(crate) at: usize,
    /// How many bytes it has.
    pub(crate) removed: usize,
    /// What it becomes.
    pub(crate) inserted: Text,
}

impl Edit {
    /// What it adds to the length.
    pub(crate) const fn grown(&self) -> i32 {
        self.inserted.len() as i32 - self.removed as i32
    }
}

/// Those of one packet, in the order of their positions.
#[derive(Clone, Debug)]
pub(crate) struct Edits {
    edits: [Edit; MAX_EDITS],
    len: usize,
    /// By how many bytes the packet may still grow; `None` where it must not be edited.
    room: Option<i32>,
}

impl Edits {
    /// None yet, of a packet that may grow by so many bytes.
    pub(crate) fn new(room: Option<i32>) -> Self {
        let none = Edit { at: 0, removed: 0, inserted: Text::default() };
        Self { edits: [none; MAX_EDITS], len: 0, room }
    }

    /// Takes one more. False, and nothing is changed, where the packet has no room for it or the text is one that is edited
    /// already.
    pub(crate) fn add(&mut self, edit: Edit) -> bool {
        let Some(room) = self.room.filter(|room| self.len < MAX_EDITS && edit.grown() <= *room) else {
            return false;
        };
        let index = self.as_slice().partition_point(|other| other.at < edit.at);
        let follows = index.checked_sub(1).is_none_or(|before| {
            let before = &self.edits[before];
            before.at + before.removed <= edit.at
        });
        let precedes = self.as_slice().get(index).is_none_or(|next| edit.at + edit.removed <= next.at);
        if !follows || !precedes {
            return false;
        }
        self.edits.copy_within(index..self.len, index + 1);
        self.edits[index] = edit;
        self.len += 1;
        self.room = Some(room - edit.grown());
        true
    }

    /// Whether the text that begins here is edited.
    pub(crate) fn has(&self, at: usize) -> bool {
        self.as_slice().iter().any(|edit| edit.at == at)
    }

    /// By how many bytes the texts grow from this position on.
    pub(crate) fn grown_from(&self, at: usize) -> i32 {
        self.as_slice().iter().filter(|edit| edit.at >= at).map(Edit::grown).sum()
    }

    /// All of them.
    pub(crate) fn as_slice(&self) -> &[Edit] {
        &self.edits[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(at: usize, removed: usize, inserted: &str) -> Edit {
        Edit { at, removed, inserted: Text::of(format_args!("{inserted}")) }
    }

    #[test]
    fn edits_come_in_the_order_of_their_positions_and_never_overlap() {
        let mut edits = Edits::new(Some(10));
        for (at, removed, taken) in
            [(20, 2, true), (5, 3, true), (10, 0, true), (6, 1, false), (4, 2, false), (19, 1, true)]
        {
            assert_eq!(edits.add(edit(at, removed, "xy")), taken, "{at}");
        }
        let positions: Vec<usize> = edits.as_slice().iter().map(|edit| edit.at).collect();
        assert_eq!(positions, [5, 10, 19, 20]);
    }

    #[test]
    fn what_shrinks_makes_room_for_what_grows() {
        let mut edits = Edits::new(Some(2));
        assert!(!edits.add(edit(0, 1, "four")));
        assert!(edits.add(edit(10, 5, "four")) && edits.add(edit(0, 1, "four")));
        assert!(!edits.add(edit(30, 0, "x")));
        assert!(!Edits::new(None).add(edit(0, 1, "x")), "nor is a packet edited that must not be");
        let mut edits = Edits::new(Some(0));
        let taken = (0..100).filter(|at| edits.add(edit(*at, 1, "x"))).count();
        assert_eq!(taken, MAX_EDITS);
    }
}
