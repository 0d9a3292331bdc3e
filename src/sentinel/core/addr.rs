//! The address of an instance: the name it was given, and what that resolved to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A host as it was given, the IP address it has resolved to, and a port.
#[derive(Clone, Debug)]
pub struct Addr {
    host: Arc<str>,
    ip: Option<IpAddr>,
    port: u16,
}

impl Addr {
    /// An address from text that may be a host name; a numeric host is its own resolution.
    pub fn new(host: &str, port: u16) -> Addr {
        Addr {
            host: Arc::from(host),
            ip: host.parse().ok(),
            port,
        }
    }

    /// An address from an IP.
    pub fn numeric(ip: IpAddr, port: u16) -> Addr {
        Addr {
            host: Arc::from(ip.to_string()),
            ip: Some(ip),
            port,
        }
    }

    /// The same host name with the result of a look-up. A failed look-up keeps what was known.
    #[must_use]
    pub fn resolved(&self, ip: IpAddr) -> Addr {
        Addr {
            ip: Some(ip),
            ..self.clone()
        }
    }

    /// The host as it was given.
    pub fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// The IP address, once known.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The port. 0 is accepted and never connected to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where to connect to: `None` while unresolved, and for port 0.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let ip = self.ip.filter(|_| self.port != 0)?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// True when the host is a name that must be looked up.
    pub fn is_host_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Whether both mean one instance: same port, and the same IP or the same name in any case.
    pub fn same_as(&self, other: &Addr) -> bool {
        self.port == other.port
            && ((self.ip.is_some() && self.ip == other.ip)
                || self.host.eq_ignore_ascii_case(&other.host))
    }

    /// The host as peers, clients and files are told it: the name with `announce-hostnames`, else the
    /// IP. An unresolved name is shown as itself rather than as nothing.
    pub fn shown(&self, announce_hostnames: bool) -> Arc<str> {
        match self.ip {
            Some(ip) if !announce_hostnames && self.is_host_name() => Arc::from(ip.to_string()),
            Some(_) | None => Arc::clone(&self.host),
        }
    }

    /// The name of a replica at this address: `addr:port`, `[v6]:port`.
    pub fn instance_name(&self, announce_hostnames: bool) -> String {
        let host = self.shown(announce_hostnames);
        if host.contains(':') {
            format!("[{host}]:{}", self.port)
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.instance_name(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_by_ip_or_name() {
        let named = Addr::new("Node-1", 6379);
        let resolved = named.resolved("10.0.0.1".parse().unwrap());
        assert!(named.same_as(&Addr::new("node-1", 6379)));
        assert!(resolved.same_as(&Addr::new("10.0.0.1", 6379)));
        assert!(!named.same_as(&Addr::new("10.0.0.1", 6379)));
        assert!(!resolved.same_as(&Addr::new("10.0.0.1", 6380)));
    }

    #[test]
    fn shown_as_the_setting_says() {
        let addr = Addr::new("node-1", 6379).resolved("::1".parse().unwrap());
        assert_eq!(&*addr.shown(false), "::1");
        assert_eq!(&*addr.shown(true), "node-1");
        assert_eq!(addr.instance_name(false), "[::1]:6379");
        assert_eq!(&*Addr::new("node-1", 1).shown(false), "node-1");
    }
}
