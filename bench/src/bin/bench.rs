//! The whole benchmark: tracking alone, Sluice beside the roofline and OVS-DPDK, a table and a summary.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use serde_json::{Map, Value, json};
use sluice_bench::driver::BUFFERS;
use sluice_bench::figures::{median, net_ratios, ratios};
use sluice_bench::huge_pages::HugePages;
use sluice_bench::opponent;
use sluice_bench::ovs::{self, Ovs};
use sluice_bench::process::Process;
use sluice_bench::refused::SERVERS;
use sluice_bench::traffic::{Captures, Traffic};
use sluice_bench::{interrupt, worker};
use tempfile::TempDir;

/// Measure everything; print a table, and write a flat JSON object of figures.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Options {
    /// Where the figures go
    #[arg(long, default_value = "target/bench/summary.json")]
    summary: PathBuf,
    /// What the benchmark `instructions` has printed as JSON
    #[arg(long)]
    instructions: Option<PathBuf>,
    #[command(flatten)]
    traffic: Traffic,
    /// How often each is measured, in turn; the medians count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of an established round, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Core of the poll-mode thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..64))]
    core: u8,
}

/// What Sluice and OVS meet with.
struct Opponents {
    /// Whether both translate the sources of connections.
    snat: bool,
    directory: TempDir,
    captures: Captures,
    /// The flows of OVS.
    flows: String,
}

/// What one round after the other has come to, in packets or connections a second.
#[derive(Default)]
struct Rounds {
    roofline: Vec<f64>,
    plain: Beside,
    nat: Beside,
}

/// The same of Sluice and OVS on the same captures.
#[derive(Default)]
struct Beside {
    established: Vec<f64>,
    ovs_established: Vec<f64>,
    new: Vec<f64>,
    ovs_new: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    interrupt::catch()?;
    let mut figures = Map::new();
    figures.insert("load_average".into(), json!(load_average()));
    figures.insert("cores".into(), json!(std::thread::available_parallelism()?));
    figures.insert("processor".into(), json!(processor()));

    eprintln!("Tracking alone ...");
    let text = Process::run(&sibling("micro")?, &[])?;
    let mut alone: Map<String, Value> = serde_json::from_str(&text).context("figures of micro")?;
    for name in ["bytes_per_connection", "bytes_per_translated_connection"] {
        if let Some(bytes) = alone.get(&format!("{name}_1m")).cloned() {
            alone.insert(name.into(), bytes);
        }
    }
    figures.append(&mut alone);

    eprintln!("Expiry ...");
    let text = Process::run(&sibling("expiry")?, &[])?;
    figures.append(&mut serde_json::from_str(&text).context("figures of expiry")?);

    eprintln!("Strain ...");
    let text = Process::run(&sibling("strain")?, &[])?;
    figures.append(&mut serde_json::from_str(&text).context("figures of strain")?);

    eprintln!("Fragments ...");
    let text = Process::run(&sibling("fragments")?, &[])?;
    figures.append(&mut serde_json::from_str(&text).context("figures of fragments")?);

    eprintln!("Being looked at ...");
    let text = Process::run(&sibling("looking")?, &[format!("--core={}", options.core)])?;
    figures.append(&mut serde_json::from_str(&text).context("figures of looking")?);

    eprintln!("A full routing table ...");
    let text = Process::run(&sibling("routes")?, &[])?;
    figures.append(&mut serde_json::from_str(&text).context("figures of routes")?);

    eprintln!("Telling another box ...");
    let text = Process::run(&sibling("replica")?, &[])?;
    figures.append(&mut serde_json::from_str(&text).context("figures of replica")?);

    eprintln!("Many boxes ...");
    let text = Process::run(&sibling("boxes")?, &[])?;
    figures.append(&mut serde_json::from_str(&text).context("figures of boxes")?);

    if let Some(path) = &options.instructions {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        figures.append(&mut instructions(&text)?);
    }

    let rounds = options.beside_ovs()?;
    figures.append(&mut rounds.figures());

    if let Some(directory) = options.summary.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&options.summary, format!("{:#}\n", json!(figures)))
        .with_context(|| format!("cannot write {}", options.summary.display()))?;
    print_table(&figures);
    println!("\nAll figures: {}", options.summary.display());
    Ok(())
}

