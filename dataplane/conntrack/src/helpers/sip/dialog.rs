//! What is remembered of a connection that brings SIP: Linux's `nf_ct_sip_master`.

use zerocopy::FromZeros;

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub(crate) struct Dialog {
    /// Numbers of its last INVITE and REGISTER.
    pub(crate) invite: u32,
    pub(crate) register: u32,
    /// The port at which its client waits for answers, where it is not the one that it sends from; else 0.
    pub(crate) answers_at: u16,
}
