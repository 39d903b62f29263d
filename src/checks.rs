//! What a machine must allow before a node starts. Each refusal is one line that says what to do.

use crate::error::{Error, Result};
use engine::io::LOCKED_BYTES_PER_CORE;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// Fewer descriptors than this are no use to a node: segments, metadata tables, connections.
const FILES_MIN: u64 = 256;
/// S3 connections that a core may hold, however few files may be open.
const CONNECTIONS_MIN: usize = 16;
/// How often a taken port is tried, and the pause in between.
const PORT_ATTEMPTS: u32 = 20;
const PORT_PAUSE: Duration = Duration::from_millis(100);

/// Asks the kernel for a ring, since sandboxes and hardened kernels refuse io_uring.
pub fn io_uring() -> Result<()> {
    match io_uring::IoUring::new(2) {
        Ok(_) => Ok(()),
        Err(error) => Err(ring_refusal(&error)),
    }
}

fn ring_refusal(error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied => Error::refused(
            "io_uring is forbidden here: set `sysctl kernel.io_uring_disabled=0`, in a container use a seccomp profile that allows io_uring",
        ),
        ErrorKind::Unsupported => Error::refused(
            "this kernel has no io_uring: run Linux 5.15 or newer, or allow io_uring in the sandbox",
        ),
        ErrorKind::OutOfMemory => locked_memory_refusal(None),
        _ => Error::refused(format!("io_uring cannot be used: {error}; check the kernel and the sandbox")),
    }
}

/// Checks that the cores' rings fit in the locked memory that this user may have.
pub fn locked_memory(cores: u16) -> Result<()> {
    // Root's rings are not counted.
    if geteuid().is_root() {
        return Ok(());
    }
    locked_memory_fits(getrlimit(Resource::Memlock).current, cores)
}

fn locked_memory_fits(limit: Option<u64>, cores: u16) -> Result<()> {
    let needed = u64::from(cores) * LOCKED_BYTES_PER_CORE;
    match limit {
        Some(limit) if limit < needed => Err(locked_memory_refusal(Some((limit, needed)))),
        _ => Ok(()),
    }
}

fn locked_memory_refusal(sizes: Option<(u64, u64)>) -> Error {
    let sizes = sizes.map_or(String::new(), |(limit, needed)| {
        format!(" ({} KiB allowed, {} KiB needed)", limit >> 10, needed >> 10)
    });
    Error::refused(format!(
        "too little locked memory{sizes}: raise it with `ulimit -l`, under systemd with LimitMEMLOCK=, or give fewer --cores"
    ))
}

/// Raises the limit of open files as far as this user may; returns the limit.
pub fn open_files() -> Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return enough_files(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => enough_files(maximum),
        // Raising it is optional: the current limit may do.
        Err(_) => enough_files(current),
    }
}

fn enough_files(limit: Option<u64>) -> Result<u64> {
    match limit {
        Some(limit) if limit < FILES_MIN => Err(Error::refused(format!(
            "only {limit} open files are allowed: raise it with `ulimit -n 65536`, under systemd with LimitNOFILE=65536"
        ))),
        limit => Ok(limit.unwrap_or(u64::MAX)),
    }
}

/// S3 connections that each core may hold, given the limit of open files: half of the files, so that clients can't
/// take the descriptors that segments and metadata need.
pub fn connections_per_core(open_files: u64, cores: u16) -> usize {
    let share = open_files / 2 / u64::from(cores.max(1));
    usize::try_from(share).unwrap_or(usize::MAX).clamp(CONNECTIONS_MIN, s3::limits::CONNECTIONS_PER_CORE)
}