impl Options {
    /// Measures roofline, Sluice and OVS in turn.
    fn beside_ovs(&self) -> anyhow::Result<Rounds> {
        let [plain, nat] = [false, true].map(|snat| self.opponents(snat));
        let (plain, nat) = (plain?, nat?);
        let huge_pages = HugePages::reserve(ovs::MEMORY_BYTES + worker::MEMORY_BYTES);
        let mut ovs = Ovs::start(self.core.into(), huge_pages.is_some())?;
        let mut rounds = Rounds::default();
        for round in 1..=self.rounds {
            eprintln!("Roofline, Sluice, OVS-DPDK: round {round} of {} ...", self.rounds);
            rounds.roofline.push(self.sluice(
                "roofline",
                &plain,
                self.traffic.connections,
                huge_pages.is_some(),
            )?);
            for (opponents, beside) in [(&plain, &mut rounds.plain), (&nat, &mut rounds.nat)] {
                self.round(opponents, &mut ovs, huge_pages.is_some(), beside)?;
            }
        }
        drop(ovs); // before its huge pages go
        Ok(rounds)
    }

    /// The captures for both, and what OVS does with them.
    fn opponents(&self, snat: bool) -> anyhow::Result<Opponents> {
        let directory = tempfile::Builder::new().prefix("sluice-bench-captures-").tempdir()?;
        let traffic = Traffic { snat, ..self.traffic };
        let captures = traffic.write(directory.path()).context("cannot write the captures")?;
        Ok(Opponents { snat, directory, captures, flows: opponent::flows(snat) })
    }

    /// Sluice and OVS in turn, once.
    fn round(
        &self,
        opponents: &Opponents,
        ovs: &mut Ovs,
        huge_pages: bool,
        beside: &mut Beside,
    ) -> anyhow::Result<()> {
        let Opponents { flows, captures, .. } = opponents;
        let duration = Duration::from_secs(self.seconds);
        beside.established.push(self.sluice(
            "established",
            opponents,
            self.traffic.connections,
            huge_pages,
        )?);
        let established = || opponent::established(ovs, flows, captures, self.traffic.connections, duration);
        beside.ovs_established.push(twice(established)?);
        beside.new.push(self.sluice("new", opponents, self.traffic.new_connections, huge_pages)?);
        beside.ovs_new.push(opponent::new_connections(ovs, flows, captures, self.traffic.new_connections)?);
        Ok(())
    }

    /// A measurement by a worker in a process of its own.
    fn sluice(
        &self,
        what: &str,
        opponents: &Opponents,
        connections: u32,
        huge_pages: bool,
    ) -> anyhow::Result<f64> {
        let mut arguments = vec![
            what.into(),
            opponents.directory.path().display().to_string(),
            format!("--connections={connections}"),
            format!("--seconds={}", self.seconds),
            format!("--core={}", self.core),
        ];
        if opponents.snat {
            arguments.push("--snat".into());
        }
        if !huge_pages {
            arguments.push("--no-huge".into());
        }
        let text = Process::run(&sibling("worker")?, &arguments)?;
        text.trim().parse().with_context(|| format!("not a rate: {text}"))
    }
}

/// OVS loses a handshake to an upcall now and then: once more, then.
fn twice(mut measure: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    measure().or_else(|_| measure())
}

impl Rounds {
    fn figures(&self) -> Map<String, Value> {
        let Self { roofline, plain, nat } = self;
        let all = [
            ("roofline_pps", roofline),
            ("sluice_established_pps", &plain.established),
            ("ovs_established_pps", &plain.ovs_established),
            ("sluice_new_per_second", &plain.new),
            ("ovs_new_per_second", &plain.ovs_new),
            ("sluice_nat_established_pps", &nat.established),
            ("ovs_nat_established_pps", &nat.ovs_established),
            ("sluice_nat_new_per_second", &nat.new),
            ("ovs_nat_new_per_second", &nat.ovs_new),
        ];
        let mut figures = Map::new();
        for (name, rounds) in all {
            figures.insert(name.into(), json!(median(rounds)));
            figures.insert(format!("{name}_rounds"), json!(rounds));
        }
        // Of each round on its own: what disturbs the machine disturbs neighbours in time alike.
        for (name, rounds, to) in [
            ("established_vs_ovs", &plain.established, &plain.ovs_established),
            ("new_vs_ovs", &plain.new, &plain.ovs_new),
            ("nat_established_vs_ovs", &nat.established, &nat.ovs_established),
            ("nat_new_vs_ovs", &nat.new, &nat.ovs_new),
            ("roofline_fraction", &plain.established, roofline),
        ] {
            figures.insert(name.into(), json!(median(&ratios(rounds, to))));
        }
        for (name, beside) in [("established_vs_ovs_net", plain), ("nat_established_vs_ovs_net", nat)] {
            let net = net_ratios(&beside.established, &beside.ovs_established, roofline);
            figures.insert(name.into(), json!(median(&net)));
        }
        figures
    }
}

