//! A running daemon as a rehearsal's subject: its configuration, and those of its connections that packets belong to.

use sluice_conntrack::PortId;

use super::ask::{Failure, Socket, unexpected};
use crate::packet::{self, Spoken};
use crate::rehearsal::{Rehearsal, Subject};
use crate::socket::Client;
use crate::socket::protocol::{LiveConnection, PacketTuple, Request, Response};

/// A daemon that is asked about.
pub(super) struct Running(Client);

impl Running {
    /// Gives the configuration that it runs by, too.
    pub(super) fn connect(socket: &Socket) -> Result<(Running, Subject), Failure> {
        let mut client = Client::connect(&socket.path)?;
        let Response::Configuration(running) = client.ask(&Request::Configuration)? else {
            return Err(unexpected());
        };
        let file = running.status.file.display().to_string();
        let subject = Subject::running(&file, &running.text, &running.yaml);
        Ok((Running(client), subject.map_err(|why| Failure::Other(why.to_string()))?))
    }

    /// Has a rehearsal know the connection that a packet belongs to; says which that is.
    pub(super) fn bring(
        &mut self,
        subject: &Subject,
        rehearsal: &mut Rehearsal,
        ingress: PortId,
        spoken: &Spoken,
    ) -> Result<String, Failure> {
        let Some(tuple) = packet::tuple(&subject.configuration, ingress, rehearsal.frame(spoken)) else {
            return Ok("not tracked".to_owned());
        };
        let Response::Connection { connection } =
            self.0.ask(&Request::Connection(PacketTuple::of(&tuple)))?
        else {
            return Err(unexpected());
        };
        let Some(connection) = connection else { return Ok("no connection has its tuple".to_owned()) };
        let is_known = connection.state().is_some_and(|state| rehearsal.install(state));
        let LiveConnection { line, worker, .. } = connection;
        Ok(match is_known {
            true => format!("{line} (worker {worker})"),
            false => format!(
                "{line} (worker {worker}); what a helper knows of it cannot be told, so below it is a packet of no connection"
            ),
        })
    }
}
