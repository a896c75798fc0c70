//! The kernel's side of a device that sits on one of the kernel's interfaces, as net_af_packet does: whether the interface
//! is there and runs, and what the driver's packet sockets have lost (packet(7)). DPDK 22.11 asks for neither: its link is up
//! as long as the port is started, and `imissed` stays zero.

use std::ffi::c_void;
use std::fs;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// An interface of the kernel, in the network namespace that this is called in. One that is deleted and made anew by its
/// name is another: the driver has nothing to do with it.
#[derive(Debug)]
pub(crate) struct KernelInterface {
    index: u32,
    /// The driver's packet sockets on it, again: the kernel counts for each.
    sockets: Vec<OwnedFd>,
    /// Packets that found the rings of the sockets full.
    missed: AtomicU64,
}

impl KernelInterface {
    /// The interface of this number (`if_index`), and the sockets that this process has opened on it.
    pub(crate) fn new(index: u32) -> Self {
        let sockets = open_sockets().filter(|&fd| packet_socket_on(fd) == Some(index));
        // SAFETY: the descriptor is open: the driver closes it when the device is detached, which this borrow ends before.
        let again = |fd| unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().ok();
        let sockets: Vec<OwnedFd> = sockets.filter_map(again).collect();
        // What they have lost so far was not for a port that runs.
        for socket in &sockets {
            take_drops(socket);
        }
        Self { index, sockets, missed: AtomicU64::new(0) }
    }

    /// Whether the interface is there, up and has its carrier (`IFF_RUNNING`, netdevice(7)).
    pub(crate) fn is_running(&self) -> bool {
        flags(self.index).is_some_and(|flags| flags & libc::IFF_RUNNING != 0)
    }

    /// Packets that found the rings of the driver's sockets full since this was made.
    pub(crate) fn missed(&self) -> u64 {
        // The kernel's counters begin anew with each answer.
        let more = self.sockets.iter().map(|socket| u64::from(take_drops(socket))).sum();
        self.missed.fetch_add(more, Ordering::Relaxed) + more
    }
}

/// The sockets of this process. Other files are left alone: with a second descriptor of a file, its locks would be lost.
fn open_sockets() -> impl Iterator<Item = RawFd> {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let sockets = open.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    sockets.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The number of the interface that a packet socket is bound to; `None` of any other socket.
fn packet_socket_on(fd: RawFd) -> Option<u32> {
    // SAFETY: plain data for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    let mut length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` has the length that is told; any number may be asked for, open or not.
    let status = unsafe { libc::getsockname(fd, (&raw mut address).cast(), &mut length) };
    let is_packet = status == 0 && i32::from(address.sll_family) == libc::AF_PACKET;
    is_packet.then_some(address.sll_ifindex.cast_unsigned())
}

/// Packets that a packet socket has dropped since it was last asked.
fn take_drops(socket: &OwnedFd) -> u32 {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of_val(&stats) as libc::socklen_t;
    let into: *mut c_void = (&raw mut stats).cast();
    // SAFETY: `stats` has the length that is told, and any bytes are values of it.
    let status = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, into, &mut length)
    };
    if status == 0 { stats.tp_drops } else { 0 }
}

/// The flags of an interface by its number; `None` where it is gone.
fn flags(index: u32) -> Option<i32> {
    // SAFETY: no pointers are passed.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return None;
    }
    // SAFETY: the descriptor has just been made, for this owner alone.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: plain data for which zero is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_ifru.ifru_ifindex = index.cast_signed();
    // SAFETY: the request is of the type that both calls take; the first leaves the name in it that the second wants.
    let status = unsafe {
        match libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFNAME, &raw mut request) {
            0 => libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request),
            failed => failed,
        }
    };
    // SAFETY: the second call has left the flags there.
    (status == 0).then(|| i32::from(unsafe { request.ifr_ifru.ifru_flags }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_runs_only_where_it_is() {
        // SAFETY: a NUL-terminated name.
        let loopback = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
        assert!(KernelInterface::new(loopback).is_running());
        assert!(!KernelInterface::new(i32::MAX as u32).is_running());
    }
}
