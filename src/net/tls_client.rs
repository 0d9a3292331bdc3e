//! TLS for the operator's commands: one connection at a time, on the current event loop.

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;

use super::stream::TlsStream;
use super::tls::{AnyName, TlsError, load_chain, load_key, unusable};

/// How to meet a server over TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsClientOptions {
    /// `--cacert`: whom we trust, PEM.
    pub ca_cert_file: Option<PathBuf>,
    /// `--cert`: our own certificate chain, PEM.
    pub cert_file: Option<PathBuf>,
    /// `--key`: its key, PEM.
    pub key_file: Option<PathBuf>,
    /// `--insecure`: trust everybody.
    pub is_insecure: bool,
}

/// The client's side of TLS, ready for connections.
#[derive(Clone, Debug)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// Reads the certificates.
    ///
    /// # Errors
    /// A file cannot be used, or it is not said whom to trust.
    pub fn load(options: &TlsClientOptions) -> Result<TlsClient, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &options.ca_cert_file {
            _ if options.is_insecure => Arc::new(Anybody(Arc::clone(&provider))),
            None => {
                return Err(TlsError::Missing(
                    "--tls needs --cacert FILE with the authority that signed the servers' \
                     certificates, or --insecure to trust whoever answers",
                ));
            }
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for cert in load_chain("--cacert", Some(path))? {
                    let added = roots.add(cert);
                    added.map_err(|error| unusable("--cacert", path, &error))?;
                }
                let inner = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(&provider),
                );
                let inner = inner
                    .build()
                    .map_err(|error| unusable("--cacert", path, &error))?;
                Arc::new(AnyName { inner })
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match &options.cert_file {
            None => builder.with_no_client_auth(),
            Some(cert) => builder.with_client_auth_cert(
                load_chain("--cert", Some(cert))?,
                load_key("--key", options.key_file.as_deref())?,
            )?,
        };
        Ok(TlsClient(Arc::new(config)))
    }

    /// The client's side of a handshake. As with redis-cli, the name in the certificate is not compared
    /// with `host`.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> io::Result<TlsStream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        let mut stream = TlsStream::new(tcp, session);
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }
}

/// Trusts every certificate; that its owner holds the key is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_certificates;
    use super::super::tls::{AuthClients, Tls, TlsOptions};
    use super::*;
    use tokio::net::TcpListener;

    /// Both ends of a handshake with a server that asks for no certificate.
    async fn meets(server: &TlsOptions, client: &TlsClientOptions) -> bool {
        let server = Tls::load(&TlsOptions {
            auth_clients: AuthClients::No,
            ..server.clone()
        })
        .unwrap();
        let client = TlsClient::load(client).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let outgoing = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (incoming, _) = listener.accept().await.unwrap();
        let theirs = async { server.accept(incoming).await.unwrap().finish().await };
        let (ours, theirs) = tokio::join!(client.connect(outgoing, "127.0.0.1"), theirs);
        ours.is_ok() && theirs.is_ok()
    }

    #[tokio::test]
    async fn only_whom_we_trust_is_met() {
        let (_folder, server) = test_certificates("another.name");
        let (_other, stranger) = test_certificates("another.name");
        let trusting = |options: &TlsOptions| TlsClientOptions {
            ca_cert_file: options.ca_cert_file.clone(),
            ..TlsClientOptions::default()
        };
        assert!(meets(&server, &trusting(&server)).await);
        assert!(!meets(&server, &trusting(&stranger)).await);
        let insecure = TlsClientOptions {
            is_insecure: true,
            ..TlsClientOptions::default()
        };
        assert!(meets(&server, &insecure).await);
    }

    #[test]
    fn it_must_be_said_whom_to_trust() {
        let error = TlsClient::load(&TlsClientOptions::default()).unwrap_err();
        assert!(error.to_string().contains("--cacert"), "{error}");
    }
}
