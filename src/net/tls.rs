//! TLS: certificates, and handshakes on threads of their own.
//!
//! A handshake is milliseconds of arithmetic, and after a network cut thousands come at once. So each
//! connection goes to a handshake thread until it is established, and then comes back to the loop.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::ciphers::{self, Chosen};
use super::sessions::SessionCache;
use super::stream::TlsStream;

/// Threads that do handshakes.
const HANDSHAKE_THREADS: usize = 2;
/// Connections waiting for one of them; beyond that, accepting pauses.
const HANDSHAKES_QUEUED_MAX: usize = 1024;
/// Handshakes that one thread has in progress at a time.
const HANDSHAKES_ACTIVE_MAX: usize = 4096;
/// A handshake that takes longer is given up.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// `tls-auth-clients`: whether clients must present a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthClients {
    /// They must. The default.
    #[default]
    Yes,
    /// They need not, and are not asked.
    No,
    /// They need not, but what they present must be valid.
    Optional,
}

/// The `tls-…` directives.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// `tls-cert-file`: our certificate chain, PEM.
    pub cert_file: Option<PathBuf>,
    /// `tls-key-file`: its key, PEM, not encrypted.
    pub key_file: Option<PathBuf>,
    /// `tls-client-cert-file`: the certificate for connections that we open; else `tls-cert-file`.
    pub client_cert_file: Option<PathBuf>,
    /// `tls-client-key-file`
    pub client_key_file: Option<PathBuf>,
    /// `tls-ca-cert-file`: whom we trust, PEM.
    pub ca_cert_file: Option<PathBuf>,
    /// `tls-ca-cert-dir`: a folder of such files.
    pub ca_cert_dir: Option<PathBuf>,
    /// `tls-auth-clients`
    pub auth_clients: AuthClients,
    /// `tls-protocols`: `TLSv1.2`, `TLSv1.3`, blank-separated; empty: both.
    pub protocols: String,
    /// `tls-ciphers`: of TLS 1.2, as OpenSSL writes them; empty: all that there are.
    pub ciphers: String,
    /// `tls-ciphersuites`: of TLS 1.3, colon-separated; empty: all that there are.
    pub ciphersuites: String,
    /// `tls-prefer-server-ciphers`: of those that both sides have, the first of ours is taken.
    pub prefer_server_ciphers: bool,
    /// `tls-session-caching`: how many sessions may be resumed (0: no limit) and for how long.
    pub sessions: Option<(u32, Duration)>,
}

/// Why TLS cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A directive is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// A file cannot be used.
    #[error("cannot use {path} ({directive}): {error}")]
    File {
        /// Which directive names it.
        directive: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// `tls-protocols` leaves nothing.
    #[error(
        "tls-protocols '{0}' names neither TLSv1.2 nor TLSv1.3, which are the versions supported"
    )]
    Protocols(String),
    /// `tls-ciphers` or `tls-ciphersuites` leaves nothing.
    #[error("{directive} '{list}' names nothing that is offered here, which is {offered}")]
    Ciphers {
        /// Which of them.
        directive: &'static str,
        /// What it says.
        list: String,
        /// What it might name.
        offered: String,
    },
    /// rustls refuses the configuration.
    #[error("TLS configuration: {0}")]
    Rustls(#[from] rustls::Error),
}

/// TLS as configured, with its handshake threads.
#[derive(Debug)]
pub struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    threads: Vec<mpsc::Sender<Job>>,
    next: AtomicUsize,
}

struct Job {
    tcp: std::net::TcpStream,
    session: Connection,
    done: oneshot::Sender<io::Result<Established>>,
}

/// A connection after its handshake, detached from any event loop.
#[derive(Debug)]
pub struct Established {
    /// The socket, non-blocking.
    pub tcp: std::net::TcpStream,
    /// The session on it.
    pub session: Connection,
}

/// A handshake in progress.
#[derive(Debug)]
pub struct Handshake(oneshot::Receiver<io::Result<Established>>);

