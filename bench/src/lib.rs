//! The benchmarks: their traffic, and the program that Sluice is measured beside.
#![forbid(unsafe_code)]

pub mod bare_table;
pub mod boxes;
pub mod configuration;
pub mod connection;
pub mod driver;
pub mod figures;
pub mod fragments;
pub mod full_table;
pub mod huge_pages;
pub mod interrupt;
pub mod looking;
pub mod opponent;
pub mod ovs;
pub mod process;
pub mod refused;
pub mod traffic;
pub mod worker;
