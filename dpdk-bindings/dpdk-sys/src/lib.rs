//! Raw bindings to the system's DPDK (22.11 or later): the functions, types and constants that the
//! `dpdk` crate is made of, as bindgen sees them. Static inline functions are called through compiled
//! wrappers of the same name. `build.rs` holds the list of what is bound; DPDK's own manual documents it.

#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