impl Handshake {
    /// Waits for the connection, for use on the current event loop.
    ///
    /// # Errors
    /// The handshake failed or took too long.
    pub async fn finish(self) -> io::Result<TlsStream> {
        let Established { tcp, session } = self.established().await?;
        Ok(TlsStream::new(TcpStream::from_std(tcp)?, session))
    }

    /// Waits for the connection, detached.
    ///
    /// # Errors
    /// The handshake failed or took too long.
    pub async fn established(self) -> io::Result<Established> {
        self.0.await.map_err(|_| io::ErrorKind::BrokenPipe)?
    }
}

impl Tls {
    /// Reads the certificates and starts the handshake threads.
    ///
    /// # Errors
    /// A file is missing or unusable, or a needed directive is absent.
    pub fn load(options: &TlsOptions) -> Result<Tls, TlsError> {
        let versions = protocol_versions(&options.protocols)?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites: cipher_suites(options, &versions)?,
            ..ring::default_provider()
        });
        let roots = Arc::new(load_roots(options)?);
        let server = server_config(options, &provider, &versions, &roots)?;
        let client = client_config(options, &provider, &versions, &roots)?;
        let threads = (0..HANDSHAKE_THREADS).map(|_| start_thread()).collect();
        Ok(Tls {
            server: Arc::new(server),
            client: Arc::new(client),
            threads,
            next: AtomicUsize::new(0),
        })
    }

    /// Starts the server's side of a handshake; waits only while the threads' queue is full.
    ///
    /// # Errors
    /// The connection is already gone.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<Handshake> {
        let session = ServerConnection::new(Arc::clone(&self.server)).map_err(io::Error::other)?;
        self.start(tcp.into_std()?, session.into()).await
    }

    /// Starts the client's side on a connected, non-blocking socket. The certificate must be signed by
    /// one of our authorities; as in redis-sentinel 7.0, its name is not compared with `host`.
    ///
    /// # Errors
    /// `host` cannot stand in a handshake.
    pub async fn connect(&self, tcp: std::net::TcpStream, host: &str) -> io::Result<Handshake> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session =
            ClientConnection::new(Arc::clone(&self.client), name).map_err(io::Error::other)?;
        self.start(tcp, session.into()).await
    }

    async fn start(&self, tcp: std::net::TcpStream, session: Connection) -> io::Result<Handshake> {
        let (done, waiting) = oneshot::channel();
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        let job = Job { tcp, session, done };
        let sent = self.threads[turn].send(job).await;
        sent.map_err(|_| io::Error::other("the handshake thread has ended"))?;
        Ok(Handshake(waiting))
    }
}

fn start_thread() -> mpsc::Sender<Job> {
    let (jobs, queue) = mpsc::channel(HANDSHAKES_QUEUED_MAX);
    let spawned = std::thread::Builder::new()
        .name("tls-handshake".to_owned())
        .spawn(move || run_thread(queue));
    if let Err(error) = spawned {
        tracing::error!("cannot start a TLS handshake thread: {error}");
    }
    jobs
}

fn run_thread(mut queue: mpsc::Receiver<Job>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start a TLS handshake thread: {error}");
            return;
        }
    };
    let active = Arc::new(Semaphore::new(HANDSHAKES_ACTIVE_MAX));
    runtime.block_on(async move {
        while let Some(job) = queue.recv().await {
            let Ok(permit) = Arc::clone(&active).acquire_owned().await else {
                return;
            };
            tokio::spawn(async move {
                let result = shake_hands(job.tcp, job.session).await;
                // The one who asked may have given up meanwhile.
                let _ = job.done.send(result);
                drop(permit);
            });
        }
    });
}

async fn shake_hands(tcp: std::net::TcpStream, session: Connection) -> io::Result<Established> {
    let mut stream = TlsStream::new(TcpStream::from_std(tcp)?, session);
    let handshake = poll_fn(|cx| stream.poll_handshake(cx));
    match tokio::time::timeout(HANDSHAKE_TIME_MAX, handshake).await {
        Ok(result) => result?,
        Err(_) => {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "TLS handshake timed out",
            ));
        }
    }
    let (tcp, session) = stream.into_parts();
    let tcp = tcp.into_std()?;
    Ok(Established { tcp, session })
}

