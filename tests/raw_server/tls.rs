use super::{RawServer, Received, Reply};
use fifo_retain::fifo::install_crypto;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Starts a server behind a certificate of its own authority, for `localhost`; returns that authority's as PEM.
pub(crate) async fn server(answer: impl FnMut(&Received) -> Reply + Send + 'static) -> (RawServer, String) {
    install_crypto();
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    };
    let ca = authority.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(authority, key);
    let server_key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&server_key, &issuer)
        .unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = RawServer::start_behind(move |stream| acceptor.accept(stream), answer).await;
    (server, ca.pem())
}
