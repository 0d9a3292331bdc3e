//! Ports on loopback that nobody else will take while a test holds them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Below the ephemeral range, so that no outgoing connection of this machine can sit on a chosen port.
const FIRST: u16 = 23_000;
const COUNT: u16 = 9_000;

/// A TCP port reserved on this machine, for as long as the value lives.
///
/// The reservation is the UDP port of the same number: the kernel gives it to one process only, tests that
/// run at the same time (in this process or another) skip it, and the TCP port stays free for the program
/// under test, also across its restarts.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _reservation: UdpSocket,
}

impl Port {
    /// Reserves a free port.
    pub(crate) fn reserve() -> Port {
        let start = RandomState::new().hash_one(0_u8);
        for step in 0..u64::from(COUNT) {
            let offset = u16::try_from((start.wrapping_add(step)) % u64::from(COUNT))
                .expect("COUNT fits in u16");
            let number = FIRST + offset;
            let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok() {
                return Port {
                    number,
                    _reservation: reservation,
                };
            }
        }
        panic!(
            "no free port between {FIRST} and {}",
            u32::from(FIRST) + u32::from(COUNT)
        );
    }

    /// The number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