fn server_config(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    roots: &Arc<RootCertStore>,
) -> Result<ServerConfig, TlsError> {
    let chain = load_chain("tls-cert-file", options.cert_file.as_deref())?;
    let key = load_key("tls-key-file", options.key_file.as_deref())?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?;
    let verifier = |optional: bool| {
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
        let builder = if optional {
            builder.allow_unauthenticated()
        } else {
            builder
        };
        builder.build().map_err(|_| {
            TlsError::Missing(
                "tls-auth-clients needs tls-ca-cert-file or tls-ca-cert-dir, or must be 'no'",
            )
        })
    };
    let builder = match options.auth_clients {
        AuthClients::No => builder.with_no_client_auth(),
        AuthClients::Yes => builder.with_client_cert_verifier(verifier(false)?),
        AuthClients::Optional => builder.with_client_cert_verifier(verifier(true)?),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.ignore_client_order = options.prefer_server_ciphers;
    config.session_storage = match options.sessions {
        Some((size, lifetime)) => Arc::new(SessionCache::new(size, lifetime)),
        None => Arc::new(NoServerSessionStorage {}),
    };
    Ok(config)
}

fn client_config(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    roots: &Arc<RootCertStore>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?;
    // Without an authority every server is refused, at the handshake, with a reason.
    let builder = if roots.is_empty() {
        builder.with_root_certificates(Arc::clone(roots))
    } else {
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
                .build()
                .map_err(|error| TlsError::Rustls(rustls::Error::General(error.to_string())))?;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName { inner }))
    };
    let (cert, key) = match (&options.client_cert_file, &options.client_key_file) {
        (Some(cert), Some(key)) => (
            load_chain("tls-client-cert-file", Some(cert))?,
            load_key("tls-client-key-file", Some(key))?,
        ),
        _ => (
            load_chain("tls-cert-file", options.cert_file.as_deref())?,
            load_key("tls-key-file", options.key_file.as_deref())?,
        ),
    };
    Ok(builder.with_client_auth_cert(cert, key)?)
}

fn protocol_versions(text: &str) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let mut versions = Vec::new();
    for word in text.split_whitespace() {
        if word.eq_ignore_ascii_case("TLSv1.2") {
            versions.push(&rustls::version::TLS12);
        } else if word.eq_ignore_ascii_case("TLSv1.3") {
            versions.push(&rustls::version::TLS13);
        }
    }
    if text.trim().is_empty() {
        versions = vec![&rustls::version::TLS13, &rustls::version::TLS12];
    }
    if versions.is_empty() {
        return Err(TlsError::Protocols(text.to_owned()));
    }
    Ok(versions)
}

/// The suites of the versions that are used, in the order in which they are preferred.
fn cipher_suites(
    options: &TlsOptions,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut suites = Vec::new();
    let mut add =
        |version, directive: &str, list: &str, read: fn(&str) -> Result<Chosen, TlsError>| {
            if !versions.contains(&version) {
                return Ok(());
            }
            if list.trim().is_empty() {
                let all = ring::DEFAULT_CIPHER_SUITES.iter();
                suites.extend(all.filter(|suite| suite.version() == version));
                return Ok(());
            }
            let chosen = read(list)?;
            if !chosen.without_effect.is_empty() {
                let words = chosen.without_effect.join(" ");
                tracing::warn!("{directive}: without effect, since not offered here: {words}");
            }
            suites.extend(chosen.suites);
            Ok::<_, TlsError>(())
        };
    let (new, old) = (&rustls::version::TLS13, &rustls::version::TLS12);
    add(
        new,
        "tls-ciphersuites",
        &options.ciphersuites,
        ciphers::of_tls13,
    )?;
    add(old, "tls-ciphers", &options.ciphers, ciphers::of_tls12)?;
    Ok(suites)
}

