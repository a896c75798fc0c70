//! The `sluice` command.
#![forbid(unsafe_code)]

fn main() {
    println!("sluice {}", env!("CARGO_PKG_VERSION"));
}
