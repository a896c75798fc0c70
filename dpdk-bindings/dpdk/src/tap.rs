//! The kernel's TAP: an interface of its network stack whose frames a program reads and writes (tun(4)). DPDK's own driver
//! for it, net_tap, has the kernel send a signal for each frame.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// A TAP that this process has made, gone when this is dropped. The kernel computes all checksums of what it sends and cuts
/// nothing together: it is not told that there is anybody to leave that to (`TUNSETOFFLOAD`).
#[derive(Debug)]
pub struct Tap {
    device: File,
    index: u32,
}

impl Tap {
    /// Makes an interface of this name in the network namespace that the calling thread is in. It is down, and has neither
    /// addresses nor a MAC address that anybody chose.
    ///
    /// # Errors
    /// The name is taken or too long, or this process may not (`CAP_NET_ADMIN`); there is no /dev/net/tun.
    pub fn new(name: &str) -> io::Result<Self> {
        let device =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        // SAFETY: plain data for which zero is a value.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        // The last byte stays zero: it ends the name.
        let (_, bytes) = request.ifr_name.split_last_mut().ok_or(io::ErrorKind::InvalidInput)?;
        if name.is_empty() || name.len() > bytes.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, byte) in bytes.iter_mut().zip(name.bytes()) {
            *to = byte.cast_signed();
        }
        // Else a TAP of that name which outlived its program is taken over.
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL) as i16;
        // SAFETY: the request is of the type that the call takes, its name NUL-terminated.
        if unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the name is NUL-terminated, as above.
        let index = unsafe { libc::if_nametoindex(request.ifr_name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { device, index })
    }

    /// The kernel's number of the interface.
    pub fn index(&self) -> u32 {
        self.index
    }
}

/// A frame at a time; `WouldBlock` where none waits.
impl Read for Tap {
    fn read(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        self.device.read(frame)
    }
}

/// A frame at a time. An error where the interface is down or gone.
impl Write for Tap {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        self.device.write(frame)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