fn load_roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &options.ca_cert_file {
        for cert in load_chain("tls-ca-cert-file", Some(path))? {
            let added = roots.add(cert);
            added.map_err(|error| unusable("tls-ca-cert-file", path, &error))?;
        }
    }
    if let Some(folder) = &options.ca_cert_dir {
        let wrong = |error: &dyn std::fmt::Display| unusable("tls-ca-cert-dir", folder, error);
        for entry in std::fs::read_dir(folder).map_err(|error| wrong(&error))? {
            let path = entry.map_err(|error| wrong(&error))?.path();
            // A folder of authorities also holds lists and links of other kinds.
            if let Ok(certs) = load_chain("tls-ca-cert-dir", Some(&path)) {
                roots.add_parsable_certificates(certs);
            }
        }
    }
    Ok(roots)
}

pub(super) fn load_chain(
    directive: &'static str,
    path: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = path.ok_or(TlsError::Missing(
        "TLS needs tls-cert-file and tls-key-file",
    ))?;
    let certs = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(directive, path, &error))?;
    if certs.is_empty() {
        return Err(unusable(directive, path, &"it holds no PEM certificate"));
    }
    Ok(certs)
}

pub(super) fn load_key(
    directive: &'static str,
    path: Option<&Path>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = path.ok_or(TlsError::Missing(
        "TLS needs tls-cert-file and tls-key-file",
    ))?;
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        if matches!(error, rustls_pki_types::pem::Error::NoItemsFound) {
            let hint =
                "it holds no PEM private key, or an encrypted one; decrypt it with openssl pkey";
            unusable(directive, path, &hint)
        } else {
            unusable(directive, path, &error)
        }
    })
}

pub(super) fn unusable(
    directive: &'static str,
    path: &Path,
    error: &dyn std::fmt::Display,
) -> TlsError {
    TlsError::File {
        directive,
        path: path.to_owned(),
        error: error.to_string(),
    }
}