/// Instructions a packet, from the JSON lines of the benchmarks that count them.
fn instructions(text: &str) -> anyhow::Result<Map<String, Value>> {
    let mut figures = Map::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let benchmark: Value = serde_json::from_str(line)?;
        let [what, id] = ["function_name", "id"].map(|key| benchmark[key].as_str());
        let what = what.context("a benchmark without a name")?;
        let name = match id {
            None | Some("plain") => what.to_owned(),
            Some(id) => format!("{id}_{what}"),
        };
        let values = &benchmark["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"];
        // Beside those of an earlier run, if there was one.
        let count = values["new"].as_f64().or(values["both"][0].as_f64());
        let count = count.with_context(|| format!("no instructions of {name}"))?;
        let packets = if what == "refused" { SERVERS } else { BUFFERS };
        figures.insert(format!("instructions_{name}"), json!((count / packets as f64).round()));
    }
    let figure = |name: &str| figures.get(name).and_then(Value::as_f64).with_context(|| format!("no {name}"));
    let off = figure("instructions_helpers_of_others_established")? - figure("instructions_established")?;
    let factor = figure("instructions_helped_line")? / figure("instructions_line")?;
    figures.insert("helper_off_instructions".into(), json!(off));
    figures.insert("helper_idle_factor".into(), json!(factor));
    Ok(figures)
}

/// The program `name` beside this one.
fn sibling(name: &str) -> anyhow::Result<String> {
    let path = std::env::current_exe()?.with_file_name(name);
    Ok(path.display().to_string())
}

