//! Registrations and calls that a gatekeeper knows of (RAS).
//!
//! Whoever registers takes calls from the gatekeeper at the address that he registers, for as long as both say. A gatekeeper that routes
//! calls says where it takes them.

use super::grammar::Mark;
use super::per::{Findings, Value};
use super::ras::{self, Kind};
use super::stage::{Endpoint, Expected, read_endpoint, read_findings};
use crate::expectations::Expectation;
use crate::helpers::announce::limits;
use crate::helpers::message_reading::{Reading, Refused};
use crate::shard::Shard;
use crate::time::{MAX_TIMEOUT, Tick};
use crate::tuple;

/// Classes of RAS.
const REGISTRATION: u8 = 0;
const CALL: u8 = 1;
const OTHER_RAS: u8 = 2;

/// How long a registration lives that does not say it, in seconds: Linux's `default_rrq_ttl`.
const TIME_TO_LIVE_S: u32 = 300;

impl Shard {
    /// Reads a message of RAS.
    pub(super) fn read_ras(&mut self, reading: &mut Reading<'_>) -> Result<(), Refused> {
        let Some(kind) = Kind::of(reading.bytes) else { return Ok(()) };
        let findings = read_findings(reading, 0..reading.bytes.len(), &ras::MESSAGE)?;
        let mut is_registered = false;
        for finding in findings.as_slice() {
            let Some(endpoint) = read_endpoint(reading, finding) else { continue };
            match (kind, finding.mark) {
                (Kind::RegistrationRequest, Mark::Signalling)
                    if !is_registered && reading.is_own(Some(endpoint.address)) =>
                {
                    is_registered = true;
                    let timeout_s = time_to_live_s(&findings).unwrap_or(TIME_TO_LIVE_S);
                    let expected = Expected { timeout_s, ..Expected::often(REGISTRATION) };
                    self.expect_at(reading, &endpoint, expected)?;
                }
                (Kind::Route, Mark::Signalling) if !is_peer(reading, &endpoint) => {
                    self.expect_at(reading, &endpoint, Expected::often(CALL))?;
                }
                (Kind::GatekeeperConfirm, Mark::Ras) if !is_sender(reading, &endpoint) => {
                    self.expect_at(reading, &endpoint, Expected::often(OTHER_RAS))?;
                }
                _ => self.translate_endpoint(reading, &endpoint)?,
            }
        }
        self.conclude_registration_of(reading, kind, time_to_live_s(&findings))
    }

    /// What a registration comes to lives as long as that.
    fn conclude_registration_of(
        &mut self,
        reading: &Reading<'_>,
        kind: Kind,
        time_to_live_s: Option<u32>,
    ) -> Result<(), Refused> {
        let index = reading.announcer.index;
        let is_registration = |expectation: &Expectation| expectation.class == REGISTRATION;
        match kind {
            Kind::RegistrationRequest | Kind::RegistrationConfirm => {
                let timeout_ms = time_to_live_s.unwrap_or(TIME_TO_LIVE_S).saturating_mul(1000);
                let timeout_ms = timeout_ms.min(MAX_TIMEOUT.as_millis() as u32);
                if kind == Kind::RegistrationConfirm
                    && let Some(registration) = self.expectation_of(index, is_registration)
                {
                    let limits = limits(reading.announcer.helper, REGISTRATION);
                    self.expect(index, &registration.wanted(timeout_ms), limits)?;
                }
                self.refresh(index, Tick::at(self.now).after_ms(timeout_ms));
            }
            Kind::Unregistration => self.end_expectations_if(index, is_registration),
            Kind::GatekeeperConfirm | Kind::Route | Kind::Other => {}
        }
        Ok(())
    }
}

/// How long a registration is to live, in seconds.
fn time_to_live_s(findings: &Findings) -> Option<u32> {
    findings.as_slice().iter().find_map(|finding| match finding.value {
        Value::Number(number) if finding.mark == Mark::TimeToLive => Some(number.saturating_add(1)),
        _ => None,
    })
}

/// Whether an endpoint is the receiver of the message, who is told at which address of his a call will come.
fn is_peer(reading: &Reading<'_>, endpoint: &Endpoint) -> bool {
    tuple::number(endpoint.address) == reading.announcing.dst
}

/// Whether an endpoint is where the message comes from.
fn is_sender(reading: &Reading<'_>, endpoint: &Endpoint) -> bool {
    let from = (reading.announcing.src, reading.announcing.selector.sport());
    (tuple::number(endpoint.address), endpoint.port) == from
}
