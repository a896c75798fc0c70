//! What rules of iptables do (`-j`).

use super::matches::{Parsed, mark};
use super::words::Words;
use crate::config::{AddressRange, MssLimit, PortRange, Protocol, Redirect, Synproxy};
use crate::import::model::{Action, NatTarget, Rejection, Table, Translation};
use crate::import::report::Effect;

/// The target of a rule, and its options, which are the rest of the line.
pub(super) fn read(words: &mut Words<'_>, table: &Table, is_v4: bool, parsed: &Parsed) -> Action {
    let Some(jump) = words.next() else { return Action::Count };
    let Some(target) = words.next() else {
        return Action::Unknown(format!("`{jump}` has no value"), Effect::Either);
    };
    if jump == "-g" || jump == "--goto" {
        return Action::Goto(target.to_owned());
    }
    if table.chain(target).is_some() {
        return Action::Jump(target.to_owned());
    }
    let mut options = Options::read(words);
    let action = match target {
        "ACCEPT" => Ok(Action::Accept),
        "DROP" => Ok(Action::Drop),
        "RETURN" => Ok(Action::Return),
        "REJECT" => Ok(Action::Reject(rejection(options.take("--reject-with"), parsed))),
        "LOG" | "NFLOG" | "ULOG" => {
            let prefixes =
                ["--log-prefix", "--nflog-prefix", "--ulog-prefix"].map(|option| options.take(option));
            options.0.clear();
            Ok(Action::Log(prefixes.into_iter().flatten().next()))
        }
        "SNAT" => options.take_list("--to-source").and_then(|to| source(&to, is_v4)).map(Action::Translate),
        "DNAT" => options
            .take_list("--to-destination")
            .and_then(|to| destination(&to, is_v4))
            .map(Action::Translate),
        "MASQUERADE" => {
            ports(options.take("--to-ports")).map(|ports| translate(NatTarget::Masquerade, ports))
        }
        "REDIRECT" => ports(options.take("--to-ports")).map(|ports| {
            let to = ports.map_or(Redirect::SamePort, Redirect::Ports);
            translate(NatTarget::Redirect(to), None)
        }),
        "NETMAP" => options
            .take("--to")
            .ok_or_else(|| "`--to` is missing".to_owned())
            .and_then(|to| Ok(translate(NatTarget::Network(to.parse()?), None))),
        "NOTRACK" => Ok(Action::Untracked),
        "CT" => conntrack(&mut options),
        "CONNMARK" | "MARK" => set_mark(target, &mut options),
        "TCPMSS" => clamp_mss(&mut options),
        "SYNPROXY" => synproxy(&mut options),
        "AUDIT" | "TRACE" | "CHECKSUM" => {
            return Action::Unknown(format!("{target} does nothing here"), Effect::Note);
        }
        "QUEUE" | "NFQUEUE" | "TPROXY" => {
            return Action::Unknown(
                format!("{target} hands packets to a program, which has none here"),
                Effect::Either,
            );
        }
        other => return Action::Unknown(format!("the target {other} has no equal"), Effect::Other),
    };
    let action = action.map(|action| match action {
        Action::Translate(translation) => Action::Translate(Translation {
            random: options.take_word("--random") | options.take_word("--random-fully"),
            persistent: options.take_word("--persistent"),
            ..translation
        }),
        other => other,
    });
    match (action, options.0.first()) {
        (Ok(_), Some((option, _))) => {
            Action::Unknown(format!("the option `{option}` of {target} is not known"), effect(target))
        }
        (Ok(action), None) => action,
        (Err(why), _) => Action::Unknown(why, effect(target)),
    }
}

fn effect(target: &str) -> Effect {
    match target {
        "ACCEPT" => Effect::Fewer,
        "DROP" | "REJECT" => Effect::More,
        _ => Effect::Other,
    }
}

/// The options of a target, each with its value.
struct Options(Vec<(String, Vec<String>)>);

impl Options {
    fn read(words: &mut Words<'_>) -> Options {
        let mut options: Vec<(String, Vec<String>)> = Vec::new();
        while let Some(word) = words.next() {
            match options.last_mut() {
                Some((_, values)) if !word.starts_with("--") => values.push(word.to_owned()),
                _ => options.push((word.to_owned(), Vec::new())),
            }
        }
        Options(options)
    }

    /// Takes the value of an option.
    fn take(&mut self, option: &str) -> Option<String> {
        let at = self.0.iter().position(|(name, values)| name == option && values.len() == 1)?;
        self.0.remove(at).1.pop()
    }

    /// Takes a value that has to be there.
    fn take_list(&mut self, option: &str) -> Result<String, String> {
        self.take(option).ok_or_else(|| format!("`{option}` is missing"))
    }

