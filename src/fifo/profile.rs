//! The file `~/.fifo` that users of pyfi, FiFo's command-line client, already have.

use super::credentials::Credentials;
use super::endpoint::{ApiVersion, BadApiVersion, BadEndpoint, Endpoint};
use configparser::ini::Ini;
use secrecy::SecretString;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

const GENERAL: &str = "GENERAL";
const NO_SECTION: &str = "";

/// One FiFo and how to sign in to it, as pyfi has it written down. It is only ever read.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    pub endpoint: Endpoint,
    /// The API's version, if the profile names one.
    pub api: Option<ApiVersion>,
    /// What to sign in with: user and password where there are both, since they outlive a token; else the token that
    /// pyfi wrote down when it last signed in; `None` when there is neither.
    pub credentials: Option<Credentials>,
}

/// Why a profile could not be read. No message repeats a value that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file could not be read.
    #[error("failed to read the profiles in {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The file is no INI file.
    #[error("failed to parse the profiles as an INI file: {0}")]
    NotIni(String),
    /// No profile was named, and the file says of none that it is the active one.
    #[error("no profile is active: name one of {}, or set `active = NAME` under [{GENERAL}]", listed(known))]
    NoneActive { known: Vec<String> },
    /// There is no such profile.
    #[error("unknown profile `{name}`: expected one of {}", listed(known))]
    Unknown {
        /// The profile that was asked for.
        name: String,
        known: Vec<String>,
    },
    /// The profile does not say where its FiFo is.
    #[error("the profile `{name}` has no `host`")]
    NoHost { name: String },
    /// The profile's host is none.
    #[error("invalid `host` in profile `{name}`: expected a value like fifo.example.com or 10.1.1.1:8080")]
    Host {
        name: String,
        /// What is wrong with it.
        source: BadEndpoint,
    },
    /// The profile's API version cannot be used.
    #[error("invalid `apiversion` in profile `{name}`")]
    Api {
        name: String,
        /// What is wrong with it.
        source: BadApiVersion,
    },
    /// The profile's `insecure` is neither true nor false.
    #[error("invalid `insecure` in profile `{name}`: expected true or false")]
    Insecure { name: String },
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "(none)".to_owned() } else { known.join(", ") }
}

impl Profile {
    /// Reads a profile of a file, the active one where none is named. Warns when others may read the file.
    ///
    /// # Errors
    ///
    /// As [`Profile::parse`], or when the file cannot be read.
    pub fn read(path: &Path, wanted: Option<&str>) -> Result<Self, ProfileError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ProfileError::File { path: path.to_owned(), source })?;
        if others_may_read(path) {
            tracing::warn!(
                "{} contains passwords and is readable by other users: run `chmod 600` on it",
                path.display()
            );
        }
        Self::parse(&text, wanted)
    }

    /// Reads a profile of the text of such a file, the active one where none is named.
    ///
    /// # Errors
    ///
    /// When the text is no INI file, has no such profile, or the profile does not name a usable FiFo.
    pub fn parse(text: &str, wanted: Option<&str>) -> Result<Self, ProfileError> {
        let mut ini = Ini::new_cs();
        // A password may well have a # or ; in it.
        ini.set_inline_comment_symbols(Some(&[]));
        // What stands before the first section belongs to none; `default` is a name like any other.
        ini.set_default_section(NO_SECTION);
        let sections = ini.read(text.to_owned()).map_err(ProfileError::NotIni)?;
        let mut known: Vec<String> =
            sections.keys().filter(|name| ![NO_SECTION, GENERAL].contains(&name.as_str())).cloned().collect();
        known.sort();
        let active = sections.get(GENERAL).and_then(|general| value(general, "active"));
        let Some(name) = wanted.or(active) else { return Err(ProfileError::NoneActive { known }) };
        let name = name.to_owned();
        match sections.get(&name) {
            Some(section) if known.contains(&name) => Self::of(name, section),
            _ => Err(ProfileError::Unknown { name, known }),
        }
    }

    fn of(name: String, section: &Section) -> Result<Self, ProfileError> {
        let Some(host) = value(section, "host") else { return Err(ProfileError::NoHost { name }) };
        let plain_http = match value(section, "insecure").map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "no" | "off" | "0") => false,
            Some("true" | "yes" | "on" | "1") => true,
            Some(_) => return Err(ProfileError::Insecure { name }),
        };
        let url = format!("{}://{host}", if plain_http { "http" } else { "https" });
        let endpoint = match url.parse() {
            Ok(endpoint) => endpoint,
            Err(source) => return Err(ProfileError::Host { name, source }),
        };
        let api = match value(section, "apiversion").map(str::parse).transpose() {
            Ok(api) => api,
            Err(source) => return Err(ProfileError::Api { name, source }),
        };
        let credentials = match (value(section, "user"), value(section, "pass"), value(section, "token")) {
            (Some(user), Some(password), _) => {
                Some(Credentials::Password { user: user.to_owned(), password: SecretString::from(password) })
            }
            (_, _, Some(token)) => Some(Credentials::Token(SecretString::from(token))),
            _ => None,
        };
        Ok(Self { name, endpoint, api, credentials })
    }
}

