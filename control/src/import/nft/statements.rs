//! What rules of nft do.

use serde_json::Value;

use super::alternatives::{Expanded, both};
use super::limits;
use super::matches;
use super::values::{Objects, plain};
use crate::config::{AddressRange, MssLimit, PortRange, Redirect, Synproxy};
use crate::import::model::{Action, Field, Match, NatTarget, Rejection, Translation};
use crate::import::report::Effect;
use crate::import::set::NumberSet;

/// What a statement is.
pub(super) enum Statement {
    /// It only goes on for packets that all of these fit.
    Conditions(Vec<Match>),
    /// It does something, each to what its matches fit.
    Actions(Expanded),
    /// It does nothing of consequence.
    Nothing,
}

/// Reads a statement. One that is not known does nothing here, which is said.
pub(super) fn read(kind: &str, value: &Value, objects: &Objects<'_>) -> Statement {
    let action = match kind {
        "limit" | "ct count" => return Statement::Conditions(limits::read(kind, value)),
        "quota" => return Statement::Conditions(vec![Match::Unknown(format!("`{kind}` is not known"))]),
        "set" | "meter" if value.get("stmt").is_some() => {
            return Statement::Conditions(limits::of_elements(value, objects));
        }
        "counter" | "comment" | "continue" => return Statement::Nothing,
        "snat" | "dnat" | "masquerade" | "redirect" => return translation(kind, value, objects),
        "log" => {
            let prefix = value.get("prefix").and_then(Value::as_str);
            Action::Log(prefix.map(str::to_owned))
        }
        "reject" => Action::Reject(match value.get("type").and_then(Value::as_str) {
            Some("tcp reset") => Rejection::Same,
            _ => Rejection::Other,
        }),
        "notrack" => Action::Untracked,
        "ct helper" => return helper(value, objects),
        "mangle" => mangle(value),
        "flow" => Action::Unknown("every connection takes the short way here".to_owned(), Effect::Note),
        "synproxy" => synproxy(value, objects),
        "queue" | "tproxy" => Action::Unknown(
            format!("`{kind}` hands packets to a program, which has none here"),
            Effect::Either,
        ),
        "xt" => Action::Unknown(
            "iptables has written it: give what iptables-save writes".to_owned(),
            Effect::Either,
        ),
        _ => match verdict(kind, value) {
            Some(verdict) => verdict,
            None => Action::Unknown(format!("the statement `{kind}` has no equal"), Effect::Other),
        },
    };
    Statement::Actions(vec![(Vec::new(), action)])
}

fn verdict(kind: &str, value: &Value) -> Option<Action> {
    let target = || value.get("target").and_then(Value::as_str).map(str::to_owned);
    match kind {
        "accept" => Some(Action::Accept),
        "drop" => Some(Action::Drop),
        "return" => Some(Action::Return),
        "jump" => target().map(Action::Jump),
        "goto" => target().map(Action::Goto),
        _ => None,
    }
}

/// A verdict map: a rule for each of its elements.
pub(super) fn verdicts(value: &Value, objects: &Objects<'_>, ways: &[Vec<Match>], rules: &mut Expanded) {
    if let Err(why) = verdicts_of(value, objects, ways, rules) {
        let unknown = Action::Unknown(why, Effect::Either);
        rules.extend(ways.iter().map(|way| (way.clone(), unknown.clone())));
    }
}

fn verdicts_of(
    value: &Value,
    objects: &Objects<'_>,
    ways: &[Vec<Match>],
    rules: &mut Expanded,
) -> Result<(), String> {
    let wrong = || "a map of verdicts that cannot be read".to_owned();
    let (key, data) = value.get("key").zip(value.get("data")).ok_or_else(wrong)?;
    let mut found = Vec::new();
    for element in objects.elements(data)?.ok_or_else(wrong)? {
        let [when, then] = element.as_array().map(Vec::as_slice).ok_or_else(wrong)? else {
            return Err(wrong());
        };
        let (kind, value) = then.as_object().and_then(|then| then.iter().next()).ok_or_else(wrong)?;
        if kind == "continue" {
            continue;
        }
        let action = verdict(kind, value).ok_or_else(wrong)?;
        let matches = matches::equals(key, plain(when), objects)?;
        found.extend(both(ways, &matches).into_iter().map(|way| (way, action.clone())));
    }
    rules.append(&mut found);
    Ok(())
}

