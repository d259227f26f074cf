//! Where a FiFo is, and which version of its API to speak.

use std::fmt;
use std::str::FromStr;
use url::{Host, Url};

/// The base URL of a FiFo: scheme, host and port, nothing else, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

impl Endpoint {
    pub(super) fn as_url(&self) -> &Url {
        &self.0
    }

    /// Says whether it is on this machine, where no proxy has a place.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for Endpoint {
    type Err = BadAddress;

    /// Reads a base URL. A final slash, and the API's own path (`/api/3`) as people copy it, are dropped. No message repeats
    /// the text, since it may hold a password.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = |why: &str| BadAddress(why.to_owned());
        let no_scheme =
            || bad("the endpoint must begin with https:// or http://, like https://fifo.example.com");
        let mut url = Url::parse(text.trim()).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => no_scheme(),
            error => bad(&format!("not a URL ({error}): write it like https://fifo.example.com")),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(no_scheme());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad(
                "the endpoint must not contain a user name or password: set FIFO_USER and FIFO_PASSWORD, or FIFO_TOKEN",
            ));
        }
        let is_known = matches!(url.path(), "/" | "/api") || url.path().starts_with("/api/");
        if !is_known || url.query().is_some() || url.fragment().is_some() {
            return Err(bad(
                "unexpected text after host and port of the endpoint: write it like https://fifo.example.com",
            ));
        }
        url.set_path("/");
        Ok(Self(url))
    }
}

/// A version of FiFo's HTTP API; 3 is the current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiVersion {
    #[default]
    V3,
    V2,
    V0_2_0,
}

impl ApiVersion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "3",
            Self::V2 => "2",
            Self::V0_2_0 => "0.2.0",
        }
    }
}

impl FromStr for ApiVersion {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text {
            "3" => Ok(Self::V3),
            "2" => Ok(Self::V2),
            "0.2.0" => Ok(Self::V0_2_0),
            "0.1.0" => {
                Err("API version 0.1.0 signs in in another way and is not supported: use 3, 2 or 0.2.0"
                    .into())
            }
            other => Err(format!("unknown API version `{other}`: it is 3, 2 or 0.2.0")),
        }
        .map_err(BadAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for (text, shown) in [
            ("https://fifo.example.com", "https://fifo.example.com"),
            ("https://FIFO.example.com:443/", "https://fifo.example.com"),
            ("http://10.1.1.1:8080/api/3/", "http://10.1.1.1:8080"),
            ("http://[::1]:80/api", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_repeating_it() {
        for (text, error) in [
            ("fifo.example.com", "must begin with https://"),
            ("fifo:80", "must begin with https://"),
            ("ftp://fifo", "must begin with https://"),
            ("https://", "not a URL (empty host)"),
            ("https://admin:hunter2@fifo", "must not contain a user name or password"),
            ("https://hunter2@fifo", "must not contain a user name or password"),
            ("https://fifo/cloud", "unexpected text after host and port"),
            ("https://fifo/?token=hunter2", "unexpected text after host and port"),
            ("https://fifo/#x", "unexpected text after host and port"),
        ] {
            let refused = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(refused.contains(error) && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for (text, loopback) in [
            ("http://localhost:1", true),
            ("http://127.0.0.9", true),
            ("http://[::1]", true),
            ("http://10.0.0.1", false),
            ("https://localhost.example.com", false),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn the_oldest_api_is_refused_in_so_many_words() {
        assert_eq!("0.2.0".parse(), Ok(ApiVersion::V0_2_0));
        for (text, words) in [("0.1.0", "0.1.0 signs in in another way"), ("4", "unknown API version `4`")] {
            assert!(text.parse::<ApiVersion>().unwrap_err().to_string().contains(words), "{text}");
        }
    }
}
