//! Trust in exactly one certificate, by its fingerprint, whatever is in it.
//!
//! A self-signed certificate that is a CA itself, has no subject alternative name or is of X.509 version 1 (FiFo's early
//! installer makes one) passes no usual check. The handshake's signature is checked with its key all the same: only who has
//! the private key is trusted.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use sha2::{Digest as _, Sha256};
use std::str::FromStr;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificatePin([u8; 32]);

impl FromStr for CertificatePin {
    type Err = String;

    /// Reads 64 hexadecimal digits, with or without colons.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut pin = [0; 32];
        hex::decode_to_slice(text.replace(':', ""), &mut pin)
            .map_err(|_| "write the 64 hexadecimal digits of its SHA-256 fingerprint".to_owned())?;
        Ok(Self(pin))
    }
}

pub(super) fn client_config(pin: CertificatePin) -> ClientConfig {
    let algorithms = ring::default_provider().signature_verification_algorithms;
    ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin, algorithms }))
        .with_no_client_auth()
}

#[derive(Debug)]
struct Pinned {
    pin: CertificatePin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = CertificatePin(Sha256::digest(certificate).into());
        if found == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let found = hex::encode(found.0);
        let why = format!("its SHA-256 fingerprint is {found}, and another one is pinned");
        let why: Box<dyn std::error::Error + Send + Sync> = why.into();
        Err(CertificateError::Other(OtherError(why.into())).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (key_algorithm, key) = public_key(certificate).ok_or(CertificateError::BadEncoding)?;
        let schemes = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let is_signed = schemes.flat_map(|(_, algorithms)| *algorithms).any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == key_algorithm
                && algorithm.verify_signature(key, message, signed.signature()).is_ok()
        });
        let valid = is_signed.then(HandshakeSignatureValid::assertion);
        valid.ok_or_else(|| CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_tls12_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Finds the public key of a certificate of any version: the contents of its algorithm's identifier, and its bits.
fn public_key(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        (_, rest) = element(rest, VERSION)?;
    }
    // Serial number, algorithm of the signature, issuer, validity, subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        (_, rest) = element(rest, tag)?;
    }
    let (key, _) = element(rest, SEQUENCE)?;
    let (algorithm, rest) = element(key, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    // The first byte says how many bits at the end are not used: none.
    Some((algorithm, bits.strip_prefix(&[0])?))
}

/// Splits DER into the contents of its first element, which must have this tag, and the rest.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    let (length, rest) = match usize::from(*length) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(long - 0x80).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length).filter(|_| *first == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_writes_it() {
        let digits = "0123456789abcdef".repeat(4);
        let colons = digits
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(String::from_utf8_lossy)
            .collect::<Vec<_>>()
            .join(":");
        assert_eq!(colons.parse::<CertificatePin>(), digits.parse());
        for text in ["", "0123", &digits[1..], &digits.replace('0', "g")] {
            assert!(text.parse::<CertificatePin>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_key() {
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 0x82],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0],
            &[0x30, 0x03, 0x30, 0x01, 0],
        ] {
            assert!(public_key(der).is_none(), "{der:?}");
        }
    }
}