/// `ct helper set "NAME"`: an object of the table says which that is, and of which protocol.
fn helper(value: &Value, objects: &Objects<'_>) -> Statement {
    let name = value.as_str().unwrap_or_default();
    let object = objects.get("ct helper", name);
    let word =
        |key: &str| object.and_then(|object| object.get(key)).and_then(Value::as_str).unwrap_or_default();
    let protocol = super::values::protocol(word("protocol"));
    let Some(protocol) = protocol else {
        let unknown = Action::Unknown(format!("there is no helper `{name}`"), Effect::Other);
        return Statement::Actions(vec![(Vec::new(), unknown)]);
    };
    let matches = vec![Match::Set(Field::Protocol, NumberSet::one(u128::from(protocol)))];
    Statement::Actions(vec![(matches, Action::Helper(word("type").to_owned()))])
}

/// `ct mark set 7`, `ct zone set 1`, `tcp option maxseg size set rt mtu`; all else that is changed of a packet has no equal.
fn mangle(value: &Value) -> Action {
    let option = value.get("key").and_then(|key| key.get("tcp option"));
    if option.and_then(|option| option.get("name")).and_then(Value::as_str) == Some("maxseg") {
        return clamp_mss(value.get("value"));
    }
    let key =
        value.get("key").and_then(|key| key.get("ct")).and_then(|ct| ct.get("key")).and_then(Value::as_str);
    let number = value.get("value").and_then(Value::as_u64);
    let mark = number.and_then(|number| u32::try_from(number).ok());
    let zone = number.and_then(|number| u16::try_from(number).ok());
    match (key, mark, zone) {
        (Some("mark"), Some(mark), _) => Action::Mark(mark),
        (Some("zone"), _, Some(zone)) => Action::Zone(zone),
        _ => Action::Unknown("what it changes has no equal".to_owned(), Effect::Other),
    }
}

/// `synproxy mss 1460 wscale 7 timestamp sack-perm`, or an object of that name. Timestamps are offered to nobody here.
fn synproxy(value: &Value, objects: &Objects<'_>) -> Action {
    let named = value.as_str().map(|name| name.trim_start_matches('@'));
    let value = named.and_then(|name| objects.get("synproxy", name)).unwrap_or(value);
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    let flags = value.get("flags");
    let has = |name: &str| match flags {
        Some(Value::Array(flags)) => flags.iter().any(|flag| flag == name),
        flag => flag.is_some_and(|flag| flag == name),
    };
    let mss = number("mss").and_then(|mss| u16::try_from(mss).ok());
    let wscale = number("wscale").map(u8::try_from).transpose();
    match (mss, wscale) {
        (Some(mss), Ok(wscale)) => Action::Synproxy(Synproxy { mss, wscale, sack_perm: has("sack-perm") }),
        _ => Action::Unknown("what it offers to clients cannot be said".to_owned(), Effect::Either),
    }
}

/// What the option becomes: `rt mtu`, or a number.
fn clamp_mss(size: Option<&Value>) -> Action {
    let is_mtu = |size: &Value| size.get("rt").and_then(|rt| rt.get("key")).is_some_and(|key| key == "mtu");
    let limit = match size {
        Some(size) if is_mtu(size) => Ok(MssLimit::Pmtu),
        Some(size) => size.to_string().parse(),
        None => Err("it does not say to what it clamps".to_owned()),
    };
    limit.map_or_else(|why| Action::Unknown(why, Effect::Other), Action::ClampMss)
}