    /// Takes an option without value.
    fn take_word(&mut self, option: &str) -> bool {
        let at = self.0.iter().position(|(name, values)| name == option && values.is_empty());
        at.map(|at| self.0.remove(at)).is_some()
    }
}

/// How the sender is told. Sluice tells it by a reset of TCP, and by ICMP prohibited of all else.
fn rejection(with: Option<String>, parsed: &Parsed) -> Rejection {
    let is_tcp = parsed.protocol == Some(Protocol::TCP);
    match with.as_deref() {
        Some("tcp-reset") => Rejection::Same,
        Some("icmp-admin-prohibited" | "icmp6-adm-prohibited") if parsed.protocol.is_some() && !is_tcp => {
            Rejection::Same
        }
        _ => Rejection::Other,
    }
}

fn translate(target: NatTarget, ports: Option<PortRange>) -> Action {
    Action::Translate(Translation { target, ports, random: false, persistent: false })
}

fn ports(text: Option<String>) -> Result<Option<PortRange>, String> {
    text.map(|text| text.parse()).transpose()
}

/// `203.0.113.1`, `203.0.113.1-203.0.113.9:1024-65535`.
fn range(text: &str, is_v4: bool) -> Result<AddressRange, String> {
    let range: AddressRange = text.parse()?;
    if range.is_ipv4() == is_v4 { Ok(range) } else { Err(format!("`{text}` is of the other family")) }
}

fn source(text: &str, is_v4: bool) -> Result<Translation, String> {
    if let Some(ports) = text.strip_prefix(':') {
        return Err(format!(
            "the source address stays, and only the port becomes {ports}, which cannot be said"
        ));
    }
    Ok(Translation {
        target: NatTarget::Source(range(text, is_v4)?),
        ports: None,
        random: false,
        persistent: false,
    })
}

fn destination(text: &str, is_v4: bool) -> Result<Translation, String> {
    if let Some(ports) = text.strip_prefix(':') {
        return Err(format!(
            "the destination address stays, and only the port becomes {ports}, which cannot be said"
        ));
    }
    let target = NatTarget::Destination(range(text, is_v4)?);
    Ok(Translation { target, ports: None, random: false, persistent: false })
}

/// `CT`: how the packet is tracked.
fn conntrack(options: &mut Options) -> Result<Action, String> {
    let _ = (options.take("--ctevents"), options.take("--expevents")); // who listens to what is his own choice
    if options.take_word("--notrack") {
        return Ok(Action::Untracked);
    }
    match (options.take("--helper"), options.take("--zone")) {
        (Some(helper), None) => Ok(Action::Helper(helper)),
        (None, Some(zone)) => {
            zone.parse().map(Action::Zone).map_err(|_| format!("the zone `{zone}` cannot be said"))
        }
        (Some(_), Some(_)) => Err("a helper and a zone in one rule".to_owned()),
        (None, None) => Ok(Action::Count),
    }
}

/// `CONNMARK --set-xmark 0x1/0xffffffff`; `MARK` gives one to the packet, which has none here.
fn set_mark(target: &str, options: &mut Options) -> Result<Action, String> {
    if target == "MARK" {
        return Err("a packet has no mark here, a connection has".to_owned());
    }
    let given = options.take("--set-xmark").or_else(|| options.take("--set-mark"));
    let given =
        given.ok_or_else(|| "a packet has no mark here that could be saved or restored".to_owned())?;
    match mark(&given)? {
        mark if mark.mask == u32::MAX => Ok(Action::Mark(mark.value)),
        _ => Err("a mark is set as a whole".to_owned()),
    }
}

/// `TCPMSS --clamp-mss-to-pmtu`, `TCPMSS --set-mss 1360`.
fn clamp_mss(options: &mut Options) -> Result<Action, String> {
    let limit = match options.take("--set-mss") {
        Some(bytes) => bytes.parse()?,
        None if options.take_word("--clamp-mss-to-pmtu") => MssLimit::Pmtu,
        None => return Err("it does not say to what it clamps".to_owned()),
    };
    Ok(Action::ClampMss(limit))
}

/// `SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460`. Timestamps and ECN are offered to nobody here.
fn synproxy(options: &mut Options) -> Result<Action, String> {
    let wrong = |number: String| format!("`{number}` is no number that can be offered");
    let mss = options.take_list("--mss")?;
    let wscale = options.take("--wscale");
    let _ = (options.take_word("--timestamp"), options.take_word("--ecn"));
    Ok(Action::Synproxy(Synproxy {
        mss: mss.parse().map_err(|_| wrong(mss))?,
        wscale: wscale.map(|wscale| wscale.parse().map_err(|_| wrong(wscale))).transpose()?,
        sack_perm: options.take_word("--sack-perm"),
    }))
}
