//! What a worker does while no packets come.

use std::thread;
use std::time::Duration;

use dpdk::lcore;

/// Empty rounds before a friendly worker sleeps: some ten microseconds.
const ROUNDS_AWAKE: u32 = 256;

/// How long it sleeps then: less than a queue of 1024 packets takes to fill at 10 million packets a second.
const NAP: Duration = Duration::from_micros(50);

/// What a worker does while no packets come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Goes on polling, with the processor's pause instruction between rounds.
    Poll,
    /// Sleeps for 50 microseconds at a time once nothing has come for a while.
    #[default]
    Friendly,
}

impl Idle {
    /// Rests a moment, after so many rounds without a packet.
    pub(crate) fn rest(self, empty_rounds: u32) {
        if self == Self::Friendly && empty_rounds > ROUNDS_AWAKE {
            thread::sleep(NAP);
        } else {
            lcore::pause();
        }
    }
}
