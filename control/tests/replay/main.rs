//! `sluice replay`, the built command, on captures made here, on the sample, and on those of a directory.

mod answers;
mod captures;
mod damage;
mod formats;
mod fragments;
mod helpers;
mod limits;
mod load_generators;
mod sample;
mod scratch;
mod tags;
mod time;
mod workers;