/// Checks that an address can be listened on, and picks a port if its port is 0.
///
/// The cores share a port with SO_REUSEPORT, with which a second process of the same user would silently get a
/// share of the connections; this check listens without it. An immediate restart must work, so two things don't
/// count. The kernel frees the sockets of a ring some time after its process ended, so a taken port is tried again
/// for a moment. And connections that have just been closed block a port for a minute though nobody listens.
pub fn port(flag: &str, address: SocketAddr) -> Result<SocketAddr> {
    let mut attempts = 0..PORT_ATTEMPTS;
    let bound = loop {
        attempts.next();
        match TcpListener::bind(address).and_then(|listener| listener.local_addr()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && !is_listened_on(address.port()) => {
                break Ok(address);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && !attempts.is_empty() => {
                std::thread::park_timeout(PORT_PAUSE);
            }
            bound => break bound,
        }
    };
    match bound {
        Ok(bound) => Ok(bound),
        Err(error) => Err(match error.kind() {
            ErrorKind::AddrInUse => {
                Error::refused(format!("{address} is taken: stop what listens there, or give another {flag}"))
            }
            ErrorKind::PermissionDenied => Error::refused(format!(
                "{address} may not be listened on: give a port above 1023 with {flag}, or allow CAP_NET_BIND_SERVICE"
            )),
            ErrorKind::AddrNotAvailable => {
                Error::refused(format!("{address} is not an address of this machine: give another {flag}"))
            }
            _ => Error::refused(format!("cannot listen on {address}: {error}; give another {flag}")),
        }),
    }
}

/// Whether some socket of this machine listens on a port, by the kernel's tables (proc(5), `/proc/net/tcp`).
fn is_listened_on(port: u16) -> bool {
    const LISTEN: &str = "0A";
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|path| match std::fs::read_to_string(path) {
        // If the table can't be read, the port may well be taken.
        Err(error) => error.kind() != ErrorKind::NotFound,
        Ok(table) => table.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next(), fields.nth(1));
            let of_port = local.and_then(|local| local.rsplit_once(':')).map(|(_, port)| port);
            state == Some(LISTEN) && of_port == Some(&format!("{port:04X}"))
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listening_socket_makes_a_port_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_listened_on(port));
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener);
        assert!(!is_listened_on(port), "a connection alone does not count");
        drop(client);
    }

    #[test]
    fn a_taken_port_is_refused_by_address_and_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let message = port("--s3", address).unwrap_err().to_string();
        assert!(message.contains(&address.to_string()) && message.contains("--s3"), "{message}");
    }

    #[test]
    fn port_zero_becomes_a_port() {
        assert_ne!(port("--s3", "127.0.0.1:0".parse().unwrap()).unwrap().port(), 0);
    }

    #[test]
    fn locked_memory_is_counted_per_core() {
        assert!(locked_memory_fits(None, 256).is_ok());
        assert!(locked_memory_fits(Some(64 * LOCKED_BYTES_PER_CORE), 64).is_ok());
        let message = locked_memory_fits(Some(64 << 10), 2).unwrap_err().to_string();
        assert!(
            message.contains(&format!("64 KiB allowed, {} KiB needed", LOCKED_BYTES_PER_CORE >> 9))
                && message.contains("ulimit -l"),
            "{message}"
        );
    }

    #[test]
    fn a_kernel_that_refuses_rings_is_distinguished_from_one_without() {
        let forbidden = ring_refusal(&std::io::Error::from_raw_os_error(1)).to_string();
        assert!(forbidden.contains("io_uring_disabled") && forbidden.contains("seccomp"), "{forbidden}");
        let missing = ring_refusal(&std::io::Error::from_raw_os_error(38)).to_string();
        assert!(missing.contains("no io_uring"), "{missing}");
        let memory = ring_refusal(&std::io::Error::from_raw_os_error(12)).to_string();
        assert!(memory.contains("LimitMEMLOCK"), "{memory}");
    }

    #[test]
    fn too_few_open_files_are_refused() {
        assert!(enough_files(Some(64)).is_err());
        assert!(enough_files(None).is_ok());
    }

    #[test]
    fn connections_leave_half_of_the_open_files_to_the_store() {
        assert_eq!(connections_per_core(1024, 2), 256);
        assert_eq!(connections_per_core(FILES_MIN, 256), CONNECTIONS_MIN);
        assert_eq!(connections_per_core(u64::MAX, 1), s3::limits::CONNECTIONS_PER_CORE);
    }
}
