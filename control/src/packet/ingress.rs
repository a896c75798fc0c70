//! The port that a packet in words comes in by.

use sluice_conntrack::PortId;

use super::{Spoken, Wrong};
use crate::config::{Config, LOCAL, nearest};

/// The port of the interface that is named. `local` is the box's own network stack, behind the first interface that has one.
///
/// # Errors
/// None is named, or one that there is not.
pub fn ingress(config: &Config, spoken: &Spoken) -> Result<PortId, Wrong> {
    let names: Vec<&str> = config.interfaces.keys().map(String::as_str).collect();
    let Some((name, at)) = &spoken.ingress else {
        let help =
            format!("say `in {}`; the interfaces are: {}", names.first().unwrap_or(&"lan"), names.join(", "));
        let message = "it is not said by which interface the packet comes in".to_owned();
        return Err(Wrong { at: 0..1, message, help: Some(help) });
    };
    let port = |index: usize| PortId(index as u8);
    if name == LOCAL {
        let host = config.interfaces.values().position(|interface| interface.host.is_some());
        return host.map(|index| port(index).host_side()).ok_or_else(|| Wrong {
            at: at.clone(),
            message: format!("nothing comes in by `{LOCAL}`: no interface has a host side"),
            help: None,
        });
    }
    names.iter().position(|known| known == name).map(port).ok_or_else(|| {
        let near = nearest(name, &names).map(|near| format!("did you mean `{near}`?"));
        let help = near.unwrap_or_else(|| format!("the interfaces are: {}", names.join(", ")));
        Wrong { at: at.clone(), message: format!("there is no interface `{name}`"), help: Some(help) }
    })
}
