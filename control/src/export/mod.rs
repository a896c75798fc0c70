//! What the box tells others of connections that begin and end: as what ([`record`]), and in which formats. Who has the formats
//! written and sent is `run/export`.

pub mod going_on;
pub mod ipfix;
pub mod journal;
pub mod record;
pub mod syslog;
