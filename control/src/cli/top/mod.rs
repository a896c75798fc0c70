//! `sluice top`: a running daemon on a screen, anew each second.

mod screen;
mod sight;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;

use super::ask::{Failure, Socket, exit};
use crate::config::Seconds;
use crate::socket::Client;
use screen::draw;
use sight::{Sight, Sort, Watch};

/// Columns and most rows of what is printed where there is no terminal.
const PLAIN: (u16, u16) = (100, 60);

/// A running daemon on a screen, anew each second: rates, drops, workers, pools, who has made the connections
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Keys: q quits; lists are sorted by r, the rate or what is in use, by t, the total, and by n,
the name.

All rates are of the last interval. `busy` is the part of its time in which a worker had
packets, `held` what waits with it for the rest of a datagram, another worker or a neighbour.
Sources are those of the original direction of entries in the table, by a sample: each second
256 of each worker's slots, spread over all of its table, and the last ten seconds count; of a
table no larger than that it is exact. It costs a worker some tens of microseconds a second.

Without a terminal, or with --once, one screen is printed, of one interval.")]
pub struct Top {
    /// How often the screen is drawn anew
    #[arg(short, long, value_name = "TIME", default_value = "1s")]
    interval: Seconds,

    /// Print one screen, and end
    #[arg(long)]
    once: bool,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

impl Top {
    /// Shows it until `q` is pressed.
    pub fn run(&self) -> ExitCode {
        exit(self.show())
    }

    fn show(&self) -> Result<(), Failure> {
        let interval = Duration::from_secs(self.interval.0.max(1).into());
        let mut watch = Watch::begin(Client::connect(&self.socket.path)?)?;
        if self.once || !io::stdout().is_terminal() {
            thread::sleep(interval);
            let text = plain(&watch.look()?, Sort::default());
            return Ok(io::stdout().write_all(text.as_bytes())?);
        }
        let mut terminal = ratatui::try_init()?;
        let shown = on(&mut terminal, &mut watch, interval);
        ratatui::restore();
        shown
    }
}

/// Draws on a terminal until its user has seen enough.
fn on(terminal: &mut DefaultTerminal, watch: &mut Watch, interval: Duration) -> Result<(), Failure> {
    let (mut sort, mut sight) = (Sort::default(), Sight::default());
    let mut next = Instant::now() + interval;
    loop {
        terminal.draw(|frame| draw(&sight, sort, frame.area(), frame.buffer_mut()))?;
        let left = next.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            sight = watch.look()?;
            next = Instant::now() + interval;
        } else if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char(letter) => sort = Sort::by_key(letter).unwrap_or(sort),
                _ => {}
            }
        }
    }
}

/// The same as lines of text.
fn plain(sight: &Sight, sort: Sort) -> String {
    let (columns, rows) = PLAIN;
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    draw(sight, sort, buffer.area, &mut buffer);
    let row = |row: &[ratatui::buffer::Cell]| {
        row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    };
    let text = buffer.content.chunks(columns.into()).map(row).collect::<Vec<_>>().join("\n");
    text.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests;
