//! The file `~/.fifo` that users of pyfi, FiFo's command-line client, already have.

use super::endpoint::{ApiVersion, BadAddress, Endpoint};
use super::session::Credentials;
use configparser::ini::Ini;
use std::collections::{BTreeSet, HashMap};
#[cfg(unix)]
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

const GENERAL: &str = "GENERAL";
/// The section whose values hold for all profiles.
const DEFAULT: &str = "DEFAULT";
const NO_SECTION: &str = "";

/// One FiFo and how to sign in to it, as pyfi has it written down.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    pub endpoint: Endpoint,
    pub api: Option<ApiVersion>,
    /// User and password where there are both, since they outlive a token; else the token that pyfi wrote down when it
    /// last signed in.
    pub credentials: Option<Credentials>,
}

/// Why a profile could not be read. No message repeats a value that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("failed to read the profiles in {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("no profile is active: name one of {known}, or set `active = NAME` under [{GENERAL}]")]
    NoneActive { known: String },
    #[error("{0}")]
    Invalid(String),
}

impl Profile {
    /// Reads a profile of a file, the active one where none is named. Warns when others may read the file.
    pub fn read(path: &Path, wanted: Option<&str>) -> Result<Self, ProfileError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ProfileError::File { path: path.to_owned(), source })?;
        #[cfg(unix)]
        if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o044 != 0) {
            let file = path.display();
            tracing::warn!("{file} contains passwords and is readable by other users: run `chmod 600` on it");
        }
        Self::parse(&text, wanted)
    }

    pub fn parse(text: &str, wanted: Option<&str>) -> Result<Self, ProfileError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut ini = Ini::new_cs();
        // A password may well have a # or ; in it; where a ; begins a comment, `value` cuts it off.
        ini.set_inline_comment_symbols(Some(&[]));
        // What stands before the first section belongs to none; `default` is a name like any other.
        ini.set_default_section(NO_SECTION);
        let sections = ini.read(text.to_owned()).map_err(|error| {
            ProfileError::Invalid(format!("failed to parse the profiles as an INI file: {error}"))
        })?;
        let names = sections.keys().map(String::as_str);
        let known: BTreeSet<&str> =
            names.filter(|name| ![NO_SECTION, GENERAL, DEFAULT].contains(name)).collect();
        let listed = Vec::from_iter(known.iter().copied()).join(", ");
        let listed = if known.is_empty() { "(none)".to_owned() } else { listed };
        let active = sections.get(GENERAL).and_then(|general| value(general, "active"));
        let Some(name) = wanted.or(active) else { return Err(ProfileError::NoneActive { known: listed }) };
        let section = sections.get(name).filter(|_| known.contains(name)).ok_or_else(|| {
            ProfileError::Invalid(format!("unknown profile `{name}`: expected one of {listed}"))
        })?;
        let default = sections.get(DEFAULT);
        let value =
            |key: &str| value(section, key).or_else(|| default.and_then(|section| value(section, key)));
        Self::of(name, value).map_err(ProfileError::Invalid)
    }

    fn of<'a>(name: &str, value: impl Fn(&str) -> Option<&'a str>) -> Result<Self, String> {
        let wrong = |key: &str, why: &str| format!("invalid `{key}` in profile `{name}`: {why}");
        let host = value("host").ok_or_else(|| format!("the profile `{name}` has no `host`"))?;
        let scheme = match value("insecure").map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "no" | "off" | "0") => "https",
            Some("true" | "yes" | "on" | "1") => "http",
            Some(_) => return Err(wrong("insecure", "expected true or false")),
        };
        let endpoint = format!("{scheme}://{host}").parse().map_err(|error: BadAddress| {
            wrong("host", &format!("expected a value like fifo.example.com or 10.1.1.1:8080: {error}"))
        })?;
        let api = value("apiversion").map(str::parse).transpose();
        let api = api.map_err(|error: BadAddress| wrong("apiversion", &error.to_string()))?;
        let credentials = match (value("user"), value("pass"), value("token")) {
            (Some(user), Some(password), _) => {
                Some(Credentials::Password { user: user.to_owned(), password: password.into() })
            }
            (_, _, Some(token)) => Some(Credentials::Token(token.into())),
            _ => None,
        };
        Ok(Self { name: name.to_owned(), endpoint, api, credentials })
    }
}

type Section = HashMap<String, Option<String>>;

/// Returns a key's value; an empty one is none. pyfi takes keys in upper and lower case, and the first `;` for the begin of a
/// comment where it follows a blank.
fn value<'a>(section: &'a Section, key: &str) -> Option<&'a str> {
    let (_, value) = section.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key)).min()?;
    let value = value.as_deref()?;
    let value = match value.split_once(';') {
        Some((before, _)) if before.ends_with([' ', '\t']) => before.trim_end(),
        _ => value,
    };
    Some(value).filter(|value| !value.is_empty())
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
    fn comments_defaults_and_a_byte_order_mark_are_read_as_by_pyfi() {
        let text = "\u{feff}[GENERAL]\nactive = home ; the usual one\n[DEFAULT]\napiversion = 2\nuser = ann\n\
                    [home]\nhost = fifo.example.com\t; in the cellar\npass = h;u ;n\n[lab]\nhost = lab\nUser = bob\npass = a ;b\n";
        for (wanted, expected) in
            [(None, ("fifo.example.com", "ann", "h;u ;n")), (Some("lab"), ("lab", "bob", "a"))]
        {
            let profile = Profile::parse(text, wanted).unwrap();
            let Some(Credentials::Password { user, password }) = profile.credentials else {
                panic!("{wanted:?}")
            };
            let found = (profile.endpoint.to_string(), user, password.expose_secret().to_owned());
            let (host, user, password) = expected;
            assert_eq!(found, (format!("https://{host}"), user.to_owned(), password.to_owned()));
            assert_eq!(profile.api, "2".parse().ok());
        }
        let error = Profile::parse(text, Some("DEFAULT")).unwrap_err().to_string();
        assert_eq!(error, "unknown profile `DEFAULT`: expected one of home, lab");
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
        for (text, name, words) in [
            (FILE, "old", "invalid `apiversion` in profile `old`: API version 0.1.0 signs in in another way"),
            (FILE, "bad", "invalid `host` in profile `bad`: expected a value like fifo.example.com"),
            ("[a]\nuser=x\n", "a", "the profile `a` has no `host`"),
            ("[a]\nhost=x\ninsecure=perhaps\n", "a", "invalid `insecure` in profile `a`"),
            ("[a\nhost=x\n", "a", "failed to parse the profiles as an INI file"),
        ] {
            let error = Profile::parse(text, Some(name)).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
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
