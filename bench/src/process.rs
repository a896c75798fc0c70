//! Programs under measurement, as children: started alike, so that the comparison is fair.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// A child process that does not outlive this one.
pub struct Process(Child);

impl Process {
    /// Starts `program` with the highest priority, for want of the isolated core that a poll-mode thread
    /// has in production; without the right to it, with the ordinary one.
    pub fn start(program: &str, arguments: &[String]) -> anyhow::Result<Self> {
        Self::start_with(program, arguments, Stdio::null())
    }

    /// The same, until it ends by itself; gives what it has printed.
    pub fn run(program: &str, arguments: &[String]) -> anyhow::Result<String> {
        let mut process = Self::start_with(program, arguments, Stdio::piped())?;
        let mut output = process.0.stdout.take().context("no output")?;
        process.prefer_session();
        let mut text = String::new();
        output.read_to_string(&mut text)?;
        let status = process.0.wait()?;
        ensure!(status.success(), "{program} {}: {status}", arguments.join(" "));
        Ok(text)
    }

    fn start_with(program: &str, arguments: &[String], stdout: Stdio) -> anyhow::Result<Self> {
        let child = Command::new("setsid")
            .args(["nice", "--adjustment=-20", "setpriv", "--pdeathsig", "KILL", program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Process(child))
    }

    /// Gives the same priority to its session, which is what counts where the kernel schedules sessions as
    /// groups (autogroup in sched(7)). Not before the program runs: till then it is in this one's session.
    pub fn prefer_session(&self) {
        // Elsewhere, or without the right to it, there is no such thing to write to.
        let _ = std::fs::write(format!("/proc/{}/autogroup", self.0.id()), "-20");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
