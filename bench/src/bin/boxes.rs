//! Measures what becomes of connections where boxes that share groups die or are restarted.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use serde_json::json;
use sluice_bench::boxes::{Boxes, Scale};
use sluice_bench::interrupt;

/// Have boxes share groups, and die; print a JSON object.
#[derive(Parser)]
#[command(name = "boxes", version)]
struct Options {
    /// Boxes
    #[arg(long, default_value_t = 64)]
    boxes: usize,
    /// Groups that each is preferred for
    #[arg(long, default_value_t = 8)]
    groups: usize,
    /// Connections of each group
    #[arg(long, default_value_t = 2500)]
    connections: u32,
    /// How late a box reads what another tells, in milliseconds
    #[arg(long, default_value_t = 3)]
    lag: u64,
}

fn main() -> anyhow::Result<()> {
    let Options { boxes, groups, connections, lag } = Options::parse();
    interrupt::catch()?;
    let scale = Scale { boxes, groups, connections };
    let begin = || -> anyhow::Result<Boxes> {
        interrupt::sleep(Duration::ZERO)?;
        let mut it = Boxes::new(scale, Duration::from_millis(lag))?;
        it.open_all()?;
        it.settle()?;
        ensure!(it.are_apart(), "two connections are the same outside");
        Ok(it)
    };
    let all = boxes * groups * connections as usize;
    let lost = |survived: usize| (all - survived) as f64 / all as f64;

    let mut it = begin()?;
    it.kill(boxes / 3)?;
    let one_dead = it.go_on();
    let busiest = it.busiest();
    drop(it);
    // At once: what the first one had is with boxes that may be the second.
    let mut second = begin()?;
    second.kill(boxes / 3)?;
    second.kill(boxes / 3 + 1)?;
    let two_dead = second.go_on();
    drop(second);

    let mut upgraded = begin()?;
    for number in 0..boxes {
        interrupt::sleep(Duration::ZERO)?;
        upgraded.restart(number)?;
    }
    let restarted = upgraded.go_on();
    let figures = json!({
        "ha_boxes": boxes,
        "ha_boxes_connections": all,
        "ha_boxes_one_dead_lost": lost(one_dead.survived),
        "ha_boxes_one_dead_busiest": busiest,
        "ha_boxes_two_dead_lost": lost(two_dead.survived),
        "ha_boxes_upgraded_lost": lost(restarted.survived),
    });
    println!("{figures:#}");
    Ok(())
}
