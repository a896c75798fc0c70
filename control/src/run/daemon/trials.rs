//! Configurations that take the place of the configured one: at once, or on [trial](super::super::trial) until they are confirmed.

use std::path::{self, Path};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::super::candidate::Candidate;
use super::super::trial::{Trial, Tried};
use super::Daemon;
use crate::socket::protocol::{Response, TrialStatus};

impl Daemon {
    /// Whether a file can take the place of the configured one, at once or if it is confirmed in that time.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn may_apply(&self, file: &Path, confirm_within: Option<Duration>) -> Result<(), String> {
        let is_configured =
            || file.canonicalize().is_ok_and(|file| self.file.canonicalize().is_ok_and(|it| it == file));
        is_from_root(file)?;
        match confirm_within {
            Some(Duration::ZERO) => Err("nobody can confirm it in no time".to_owned()),
            Some(_) if is_configured() => Err(format!(
                "{} is the configured file itself, by which a daemon would start before it is confirmed: apply a copy of it",
                file.display()
            )),
            _ => Ok(()),
        }
    }

    /// Puts in force what is to take the place of the configured file. Who has asked writes it there: the file is not the daemon's to
    /// write.
    pub(super) fn apply(
        &mut self,
        candidate: Candidate,
        confirm_within: Option<Duration>,
        now: Instant,
    ) -> Result<Response, String> {
        if let Some(trial) = &self.trial {
            let left_s = trial.left(now).as_secs();
            return Err(format!(
                "configuration {} waits for being confirmed, {left_s} s more: `sluice confirm` keeps it, `sluice reload` takes it back",
                self.revision
            ));
        }
        let tried = Tried { text: candidate.source.text().to_owned(), config: candidate.config.clone() };
        let (before, status) = (self.in_force(), self.in_force.status());
        let revision = self.put_in_force(candidate)?;
        let Some(confirm_within) = confirm_within else { return Ok(self.keep(tried)) };
        self.trial = Some(Trial::start(tried, (before, status), confirm_within, now));
        let seconds = confirm_within.as_secs();
        info!("configuration {revision} is in force for {seconds} s, unless it is confirmed");
        Ok(Response::OnTrial { revision, seconds, cuts: None })
    }

    /// What is on trial stays in force.
    pub(super) fn confirm(&mut self) -> Response {
        match self.trial.take() {
            Some(trial) => self.keep(trial.confirm()),
            None => Response::Error {
                message: "there is nothing to confirm: no configuration is on trial, or its time was over and what was before is in force again"
                    .to_owned(),
            },
        }
    }

    /// Puts back in force what was before, if the time of a trial is over.
    pub(super) fn end_trial(&mut self, now: Instant) {
        let Some(before) = self.trial.as_mut().and_then(|trial| trial.take_back(now)) else { return };
        let tried = self.revision;
        match self.put_in_force(before) {
            Ok(revision) => {
                self.trial = None;
                warn!(
                    "configuration {tried} was not confirmed in time: what was before is in force again, as configuration {revision}"
                );
            }
            Err(why) => error!(
                "configuration {tried} was not confirmed in time, and what was before cannot be put in force: {why}"
            ),
        }
    }

    fn keep(&mut self, Tried { text, config }: Tried) -> Response {
        self.keep_last_good(config);
        info!("configuration {} is in force for good", self.revision);
        let file = self.file.canonicalize().or_else(|_| path::absolute(&self.file));
        let file = file.unwrap_or_else(|_| self.file.clone());
        self.in_force.file.clone_from(&file);
        Response::Applied { revision: self.revision, file, text, cuts: None }
    }

    /// How the trial stands, if there is one.
    pub(super) fn trial_status(&self, now: Instant) -> Option<TrialStatus> {
        self.trial.as_ref().map(|trial| trial.status(now))
    }

    /// What is in force, so that it can be once more.
    fn in_force(&self) -> Candidate {
        Candidate {
            config: self.config.clone(),
            configuration: self.configuration.clone(),
            followed_routes: self.rerouting.routes.clone(),
            file: self.in_force.file.clone(),
            source: self.in_force.source.clone(),
            fallback: self.fallback,
        }
    }
}

/// Whether the daemon finds a file that a client names, wherever the client is.
///
/// # Errors
/// It does not.
pub(super) fn is_from_root(file: &Path) -> Result<(), String> {
    match file.is_absolute() {
        true => Ok(()),
        false => Err(format!("{}: a path from the root is needed", file.display())),
    }
}