type Section = HashMap<String, Option<String>>;

/// Returns a key's value; an empty one is none. pyfi takes keys in upper and lower case.
fn value<'a>(section: &'a Section, key: &str) -> Option<&'a str> {
    let (_, value) = section.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key)).min()?;
    value.as_deref().filter(|value| !value.is_empty())
}

#[cfg(unix)]
fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const FILE: &str = "\
[GENERAL]
active = home

[home]
host = fifo.example.com
user = admin
pass = h;u#n = t%er2
apiversion = 2
token = written-back

[lab]
Host = 10.1.1.1:8080
insecure = True
token = abc
; pass = commented out

[old]
host = fifo.example.com
apiversion = 0.1.0

[bad]
host = me:hunter2@fifo.example.com
";

    #[test]
    fn the_active_profile_is_read_with_its_password_whole() {
        let profile = Profile::parse(FILE, None).unwrap();
        assert_eq!((profile.name.as_str(), profile.api), ("home", Some(ApiVersion::V2)));
        assert_eq!(profile.endpoint.to_string(), "https://fifo.example.com");
        let Some(Credentials::Password { user, password }) = &profile.credentials else {
            panic!("{profile:?}")
        };
        assert_eq!((user.as_str(), password.expose_secret()), ("admin", "h;u#n = t%er2"));
        assert!(!format!("{profile:?}").contains("t%er2"));
    }

    #[test]
    fn insecure_means_plain_http() {
        let profile = Profile::parse(FILE, Some("lab")).unwrap();
        assert_eq!(profile.endpoint.to_string(), "http://10.1.1.1:8080");
        assert!(matches!(profile.credentials, Some(Credentials::Token(_))));
    }

    #[test]
    fn a_profile_may_be_called_default() {
        let text =
            "stray = 1\n[GENERAL]\nactive = default\n[default]\nhost = fifo.example.com\ntoken = abc\n";
        let profile = Profile::parse(text, None).unwrap();
        assert_eq!(profile.endpoint.to_string(), "https://fifo.example.com");
        assert!(matches!(profile.credentials, Some(Credentials::Token(_))));
        let error = Profile::parse(text, Some("stray")).unwrap_err().to_string();
        assert_eq!(error, "unknown profile `stray`: expected one of default");
    }

    #[test]
    fn an_unknown_profile_is_answered_with_those_there_are() {
        for name in ["nowhere", "GENERAL", "default"] {
            let error = Profile::parse(FILE, Some(name)).unwrap_err().to_string();
            assert_eq!(error, format!("unknown profile `{name}`: expected one of bad, home, lab, old"));
        }
        let error = Profile::parse("[lab]\nhost=x\n", None).unwrap_err();
        assert!(error.to_string().starts_with("no profile is active: name one of lab"), "{error}");
        assert!(matches!(Profile::parse("", None), Err(ProfileError::NoneActive { .. })));
    }

    #[test]
    fn what_a_profile_lacks_or_has_wrong_is_named_without_secrets() {
        let error = |text: &str, name| Profile::parse(text, Some(name)).unwrap_err();
        assert!(matches!(error(FILE, "old"), ProfileError::Api { source: BadApiVersion::TooOld, .. }));
        let bad_host = error(FILE, "bad");
        assert!(matches!(bad_host, ProfileError::Host { source: BadEndpoint::HoldsSecrets, .. }));
        assert!(!super::super::error::with_causes(&bad_host).contains("hunter2"));
        assert!(matches!(error("[a]\nuser=x\n", "a"), ProfileError::NoHost { .. }));
        assert!(matches!(error("[a]\nhost=x\ninsecure=perhaps\n", "a"), ProfileError::Insecure { .. }));
        assert!(matches!(error("[a\nhost=x\n", "a"), ProfileError::NotIni(_)));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(Profile::read(&path, None).unwrap_err().to_string().contains(&path.display().to_string()));
        fs::write(&path, FILE).unwrap();
        assert_eq!(Profile::read(&path, None).unwrap().name, "home");
    }
}
