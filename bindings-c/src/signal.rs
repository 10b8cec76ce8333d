//! A descriptor that event loops wait on: readable while raised.

use std::io;

/// One byte lies in a pair of sockets, or none. Where there are none, it cannot be made.
pub(crate) struct Signal {
    #[cfg(unix)]
    ends: (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream),
    raised: bool,
}

#[cfg(unix)]
impl Signal {
    pub(crate) fn new() -> io::Result<Self> {
        let ends = std::os::unix::net::UnixStream::pair()?;
        ends.0.set_nonblocking(true)?;
        ends.1.set_nonblocking(true)?;
        Ok(Signal { ends, raised: false })
    }

    /// Makes the descriptor readable or not.
    pub(crate) fn show(&mut self, raised: bool) {
        if raised != self.raised {
            // Neither blocks. A program that read the byte itself, which it must not, loses this signal only.
            let done = if raised {
                io::Write::write(&mut self.ends.1, &[1])
            } else {
                io::Read::read(&mut self.ends.0, &mut [0])
            };
            drop(done);
            self.raised = raised;
        }
    }

    pub(crate) fn descriptor(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.ends.0)
    }
}

#[cfg(not(unix))]
impl Signal {
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no descriptors for event loops"))
    }

    pub(crate) fn show(&mut self, raised: bool) {
        self.raised = raised;
    }

    pub(crate) fn descriptor(&self) -> i32 {
        -1
    }
}