/// The name of the processor: times of another compare with nothing.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(name.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// The load of the machine, which the figures depend on.
fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn print_table(figures: &Map<String, Value>) {
    let rows = [
        ("track_ns_10k", "tracking, 10 thousand connections", "ns a packet", ""),
        ("track_ns_1m", "tracking, 1 million", "ns a packet", "at most 150"),
        ("track_ns_10m", "tracking, 10 million", "ns a packet", ""),
        ("new_ns", "new connection, up to 1 million", "ns each", "at most 300"),
        ("bytes_per_connection", "memory at 1 million, all told", "bytes a connection", "at most 192"),
        ("nat_ns_10k", "translated, 10 thousand", "ns a packet", ""),
        ("nat_ns_1m", "translated, 1 million", "ns a packet", ""),
        ("nat_ns_10m", "translated, 10 million", "ns a packet", ""),
        ("nat_extra_ns_1m", "translation alone, 1 million", "ns a packet", "at most 40"),
        ("nat_new_ns", "new translated connection", "ns each", "at most 400"),
        ("bytes_per_translated_connection", "memory, translated", "bytes a connection", "at most 192"),
        ("two_workers_vs_one", "two workers to one, translated", "times", "at least 1.8 on idle cores"),
        ("handoffs_per_packet_snat", "handoffs of translated packets", "a packet", "0"),
        ("expiry_longest_loop_us", "expiry, longest call", "us", "at most 50"),
        ("track_to_bound_1m", "tracking to a bare table, 1 million", "times", "at most 1.4"),
        ("life_per_second", "whole TCP connections", "a second", "at least 1 M on Zen 4"),
        ("nat_life_per_second", "the same, translated", "a second", "at least 0.8 M on Zen 4"),
        ("flood_fraction", "a full table in a flood to a half full one", "times", "at least 0.8"),
        ("flood_lost", "established packets lost in it", "", "0"),
        ("refused_ns", "a first packet without a port", "ns each", "at most 5000"),
        ("entries_120m_bytes", "120 million entries (line drawn)", "bytes each", "at most 168"),
        ("entries_120m_start_s", "their start", "s", "at most 60"),
        ("translated_entries_120m_bytes", "the same, translated", "bytes each", "at most 192"),
        ("expiry_lag_ms", "expiry, last of a million", "ms late", "at most 1000"),
        ("fragment_rate_fraction", "packets of datagrams in two to whole ones", "times", "at least 0.5"),
        ("fragment_flood_loss", "taken by a flood of 1%", "of the rate", "under 0.05"),
        ("fragment_smack_cost", "one of 128 tiny fragments to a packet", "times", "at most 1"),
        ("looking_cost", "counters, dump, events and capture", "of the rate", "under 0.05"),
        ("dump_cost", "a dump of 10 million entries", "of the rate", "under 0.02"),
        ("capture_cost", "a capture that fits none", "of the rate", ""),
        ("dumped_per_second", "entries in that dump", "a second", ""),
        ("routed_extra_ns", "a full table, more than over a wire", "ns a packet", "at most 15"),
        ("routes_load_ms", "1 M routes of IPv4, 250 k of IPv6, made", "ms", ""),
        ("routes_memory_bytes", "their memory", "bytes", ""),
        ("routes_swap_us", "their swap, in a worker", "us", ""),
        ("ha_export_ns", "telling of a connection", "ns each", "at most 30"),
        ("ha_install_ns", "installing one that was told of", "ns each", "at most 400"),
        ("ha_nat_install_ns", "the same, translated", "ns each", "at most 400"),
        ("ha_boxes_one_dead_lost", "lost as one of 64 boxes dies", "of all", "0"),
        ("ha_boxes_one_dead_busiest", "the busiest box then", "times", "at most 1.13"),
        ("ha_boxes_two_dead_lost", "lost as two die at once", "of all", "at most 0.002"),
        ("ha_boxes_upgraded_lost", "lost as all are restarted in turn", "of all", "0"),
        ("instructions_established", "established packet", "instructions", ""),
        ("instructions_routed_established", "routed packet", "instructions", ""),
        ("instructions_host_port_established", "the same beside a host port", "instructions", "no more"),
        ("instructions_new", "new connection", "instructions", ""),
        ("instructions_snat_1_shard_established", "translated packet, 1 shard", "instructions", ""),
        ("instructions_snat_2_shards_established", "of 2 shards", "instructions", "no more"),
        ("instructions_snat_4_shards_established", "of 4 shards", "instructions", "no more"),
        ("instructions_snat_8_shards_established", "of 8 shards", "instructions", "no more"),
        ("instructions_snat_1_shard_new", "new translated connection, 1 shard", "instructions", ""),
        ("instructions_snat_8_shards_new", "of 8 shards", "instructions", ""),
        ("instructions_address_1_refused", "new connection without a port, 1 address", "instructions", ""),
        ("instructions_addresses_16_refused", "of 16 addresses", "instructions", ""),
        ("instructions_addresses_16_remembered_refused", "the next one there", "instructions", ""),
        ("helper_off_instructions", "helpers of no concern, a packet", "instructions", "at most 3"),
        ("helper_idle_factor", "a line that announces nothing", "times", "at most 1.5"),
        ("roofline_pps", "roofline", "packets a second", ""),
        ("sluice_established_pps", "Sluice, established", "packets a second", ""),
        ("ovs_established_pps", "OVS-DPDK, established", "packets a second", ""),
        ("established_vs_ovs", "Sluice to OVS-DPDK, established", "times", "at least 4"),
        ("established_vs_ovs_net", "the same, less the roofline's time", "times", "at least 8"),
        ("roofline_fraction", "Sluice to roofline", "times", ""),
        ("sluice_new_per_second", "Sluice, new connections", "a second", ""),
        ("ovs_new_per_second", "OVS-DPDK, new connections", "a second", ""),
        ("new_vs_ovs", "Sluice to OVS-DPDK, new connections", "times", ""),
        ("sluice_nat_established_pps", "Sluice, translated", "packets a second", ""),
        ("ovs_nat_established_pps", "OVS-DPDK, translated", "packets a second", ""),
        ("nat_established_vs_ovs", "Sluice to OVS-DPDK, translated", "times", "at least 4"),
        ("nat_established_vs_ovs_net", "the same, less the roofline's time", "times", "at least 9"),
        ("sluice_nat_new_per_second", "Sluice, new translated", "a second", ""),
        ("ovs_nat_new_per_second", "OVS-DPDK, new translated", "a second", ""),
        ("nat_new_vs_ovs", "Sluice to OVS-DPDK, new translated", "times", "at least 4"),
        ("cores", "cores of the machine", "", ""),
        ("load_average", "load of the machine at the begin", "", ""),
    ];
    println!("\nMeasured on {}", figures["processor"].as_str().unwrap_or("an unknown processor"));
    for (name, what, unit, goal) in rows {
        if let Some(figure) = figures.get(name).and_then(Value::as_f64) {
            let digits = if figure < 100.0 { 2 } else { 0 };
            println!("{what:36} {figure:>12.digits$} {unit:18} {goal}");
        }
    }
}
