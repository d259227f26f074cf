//! Certificates that pass no usual check: why is said with what to do, and a pin trusts exactly one.

use crate::harness::{Ended, Folder};
use crate::raw_server::{RawServer, Received, Reply};
use fifo_retain::fifo::install_crypto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};

/// A certificate of X.509 version 1 and its key, which `rcgen` does not make; as DER, in hexadecimal digits.
const VERSION_1: [&str; 2] = [
    "3082011b3081c1021465ade1db8dfef034288ecdb2e5838625b43b07d8300a06082a8648ce3d040302300f310d300b06\
     035504030c046669666f3020170d3236313133303131303335395a180f32313236313130363131303335395a300f310d\
     300b06035504030c046669666f3059301306072a8648ce3d020106082a8648ce3d030107034200048428b3a36c2ee26d\
     f8f9d056712f6c6e07b0e7fb0ee254a8bb09f7804e850886b87119578991600582ce216369a5899946bf85a090d8d7ba\
     af9f367d1c4af333300a06082a8648ce3d0403020349003046022100b60ae2ae438326635c46be8f30b68e2efe118df8\
     29bffb4e2028cb21fd7edf180221009fa29bfa6415b5799258b1ea2ca1ac8ab8d532b9e1752928aef8b1a641564be5",
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420f7ce1f3c993f409408b97e9a\
     2a8ba973bd4bb3b60a406d6dbf6cf8092d8f6535a144034200048428b3a36c2ee26df8f9d056712f6c6e07b0e7fb0ee2\
     54a8bb09f7804e850886b87119578991600582ce216369a5899946bf85a090d8d7baaf9f367d1c4af333",
];

/// Returns a certificate for itself, and its key.
fn own(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().der().to_vec(), key.serialize_der())
}

/// Starts a server that shows a certificate, whatever is in it, and answers that all is well.
async fn server(certificate: &[u8], key: &[u8]) -> RawServer {
    install_crypto();
    let key = any_supported_type(&PrivateKeyDer::try_from(key.to_vec()).unwrap()).unwrap();
    let shown = CertifiedKey::new(vec![CertificateDer::from(certificate.to_vec())], key);
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let answer = |_: &Received| {
        Reply::SendAndClose("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_owned())
    };
    RawServer::start_behind(move |stream| acceptor.accept(stream), answer).await
}

fn pem(der: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in der.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            let letter = if place > three.len() { '=' } else { char::from(letter) };
            write!(text, "{letter}").unwrap();
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

#[test]
fn what_no_check_accepts_is_explained_and_can_be_pinned() {
    let runtime = Runtime::new().unwrap();
    let version_1 = VERSION_1.map(|digits| hex::decode(digits).unwrap());
    let long_ago = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let is_ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (what, (certificate, key), hint) in [
        ("version 1", (version_1[0].clone(), version_1[1].clone()), "X.509 version 1"),
        ("an authority", own(&["localhost"], is_ca), "(CA:TRUE)"),
        ("no name", own(&[], |_| {}), "no subject alternative name"),
        ("another name", own(&["fifo.example.com"], |_| {}), "use the name that it is for"),
        ("expired", own(&["localhost"], long_ago), "it has expired"),
    ] {
        let server = runtime.block_on(server(&certificate, &key));
        let endpoint = format!("https://localhost:{}", server.port);
        let folder = Folder::empty();
        fs::write(folder.path("ca.pem"), pem(&certificate)).unwrap();
        let check = |trust: &[&str]| {
            let line = [trust, &["--format", "json", "--endpoint", &endpoint, "check"]].concat();
            let mut command = folder.command(&line);
            command.env("FIFO_TOKEN", "t");
            Ended::of(command)
        };
        let refused = check(&["--ca-file", "ca.pem"]).code(1).out;
        assert!(refused.contains(hint), "{what}: {refused}");
        let command = format!("openssl s_client -connect localhost:{} </dev/null", server.port);
        assert!(refused.contains(&command) && refused.contains("--pin-sha256"), "{what}: {refused}");

        let fingerprint = hex::encode(Sha256::digest(&certificate));
        let trusted = check(&["--pin-sha256", &fingerprint]).out;
        assert!(trusted.contains("FiFo answers"), "{what}: {trusted}");
        let other = check(&["--pin-sha256", &"00".repeat(32)]).code(1).out;
        assert!(
            other.contains(&fingerprint) && other.contains("compare the fingerprints"),
            "{what}: {other}"
        );
    }
}

#[test]
fn who_shows_the_pinned_certificate_without_its_key_is_refused() {
    let runtime = Runtime::new().unwrap();
    let (certificate, _) = own(&["localhost"], |_| {});
    let (_, other_key) = own(&["localhost"], |_| {});
    let server = runtime.block_on(server(&certificate, &other_key));
    let folder = Folder::empty();
    let pin = hex::encode(Sha256::digest(&certificate));
    let endpoint = format!("https://localhost:{}", server.port);
    let mut command = folder.command(&["--pin-sha256", &pin, "--endpoint", &endpoint, "check"]);
    command.env("FIFO_TOKEN", "t");
    let ended = Ended::of(command).code(1);
    assert!(ended.out.contains("! problem  connection: "), "{}", ended.out);
    assert!(server.received().is_empty(), "nothing was sent to it");
}