/// Checks everything about a server's certificate but the name: redis-sentinel 7.0 does not compare
/// it, and the certificates that its users have do not bear the addresses of their servers.
#[derive(Debug)]
pub(super) struct AnyName {
    /// What checks the rest.
    pub(super) inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verdict {
            // The name is looked at last, so the chain of signatures was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A folder with an authority and a certificate for `name` signed by it.
    pub(crate) fn certificates(name: &str) -> (tempfile::TempDir, TlsOptions) {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let folder = tempfile::tempdir().unwrap();
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &issuer).unwrap();
        let write = |file: &str, text: String| {
            let path = folder.path().join(file);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let options = TlsOptions {
            cert_file: write("server.crt", cert.pem()),
            key_file: write("server.key", key.serialize_pem()),
            ca_cert_file: write("ca.crt", authority.pem()),
            ..TlsOptions::default()
        };
        (folder, options)
    }

    async fn meet(server: &Tls, client: &Tls) -> io::Result<(TlsStream, TlsStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let outgoing = TcpStream::connect(listener.local_addr()?).await?;
        let (incoming, _) = listener.accept().await?;
        let theirs = client.connect(outgoing.into_std()?, "127.0.0.1").await?;
        let ours = server.accept(incoming).await?;
        let theirs = theirs.finish().await?;
        Ok((ours.finish().await?, theirs))
    }

    #[tokio::test]
    async fn megabytes_cross_after_a_handshake_elsewhere() {
        let (_folder, options) = certificates("some.other.name");
        let tls = Tls::load(&options).unwrap();
        let (mut ours, mut theirs) = meet(&tls, &tls).await.unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let copy = sent.clone();
        let writing = async move {
            theirs.write_all(&copy).await.unwrap();
            theirs.shutdown().await.unwrap();
            // Kept: closing with session tickets unread would reset the connection.
            theirs
        };
        let mut got = Vec::new();
        let (_kept, read) = tokio::join!(writing, ours.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent, "what arrives is what was sent");
    }

    #[tokio::test]
    async fn strangers_are_refused_in_both_directions() {
        let (_ours, our_options) = certificates("a");
        let (_other, other_options) = certificates("a");
        let ours = Tls::load(&our_options).unwrap();
        let other = Tls::load(&other_options).unwrap();
        assert!(meet(&ours, &other).await.is_err(), "unknown authority");

        // Knows our authority, but presents a certificate of another: TLS 1.3 tells the client only
        // when it reads, so it is the server's end that fails.
        let mixed = TlsOptions {
            ca_cert_file: our_options.ca_cert_file.clone(),
            ..other_options.clone()
        };
        let mixed = Tls::load(&mixed).unwrap();
        assert!(meet(&ours, &mixed).await.is_err(), "unknown client");
        let lenient = TlsOptions {
            auth_clients: AuthClients::No,
            ..our_options
        };
        let lenient = Tls::load(&lenient).unwrap();
        assert!(meet(&lenient, &mixed).await.is_ok());
    }

    /// The suite that a client of these lists gets of a server of those, and whether it resumed a session when it came
    /// again.
    async fn agreed(server: &Tls, client: &Tls) -> (rustls::CipherSuite, bool) {
        let mut resumed = false;
        let mut suite = None;
        for _ in 0..2 {
            let (mut ours, mut theirs) = meet(server, client).await.unwrap();
            // Tickets of TLS 1.3 come with the first bytes.
            ours.write_all(b"x").await.unwrap();
            ours.flush().await.unwrap();
            assert_eq!(theirs.read_u8().await.unwrap(), b'x');
            let (_, session) = ours.into_parts();
            suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
            resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        }
        (suite.expect("a suite"), resumed)
    }

    #[tokio::test]
    async fn ciphers_and_sessions_are_as_configured() {
        use rustls::CipherSuite as Known;
        const MANY: u32 = 20480;
        let (_folder, options) = certificates("a");
        let load = |change: &dyn Fn(&mut TlsOptions)| {
            let mut options = options.clone();
            change(&mut options);
            Tls::load(&options).unwrap()
        };
        let old = |options: &mut TlsOptions, ciphers: &str| {
            options.protocols = "TLSv1.2".to_owned();
            options.ciphers = ciphers.to_owned();
        };
        let client = load(&|options| old(options, "AES128:CHACHA20:AES256"));
        for (prefers_own, wanted) in [
            (false, Known::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
            (true, Known::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ] {
            let server = load(&|options| {
                old(options, "CHACHA20:AES128");
                options.prefer_server_ciphers = prefers_own;
            });
            let (suite, resumed) = agreed(&server, &client).await;
            assert_eq!((suite, resumed), (wanted, false));
        }
        let new = |options: &mut TlsOptions, suites: &str| options.ciphersuites = suites.to_owned();
        let server = load(&|options| new(options, "TLS_AES_128_GCM_SHA256"));
        let client = load(&|_| {});
        let (suite, _) = agreed(&server, &client).await;
        assert_eq!(suite, Known::TLS13_AES_128_GCM_SHA256);
        // A client that has nothing in common is refused.
        let other = load(&|options| {
            new(options, "TLS_AES_256_GCM_SHA384");
            options.protocols = "TLSv1.3".to_owned();
        });
        assert!(meet(&server, &other).await.is_err());
        for protocol in ["TLSv1.2", "TLSv1.3"] {
            let client = load(&|options| options.protocols = protocol.to_owned());
            for (sessions, wanted) in [
                (None, false),
                (Some((MANY, Duration::from_secs(300))), true),
                (Some((0, Duration::from_secs(300))), true),
                (Some((MANY, Duration::ZERO)), false),
            ] {
                let server = load(&|options| options.sessions = sessions);
                let (_, resumed) = agreed(&server, &client).await;
                assert_eq!(resumed, wanted, "{protocol} {sessions:?}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let (folder, options) = certificates("a");
        let check = |options: TlsOptions| Tls::load(&options).unwrap_err().to_string();
        let none = TlsOptions::default();
        assert!(check(none).contains("tls-cert-file"));
        let old = TlsOptions {
            protocols: "TLSv1.1".into(),
            ..options.clone()
        };
        assert!(check(old).contains("TLSv1.1"));
        let no_authority = TlsOptions {
            ca_cert_file: None,
            ..options.clone()
        };
        assert!(check(no_authority).contains("tls-ca-cert-file"));
        let path = folder.path().join("server.crt");
        let wrong = TlsOptions {
            key_file: Some(path.clone()),
            ..options
        };
        let text = check(wrong);
        assert!(text.contains("tls-key-file") && text.contains(path.to_str().unwrap()));
    }
}
