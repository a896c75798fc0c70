//! Listings of expectations: one a line, in the layouts of conntrack(8) 1.4.7 and of /proc/net/nf_conntrack_expect, or as JSON.

use super::text::{self, CONNTRACK, NF_CONNTRACK};
use super::{EventKind, Layout, Moment, family_name, json, protocol_name};
use crate::expectations::{ChildNat, Expectation, SourceMask};
use crate::helpers::Descriptor;
use crate::time::{Instant, Tick};
use crate::tuple::{Family, Selector, Tuple, address};
use std::fmt;

/// An expectation as it was at one moment, for whoever wants to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectationSnapshot {
    /// What is expected.
    pub expectation: Expectation,
    /// Milliseconds for which it is waited for.
    pub remaining_ms: u32,
}

impl ExpectationSnapshot {
    /// What an expectation is at `now`.
    pub const fn of(expectation: &Expectation, now: Instant) -> Self {
        let remaining_ms = expectation.deadline.since_ms(Tick::at(now));
        let remaining_ms = if remaining_ms > 0 { remaining_ms as u32 } else { 0 };
        Self { expectation: *expectation, remaining_ms }
    }

    /// Whole seconds for which it is waited for.
    const fn remaining_s(&self) -> u32 {
        self.remaining_ms / 1000
    }

    /// The bits of the tuple that count, as addresses and ports.
    pub const fn mask(&self) -> Tuple {
        let Expectation { tuple, source, .. } = &self.expectation;
        let all = match tuple.family() {
            Family::V4 => u32::MAX as u128,
            Family::V6 => u128::MAX,
        };
        let (src, sport) = match source {
            SourceMask::Exact => (all, u16::MAX),
            SourceMask::AnyPort => (all, 0),
            SourceMask::Any => (0, 0),
        };
        let selector = Selector::new(tuple.family(), tuple.protocol(), 0, sport, u16::MAX);
        Tuple { src, dst: all, selector }
    }

    /// Writes one line, without the newline.
    pub fn write(&self, layout: Layout, out: &mut impl fmt::Write) -> fmt::Result {
        match layout {
            // Those of conntrack(8) for expectations are one.
            Layout::Conntrack | Layout::Extended | Layout::Save | Layout::Xml => self.write_conntrack(out),
            Layout::IpConntrack | Layout::NfConntrack => self.write_proc(out),
            Layout::Json => self.write_json(out),
        }
    }

    /// Writes one line about an event, as `conntrack -E expect` does, and when it happened, if that is given.
    pub fn write_event(
        &self,
        kind: EventKind,
        layout: Layout,
        at: Option<Moment>,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        if layout == Layout::Json {
            write!(out, "{{\"event\":\"{}\",\"expectation\":", kind.name())?;
            self.write_json(out)?;
            return out.write_char('}');
        }
        if let Some(at) = at {
            text::write_time(at, out)?;
        }
        write!(out, "{:>9} ", format!("[{}]", kind.name().to_uppercase()))?;
        self.write_conntrack(out)
    }

