//! AWS signature version 4 in the `Authorization` header.
//!
//! Not as a signed address, which is all that `rusty-s3` makes: LeoFS does not accept these.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Clone, Debug)]
pub struct AccessKey {
    pub id: String,
    pub secret: SecretString,
    /// Goes with a key that is only lent for a time.
    pub session_token: Option<SecretString>,
}

/// A GET that is to be signed.
pub(super) struct Unsigned<'a> {
    pub(super) host: &'a str,
    /// Encoded as it is sent.
    pub(super) path: &'a str,
    /// Encoded as it is sent, sorted by name.
    pub(super) query: &'a str,
    /// Lower-case names with their values.
    pub(super) headers: Vec<(&'static str, String)>,
}

impl AccessKey {
    /// Returns the headers of a signed GET; `None` where a value cannot be sent in a header.
    pub(super) fn sign(&self, now: DateTime<Utc>, region: &str, request: &Unsigned<'_>) -> Option<HeaderMap> {
        let (date, time) = (now.format("%Y%m%d").to_string(), now.format("%Y%m%dT%H%M%SZ").to_string());
        let no_body = hex::encode(Sha256::digest([]));
        let mut headers: BTreeMap<&str, String> = request.headers.iter().cloned().collect();
        headers.extend([("x-amz-content-sha256", no_body.clone()), ("x-amz-date", time.clone())]);
        let token = self.session_token.as_ref().map(|token| token.expose_secret().to_owned());
        headers.extend(token.map(|token| ("x-amz-security-token", token)));

        let mut signed = headers.clone();
        signed.insert("host", request.host.to_owned());
        let names = signed.keys().copied().collect::<Vec<_>>().join(";");
        let lines = signed.iter().fold(String::new(), |mut lines, (name, value)| {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{name}:{}", value.trim());
            lines
        });
        let canonical = format!("GET\n{}\n{}\n{lines}\n{names}\n{no_body}", request.path, request.query);
        let scope = format!("{date}/{region}/s3/aws4_request");
        let digest = hex::encode(Sha256::digest(canonical));
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
        let first = format!("AWS4{}", self.secret.expose_secret()).into_bytes();
        let steps = [date.as_str(), region, "s3", "aws4_request", &to_sign];
        let signature = steps.into_iter().try_fold(first, |key, step| hmac(&key, step))?;
        let signature = hex::encode(signature);
        let credential = format!("Credential={}/{scope}", self.id);
        let authorization =
            format!("AWS4-HMAC-SHA256 {credential},SignedHeaders={names},Signature={signature}");
        headers.insert("authorization", authorization);
        let header = |(name, value): (&str, String)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
            Some((HeaderName::try_from(name).ok()?, value))
        };
        headers.into_iter().map(header).collect()
    }
}

fn hmac(key: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// Encodes what goes into a path or a query, as S3 wants it signed; slashes stay where `keeps_slash` says so.
pub(super) fn encoded(text: &str, keeps_slash: bool) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || keeps_slash && byte == b'/' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Amazon's page on signatures in the header.
    #[test]
    fn a_signature_is_the_one_that_amazon_computes() {
        let key = AccessKey {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
        };
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        let signature = |path, query, headers| {
            let request = Unsigned { host: "examplebucket.s3.amazonaws.com", path, query, headers };
            let headers = key.sign(now, "us-east-1", &request).unwrap();
            let text = headers["authorization"].to_str().unwrap().to_owned();
            assert!(headers["authorization"].is_sensitive());
            text.rsplit_once('=').unwrap().1.to_owned()
        };
        assert_eq!(
            signature("/test.txt", "", vec![("range", "bytes=0-9".to_owned())]),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature("/", "max-keys=2&prefix=J", Vec::new()),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
        assert_eq!((encoded("a b/é", true), encoded("a/b", false)), ("a%20b/%C3%A9".into(), "a%2Fb".into()));
    }
}
