//! How to reach the members of a set: where they are, as whom, and over what.

use std::net::IpAddr;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, RedisResult};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::net::{Stream, TlsClient};

/// A connection on which nothing is said is probed after this, so that a subscription notices that its
/// sentinel's machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Pause between two probes; the system gives up after a few.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How to reach the members of a set.
#[derive(Clone, Debug)]
pub struct Access {
    /// User name; `None` is the default user.
    pub user: Option<String>,
    /// Password, offered to everyone.
    pub password: Option<String>,
    /// For connecting, and for each answer.
    pub timeout: Duration,
    /// TLS, to everyone; `None`: plain TCP.
    pub tls: Option<TlsClient>,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// IP address or name.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// Reads `HOST:PORT`; an IPv6 host may stand in brackets.
    pub fn parse(text: &str) -> Option<Address> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Address {
            host: host.to_owned(),
            port,
        })
    }

    pub(super) fn is_this_machine(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether an address is meaningful on its own machine only.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Access {
    /// Connects to one member, with the password if it wants one.
    ///
    /// # Errors
    /// It cannot be reached in time, or refuses the password.
    pub async fn connect(&self, to: &Address) -> RedisResult<MultiplexedConnection> {
        self.connect_for(to, self.timeout).await
    }

    /// The same with another limit for each answer: for commands that take their time.
    ///
    /// # Errors
    /// As [`Access::connect`].
    pub async fn connect_for(
        &self,
        to: &Address,
        answer: Duration,
    ) -> RedisResult<MultiplexedConnection> {
        self.open(to, async |settings, stream| {
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(answer));
            let (connection, driver) =
                MultiplexedConnection::new_with_config(&settings, stream, config).await?;
            tokio::spawn(driver);
            Ok(connection)
        })
        .await
    }

    /// Connects to one member for subscriptions.
    ///
    /// # Errors
    /// As [`Access::connect`].
    pub async fn subscriber(&self, to: &Address) -> RedisResult<PubSub> {
        self.open(to, async |settings, stream| {
            PubSub::new(&settings, stream).await
        })
        .await
    }

    async fn open<T>(
        &self,
        to: &Address,
        greet: impl AsyncFn(RedisConnectionInfo, Stream) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let attempt = async |settings| {
            in_time(self.timeout, async {
                greet(settings, self.stream(to).await?).await
            })
            .await
        };
        let anonymous = RedisConnectionInfo::default();
        let Some(password) = &self.password else {
            return attempt(anonymous).await;
        };
        let mut settings = anonymous.clone().set_password(password);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        match attempt(settings).await {
            // It may have no password; then offering one is an error.
            Err(error) if !error.is_io_error() => attempt(anonymous).await.map_err(|_| error),
            result => result,
        }
    }

    async fn stream(&self, to: &Address) -> std::io::Result<Stream> {
        let tcp = TcpStream::connect((to.host.as_str(), to.port)).await?;
        tcp.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE_INTERVAL);
        SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
        Ok(match &self.tls {
            None => Stream::Tcp(tcp),
            Some(tls) => Stream::Tls(Box::new(tls.connect(tcp, &to.host).await?)),
        })
    }
}

/// What `work` comes to, if it does not take longer than `limit`.
///
/// # Errors
/// It does, or fails by itself.
pub async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| {
        let text = format!("no answer within {}", humantime::format_duration(limit));
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text).into())
    })
}

/// An error in one line, as the server worded it, or without Rust's `(os error 111)`.
pub fn first_line(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some("ERR"), Some(detail)) => detail.to_owned(),
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (None, _) | (_, None) => error.to_string(),
    };
    let line = text.lines().next().unwrap_or_default();
    match line.find(" (os error ") {
        Some(at) => line[..at].to_owned(),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["10.0.0.1:26379", "[::1]:26379", "cache.example:1"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for text in ["26379", ":1", "a:0", "a:b", "a:65536"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn errors_are_one_line_without_numbers() {
        let refused = std::io::Error::from_raw_os_error(111);
        assert_eq!(first_line(&refused.into()), "Connection refused");
    }
}
