//! A Sluice that speaks the oracle's pipe protocol: one JSON object a line in, one out.
//!
//! The oracle is a collection of scripted packet exchanges with what Linux made of them. [`neutral`] turns its
//! configuration into a file of Sluice's own, [`router`] is the box itself: one shard and a clock that the script
//! moves, and [`entries`] shows the table in the oracle's words.

pub mod entries;
pub mod neutral;
pub mod router;

use anyhow::{Context as _, Result, bail};
use router::Router;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One request.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Request {
    Start { config: Map<String, Value> },
    Send { side: String, l3: String },
    Wait { seconds: f64 },
    Blast { side: String, l3: Vec<String> },
    Control { cmd: String, args: Map<String, Value> },
    Observe,
    Stop,
}

/// A session: the box, once it has been started, and its configuration in the oracle's form.
#[derive(Debug)]
pub struct Session {
    /// Settings that Linux has for the whole machine, so that no configuration says them.
    machine: Map<String, Value>,
    /// Whether it is said how tracking takes the packets of the box itself, which a router has.
    routed: bool,
    started: Option<(Router, Map<String, Value>)>,
}

impl Session {
    /// A session on a machine with these settings, each `SYSCTL=VALUE`. Where `--routed` is among them, it is also said how
    /// tracking takes the packets of the box itself.
    ///
    /// # Errors
    /// When one is not of that form.
    pub fn new(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (flags, machine): (Vec<String>, Vec<String>) =
            arguments.partition(|argument| argument == "--routed");
        let setting = |setting: String| {
            let (name, value) = setting.split_once('=').context("a setting is SYSCTL=VALUE")?;
            Ok((name.to_owned(), json!(value.parse::<u32>()?)))
        };
        let machine = machine.into_iter().map(setting).collect::<Result<_>>()?;
        Ok(Self { machine, routed: !flags.is_empty(), started: None })
    }

    /// Answers one line; the flag says that it was the last.
    pub fn answer(&mut self, line: &str) -> (Value, bool) {
        match serde_json::from_str(line) {
            Err(error) => (json!({ "error": error.to_string() }), false),
            Ok(request) => {
                let last = matches!(request, Request::Stop);
                let answer = self.act(request);
                (answer.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })), last)
            }
        }
    }

    fn act(&mut self, request: Request) -> Result<Value> {
        match request {
            Request::Start { mut config } => {
                if let Some(sysctls) = config.entry("sysctl").or_insert(json!({})).as_object_mut() {
                    sysctls.extend(self.machine.clone());
                }
                let router = Router::new(&neutral::to_file(&config)?, self.routed)?;
                self.started = Some((router, config));
                return Ok(json!({}));
            }
            Request::Stop => return Ok(json!({})),
            _ => {}
        }
        let (router, config) = self.started.as_mut().context("the box has not been started")?;
        match request {
            Request::Send { side, l3 } => router.send(&side, &bytes(&l3)?),
            Request::Wait { seconds } => router.wait(seconds),
            Request::Blast { side, l3 } => {
                for packet in l3 {
                    router.send(&side, &bytes(&packet)?)?;
                }
                Ok(json!({}))
            }
            Request::Control { cmd, args } => control(router, config, &cmd, args),
            Request::Observe => Ok(entries::observe(router)),
            Request::Start { .. } | Request::Stop => Ok(json!({})),
        }
    }
}

fn control(
    router: &mut Router,
    config: &mut Map<String, Value>,
    cmd: &str,
    args: Map<String, Value>,
) -> Result<Value> {
    match cmd {
        "flush" => router.delete(|_| true),
        "delete" => {
            let filter = entries::Filter::new(&args)?;
            router.delete(|entry| filter.matches(entry));
        }
        "flush_expect" => drop(router.shard.delete_expectations(|_| true)),
        // Rules given here are in force until the next ones; settings stay.
        "config" => {
            let mut changed = config.clone();
            for (key, value) in args {
                match (changed.get_mut(&key), value) {
                    (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
                    (_, value) => drop(changed.insert(key, value)),
                }
            }
            router.configure(&neutral::to_file(&changed)?)?;
            config.extend(changed.remove_entry("sysctl"));
        }
        other => bail!("unknown control command {other}"),
    }
    Ok(json!({ "out": [], "ct": [], "why": [] }))
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).context("not hexadecimal")?;
    Ok(digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