    /// Linux's names of what sets it apart from most.
    const fn flags(&self) -> &'static [&'static str] {
        match (self.expectation.one_shot, self.expectation.is_inactive) {
            (true, false) => &[],
            (false, false) => &["PERMANENT"],
            (true, true) => &["INACTIVE"],
            (false, true) => &["PERMANENT", "INACTIVE"],
        }
    }

    /// Them in one word, if there are any.
    fn flag(&self) -> Option<String> {
        Some(self.flags().join(",")).filter(|flags| !flags.is_empty())
    }

    /// The helper's name and, where it has several classes, the class's.
    fn helper(&self) -> Option<String> {
        let helper = self.expectation.helper()?;
        let class = Descriptor::of(helper).classes.get(usize::from(self.expectation.class));
        Some(match class.map(|class| class.name).filter(|name| !name.is_empty()) {
            Some(class) => format!("{}/{class}", helper.name()),
            None => helper.name().to_owned(),
        })
    }

    fn write_conntrack(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let Expectation { tuple, master, class, .. } = &self.expectation;
        write!(out, "{} proto={} ", self.remaining_s(), tuple.protocol())?;
        for (prefix, tuple) in [("", tuple), ("mask-", &self.mask()), ("master-", master)] {
            text::write_tuple(prefix, tuple, &CONNTRACK, out)?;
            out.write_char(' ')?;
        }
        match tuple.selector.zone() {
            0 => {}
            zone => write!(out, "zone={zone} ")?,
        }
        if let Some(flag) = self.flag() {
            write!(out, "{flag} ")?;
        }
        write!(out, "class={class}")?;
        match self.expectation.helper() {
            Some(helper) => write!(out, " helper={}", helper.name()),
            None => Ok(()),
        }
    }

    fn write_proc(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let tuple = &self.expectation.tuple;
        let (family, number) = (tuple.family() as u8, tuple.protocol());
        write!(out, "{} l3proto = {family} proto={number} ", self.remaining_s())?;
        text::write_tuple("", tuple, &NF_CONNTRACK, out)?;
        let words = [self.flag(), self.helper()];
        words.iter().flatten().try_for_each(|word| write!(out, " {word}"))
    }

    // All strings here come from fixed sets or are numbers and addresses: none needs escaping.
    fn write_json(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let Expectation { tuple, master, class, .. } = &self.expectation;
        write!(out, "{{\"family\":\"{}\",", family_name(tuple.family()))?;
        if let Some(name) = protocol_name(tuple.protocol()) {
            write!(out, "\"protocol\":\"{name}\",")?;
        }
        write!(out, "\"number\":{},\"timeout\":{},", tuple.protocol(), self.remaining_s())?;
        for (name, tuple) in [("tuple", tuple), ("mask", &self.mask()), ("master", master)] {
            write!(out, "\"{name}\":{{")?;
            json::write_tuple(tuple, out)?;
            out.write_str("},")?;
        }
        write!(out, "\"zone\":{},\"class\":{class},\"flags\":[", tuple.selector.zone())?;
        for (count, flag) in self.flags().iter().enumerate() {
            write!(out, "{}\"{flag}\"", if count > 0 { "," } else { "" })?;
        }
        out.write_char(']')?;
        if let Some(helper) = self.expectation.helper() {
            write!(out, ",\"helper\":\"{}\"", helper.name())?;
        }
        if let Some(ChildNat { source, destination, port, .. }) = self.expectation.nat() {
            out.write_str(",\"nat\":{")?;
            if source != ChildNat::BY_RULES {
                write!(out, "\"src\":\"{}\",", address(tuple.family(), source))?;
            }
            write!(out, "\"dst\":\"{}\",\"dport\":{port}}}", address(tuple.family(), destination))?;
        }
        out.write_char('}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectations::Wanted;
    use crate::helpers::HelperId;
    use crate::ids::EntryId;

    fn snapshot(one_shot: bool, source: SourceMask) -> ExpectationSnapshot {
        let server = [198, 51, 100, 2].into();
        let client = [10, 0, 0, 2].into();
        let src = if source == SourceMask::Any { [0, 0, 0, 0].into() } else { server };
        let tuple = Tuple::new(src, client, 6, 0, 5001);
        let nat = Some(ChildNat { source: 1, destination: 2, port: 5001, source_port: 0 });
        let (timeout_ms, helper) = (300_000, Some(HelperId::Ftp));
        let wanted = Wanted { tuple, source, class: 0, one_shot, timeout_ms, nat, helper };
        let master = Tuple::new(client, server, 6, 40000, 21);
        let deadline = Tick::default().after_ms(timeout_ms);
        let expectation = Expectation::new(&wanted, master, EntryId::default(), 0, deadline);
        ExpectationSnapshot::of(&expectation, Instant::default())
    }

    fn line(snapshot: &ExpectationSnapshot, layout: Layout) -> String {
        let mut line = String::new();
        snapshot.write(layout, &mut line).unwrap();
        line
    }

    #[test]
    fn as_conntrack_lists_it() {
        assert_eq!(
            line(&snapshot(true, SourceMask::AnyPort), Layout::Conntrack),
            "300 proto=6 src=198.51.100.2 dst=10.0.0.2 sport=0 dport=5001 mask-src=255.255.255.255 \
             mask-dst=255.255.255.255 sport=0 dport=65535 master-src=10.0.0.2 master-dst=198.51.100.2 \
             sport=40000 dport=21 class=0 helper=ftp"
        );
        let permanent = line(&snapshot(false, SourceMask::Any), Layout::Conntrack);
        assert!(permanent.contains("src=0.0.0.0 dst=10.0.0.2"), "{permanent}");
        assert!(permanent.contains("mask-src=0.0.0.0"), "{permanent}");
        assert!(permanent.contains("dport=21 PERMANENT class=0 helper=ftp"), "{permanent}");
    }

    #[test]
    fn as_conntrack_tells_of_it() {
        let shown = snapshot(true, SourceMask::AnyPort);
        let event = |kind, layout, at| {
            let mut line = String::new();
            shown.write_event(kind, layout, at, &mut line).unwrap();
            line
        };
        let listed = line(&shown, Layout::Conntrack);
        assert_eq!(event(EventKind::New, Layout::Conntrack, None), format!("    [NEW] {listed}"));
        let at = Moment { unix_ns: 1_700_000_000_000_004_000, ..Moment::default() };
        let gone = event(EventKind::Destroy, Layout::Conntrack, Some(at));
        assert_eq!(gone, format!("[1700000000.000004]\t[DESTROY] {listed}"));
        let json = event(EventKind::New, Layout::Json, None);
        assert!(json.starts_with(r#"{"event":"new","expectation":{"family":"ipv4","#), "{json}");
    }

    #[test]
    fn as_the_kernel_lists_it() {
        assert_eq!(
            line(&snapshot(true, SourceMask::AnyPort), Layout::NfConntrack),
            "300 l3proto = 2 proto=6 src=198.51.100.2 dst=10.0.0.2 sport=0 dport=5001 ftp"
        );
        assert_eq!(
            line(&snapshot(false, SourceMask::Exact), Layout::NfConntrack),
            "300 l3proto = 2 proto=6 src=198.51.100.2 dst=10.0.0.2 sport=0 dport=5001 PERMANENT ftp"
        );
    }

    #[test]
    fn as_json() {
        let json = line(&snapshot(false, SourceMask::AnyPort), Layout::Json);
        for part in [
            r#""timeout":300,"tuple":{"src":"198.51.100.2","dst":"10.0.0.2","sport":0,"dport":5001}"#,
            r#""mask":{"src":"255.255.255.255","dst":"255.255.255.255","sport":0,"dport":65535}"#,
            r#""zone":0,"class":0,"flags":["PERMANENT"],"helper":"ftp","nat":{"src":"0.0.0.1","#,
        ] {
            assert!(json.contains(part), "{part} in {json}");
        }
    }
}