fn translation(kind: &str, value: &Value, objects: &Objects<'_>) -> Statement {
    let unknown = |why: String| vec![(Vec::new(), Action::Unknown(why, Effect::Other))];
    Statement::Actions(translations(kind, value, objects).unwrap_or_else(unknown))
}

/// One translation; of a map, one for each of its elements.
fn translations(kind: &str, value: &Value, objects: &Objects<'_>) -> Result<Expanded, String> {
    let flags = value.get("flags");
    let flags =
        flags.map_or(&[][..], |flags| flags.as_array().map_or(std::slice::from_ref(flags), Vec::as_slice));
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    let ports = value.get("port").map(ports).transpose()?;
    let with = |target, ports| {
        Action::Translate(Translation {
            target,
            ports,
            random: has("random") || has("fully-random"),
            persistent: has("persistent"),
        })
    };
    let wrong = || "what it translates to cannot be read".to_owned();
    let address = match (kind, value.get("addr")) {
        ("masquerade", _) => return Ok(vec![(Vec::new(), with(NatTarget::Masquerade, ports))]),
        ("redirect", _) => {
            let to = ports.map_or(Redirect::SamePort, Redirect::Ports);
            return Ok(vec![(Vec::new(), with(NatTarget::Redirect(to), None))]);
        }
        (_, None) => {
            return Err("the address stays, and only the port changes, which cannot be said".to_owned());
        }
        (_, Some(address)) => address,
    };
    let target = |range: AddressRange| match kind {
        "snat" => NatTarget::Source(range),
        _ => NatTarget::Destination(range),
    };
    let of_family =
        |range: &AddressRange| vec![Match::Set(Field::Family, NumberSet::one(u128::from(!range.is_ipv4())))];
    if let Some(map) = address.get("map") {
        let (key, data) = map.get("key").zip(map.get("data")).ok_or_else(wrong)?;
        let mut found = Vec::new();
        for element in objects.elements(data)?.ok_or_else(wrong)? {
            let [when, then] = element.as_array().map(Vec::as_slice).ok_or_else(wrong)? else {
                return Err(wrong());
            };
            let (address, port) = match then.get("concat").and_then(Value::as_array).map(Vec::as_slice) {
                Some([address, port]) => (address, Some(self::ports(port)?)),
                Some(_) => return Err(wrong()),
                None => (then, ports),
            };
            let range = AddressRange { ports: port, ..range(address)? };
            let matches = both(&[of_family(&range)], &matches::equals(key, plain(when), objects)?);
            found.extend(matches.into_iter().map(|way| (way, with(target(range), None))));
        }
        return Ok(found);
    }
    let to = range(address)?;
    let target = match (has("netmap"), address.get("prefix")) {
        (true, Some(prefix)) => {
            let text =
                format!("{}/{}", to.first, prefix.get("len").and_then(Value::as_u64).ok_or_else(wrong)?);
            NatTarget::Network(text.parse()?)
        }
        (true, None) => return Err(wrong()),
        (false, _) => target(AddressRange { ports, ..to }),
    };
    Ok(vec![(of_family(&to), with(target, None))])
}

/// An address, a range or a prefix.
fn range(value: &Value) -> Result<AddressRange, String> {
    let wrong = || format!("{value} is no address");
    if let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        let (first, last) = first.as_str().zip(last.as_str()).ok_or_else(wrong)?;
        return format!("{first}-{last}").parse();
    }
    if let Some(prefix) = value.get("prefix") {
        let (address, length) =
            (prefix.get("addr").and_then(Value::as_str), prefix.get("len").and_then(Value::as_u64));
        let (address, length) = address.zip(length).ok_or_else(wrong)?;
        return format!("{address}/{length}").parse();
    }
    value.as_str().ok_or_else(wrong)?.parse()
}

fn ports(value: &Value) -> Result<PortRange, String> {
    let text = match value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([first, last]) => format!("{first}-{last}"),
        _ => value.to_string(),
    };
    text.parse()
}
