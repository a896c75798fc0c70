//! FTP (RFC 959, RFC 2428).

use super::Descriptor;
use crate::tuple::protocol;

/// A client may announce one data connection after the other, but it has one at a time.
pub(super) const DESCRIPTOR: Descriptor =
    Descriptor { name: "ftp", protocol: protocol::TCP, ports: &[21], max_expectations: 1, timeout_s: 300 };
