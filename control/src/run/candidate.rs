//! A configuration that was read and is ready to be put in force; and which one a start goes by.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_conntrack::Configuration;
use tracing::error;

use super::RunError;
use super::state::{LAST_GOOD, StateDirectory};
use crate::config::{self, Config, Followed, FollowedRoute, Forwarding, Problem, Rerouted, Source};

/// A configuration with all that is made of it, so that putting it in force is little work.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As it was read.
    pub config: Config,
    /// As shards work by it.
    pub configuration: Arc<Configuration>,
    /// The kernel's routes in that.
    pub followed_routes: Vec<FollowedRoute>,
    /// The file that it was read from.
    pub file: PathBuf,
    /// As somebody has written it.
    pub source: Source,
    /// Whether it is the last good one, which stands in for a file that is wrong.
    pub fallback: bool,
}

impl Candidate {
    /// Reads and checks a file; what is followed is part of what shards work by.
    ///
    /// # Errors
    /// [`RunError::Config`]: all that is wrong with it.
    pub fn read(file: &Path, followed: &[Arc<Followed>]) -> Result<Candidate, RunError> {
        let (config, source): (Config, Source) =
            config::read_document(file).map_err(|error| RunError::Config(Box::new(error)))?;
        let wrong = |problem: Problem| RunError::Other(problem.message);
        let mut configuration = config::lower(&config).map_err(wrong)?;
        let mut followed_routes = Vec::new();
        if !followed.is_empty() && config.forwarding() == Forwarding::Routed {
            let Rerouted { router, routes } = config::reroute(&config, followed).map_err(wrong)?;
            configuration = configuration.with_router(router, config::nat(&config).map_err(wrong)?);
            followed_routes = routes;
        }
        let (configuration, file) = (Arc::new(configuration), file.to_owned());
        Ok(Candidate { config, configuration, followed_routes, file, source, fallback: false })
    }

    /// Reads the file that a start is to go by; where that is wrong, the last configuration that was in force, if there is
    /// a state directory that has one, which is in the log as an error.
    ///
    /// # Errors
    /// What is wrong with the file, where there is nothing to fall back to.
    pub fn read_or_fall_back(file: &Path, state: Option<&StateDirectory>) -> Result<Candidate, RunError> {
        let wrong = match (Candidate::read(file, &[]), state) {
            (Ok(candidate), _) => return Ok(candidate),
            (Err(wrong), None) => return Err(wrong),
            (Err(wrong), Some(_)) => wrong,
        };
        let last_good = state.map(|state| state.file(LAST_GOOD)).filter(|file| file.exists());
        let Some(last_good) = last_good else { return Err(wrong) };
        error!("{wrong}");
        let candidate = Candidate::read(&last_good, &[]).map_err(|why| {
            error!("{}: nor can the last good configuration be used: {why}", last_good.display());
            wrong
        })?;
        error!(
            "FALLBACK: {} is wrong, so the last good configuration is in force: {}; mend the file, then `sluice reload`",
            file.display(),
            last_good.display()
        );
        Ok(Candidate { fallback: true, ..candidate })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const INTERFACES: &str = "interfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null1'}}\n";

    #[test]
    fn a_start_falls_back_where_it_may_and_can() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&root.path().join("state")).unwrap();
        let file = root.path().join("box.yaml");
        let write = |head: &str| fs::write(&file, format!("{head}\n{INTERFACES}")).unwrap();
        let zone = |candidate: &Candidate| candidate.config.interfaces["a"].zone;
        let wrong = |read: Result<Candidate, RunError>| read.unwrap_err().to_string();

        write("version: 7");
        assert!(wrong(Candidate::read_or_fall_back(&file, Some(&state))).contains("version"), "none is kept");
        let good = format!("version: 1\n{}", INTERFACES.replace("net_null0'", "net_null0', zone: 5"));
        state.write(LAST_GOOD, good.as_bytes()).unwrap();
        let candidate = Candidate::read_or_fall_back(&file, Some(&state)).unwrap();
        assert_eq!((zone(&candidate), candidate.fallback), (5, true));
        assert!(wrong(Candidate::read_or_fall_back(&file, None)).contains("version"), "it is forbidden");

        write("version: 1");
        let candidate = Candidate::read_or_fall_back(&file, Some(&state)).unwrap();
        assert_eq!((zone(&candidate), candidate.fallback), (0, false));

        fs::remove_file(&file).unwrap();
        assert!(Candidate::read_or_fall_back(&file, Some(&state)).unwrap().fallback);
        state.write(LAST_GOOD, b"polcy: {}").unwrap();
        assert!(wrong(Candidate::read_or_fall_back(&file, Some(&state))).contains("box.yaml"));
    }
}
