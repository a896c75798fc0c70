//! A configuration on trial (`sluice apply --confirm`): what was in force before comes back by itself, unless somebody confirms in
//! time that the box can still be reached.
//!
//! The configured file stays as it is until then, so a daemon that starts anew goes by what was before.

use std::time::{Duration, Instant};

use super::candidate::Candidate;
use crate::config::Config;
use crate::socket::protocol::{ConfigurationStatus, TrialStatus};

/// When a configuration that was in force before is tried once more, where that has failed.
const RETRY: Duration = Duration::from_secs(1);

/// A configuration that is in force until it is confirmed or its time is over.
#[derive(Debug)]
pub struct Trial {
    /// What is in force, as it was written, and as it is written for the next start.
    on_trial: Tried,
    before: Candidate,
    /// What is said of that.
    before_status: ConfigurationStatus,
    ends: Instant,
}

/// A configuration that was tried.
#[derive(Debug)]
pub struct Tried {
    /// As somebody has written it, which is to be in the configured file.
    pub text: String,
    /// As it was read.
    pub config: Config,
}

impl Trial {
    /// Of what came in force now in the place of `before`.
    pub fn start(
        on_trial: Tried,
        (before, before_status): (Candidate, ConfigurationStatus),
        confirm_within: Duration,
        now: Instant,
    ) -> Trial {
        Trial { on_trial, before, before_status, ends: now + confirm_within }
    }

    /// How long it has left.
    pub fn left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }

    /// What is said of it.
    pub fn status(&self, now: Instant) -> TrialStatus {
        TrialStatus { left_s: self.left(now).as_secs(), before: self.before_status.clone() }
    }

    /// It is confirmed.
    pub fn confirm(self) -> Tried {
        self.on_trial
    }

    /// What is to be in force again, where the time is over. If it cannot be put in force, it is due once more a second later.
    pub fn take_back(&mut self, now: Instant) -> Option<Candidate> {
        if now < self.ends {
            return None;
        }
        self.ends = now + RETRY;
        Some(self.before.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(zone: u16) -> Candidate {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("box.yaml");
        let text = format!(
            "version: 1\ninterfaces: {{a: {{device: 'vdev:net_null0', zone: {zone}}}, b: {{device: 'vdev:net_null1'}}}}\n"
        );
        std::fs::write(&file, text).unwrap();
        Candidate::read(&file, &[]).unwrap()
    }

    fn trial(start: Instant) -> Trial {
        let on_trial = Tried { text: "written".to_owned(), config: candidate(7).config };
        Trial::start(on_trial, (candidate(5), ConfigurationStatus::default()), Duration::from_secs(60), start)
    }

    #[test]
    fn what_nobody_confirms_is_taken_back_when_its_time_is_over() {
        let start = Instant::now();
        let mut trial = trial(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(trial.left(at(20)), Duration::from_secs(40));
        assert!(trial.take_back(at(59)).is_none());
        let before = trial.take_back(at(60)).unwrap();
        assert_eq!(before.config.interfaces["a"].zone, 5);
        assert!(trial.take_back(at(60)).is_none(), "it is being put in force");
        assert!(trial.take_back(at(61)).is_some(), "that has failed");
    }

    #[test]
    fn what_is_confirmed_is_what_was_tried() {
        let Tried { text, config } = trial(Instant::now()).confirm();
        assert_eq!((text.as_str(), config.interfaces["a"].zone), ("written", 7));
    }
}
