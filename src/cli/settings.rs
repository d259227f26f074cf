//! The settings of a connection: endpoint, API version and credentials.

use super::args::GlobalArgs;
use super::context::Environment;
use super::error::{CliError, Kind};
use crate::fifo::{ApiVersion, Credentials, Endpoint, Profile, ProfileError};
use secrecy::SecretString;
use std::fs;
use std::path::Path;

/// A FiFo and how to sign in to it.
#[derive(Debug)]
pub struct ConnectionSettings {
    pub endpoint: Endpoint,
    /// The version of its API.
    pub api: ApiVersion,
    /// What to sign in with.
    pub credentials: Credentials,
}

impl ConnectionSettings {
    /// Puts together what command line, environment and profile say.
    ///
    /// A profile's secrets are only ever sent to the host that it is for: with another endpoint it gives none.
    ///
    /// # Errors
    ///
    /// Something is missing, contradicts itself, or cannot be read. No message holds a secret.
    pub fn choose(
        global: &GlobalArgs,
        environment: &Environment,
        profile_file: Option<&Path>,
    ) -> Result<Self, CliError> {
        let given = given_endpoint(global, environment)?;
        let from_environment = credentials(environment)?;
        let wanted = match &global.profile {
            Some(name) => Some(name.as_str()),
            None => environment.text("FIFO_PROFILE")?,
        };
        let is_needed = wanted.is_some() || given.is_none() || from_environment.is_none();
        let is_named = wanted.is_some() || environment.get("FIFO_CONFIG").is_some();
        let profile = if is_needed { profile(profile_file, wanted, is_named)? } else { None };

        let endpoint = given.or_else(|| profile.as_ref().map(|profile| profile.endpoint.clone()));
        let endpoint = endpoint.ok_or_else(none_named)?;
        let (own, other): (Vec<Profile>, Vec<Profile>) =
            profile.into_iter().partition(|profile| profile.endpoint == endpoint);
        let own = own.into_iter().next();
        let api = global.api_version.or(own.as_ref().and_then(|profile| profile.api)).unwrap_or_default();
        let Some(credentials) = from_environment.or(own.and_then(|profile| profile.credentials)) else {
            let mut hint = "set FIFO_TOKEN, or FIFO_USER and FIFO_PASSWORD".to_owned();
            for Profile { name, endpoint, .. } in other {
                hint.push_str(&format!("; the profile `{name}` is for {endpoint} and is only used there"));
            }
            let message = format!("there is nothing to sign in to {endpoint} with");
            return Err(CliError::new(Kind::Settings, message).hint(hint));
        };
        Ok(Self { endpoint, api, credentials })
    }

    /// Returns the endpoint alone, as [`ConnectionSettings::choose`] would; there need be nothing to sign in with.
    ///
    /// # Errors
    ///
    /// No FiFo is named, or what names it cannot be read.
    pub fn endpoint(
        global: &GlobalArgs,
        environment: &Environment,
        profile_file: Option<&Path>,
    ) -> Result<Endpoint, CliError> {
        Self::named(global, environment, profile_file)?.ok_or_else(none_named)
    }

    /// Returns the endpoint alone; `None` where no FiFo is named.
    ///
    /// # Errors
    ///
    /// What names it cannot be read.
    pub(super) fn named(
        global: &GlobalArgs,
        environment: &Environment,
        profile_file: Option<&Path>,
    ) -> Result<Option<Endpoint>, CliError> {
        if let Some(given) = given_endpoint(global, environment)? {
            return Ok(Some(given));
        }
        let wanted = match &global.profile {
            Some(name) => Some(name.as_str()),
            None => environment.text("FIFO_PROFILE")?,
        };
        let is_named = wanted.is_some() || environment.get("FIFO_CONFIG").is_some();
        Ok(profile(profile_file, wanted, is_named)?.map(|profile| profile.endpoint))
    }
}

fn none_named() -> CliError {
    CliError::new(Kind::Settings, "no endpoint configured")
        .hint("give --endpoint or FIFO_ENDPOINT, or a profile in ~/.fifo; --sandbox uses the built-in one")
}

fn given_endpoint(global: &GlobalArgs, environment: &Environment) -> Result<Option<Endpoint>, CliError> {
    let (from, text) = match &global.endpoint {
        Some(text) => ("--endpoint", Some(text.as_str())),
        None => ("FIFO_ENDPOINT", environment.text("FIFO_ENDPOINT")?),
    };
    let unusable = |error| CliError::new(Kind::Settings, format!("{from} cannot be used")).because(error);
    text.map(str::parse::<Endpoint>).transpose().map_err(unusable)
}

/// Reads a profile. Where none was asked for, it may be missing.
fn profile(file: Option<&Path>, wanted: Option<&str>, is_named: bool) -> Result<Option<Profile>, CliError> {
    let Some(file) = file.filter(|file| is_named || file.exists()) else {
        return match wanted {
            Some(name) => Err(CliError::new(
                Kind::Settings,
                format!("there is no file to read the profile `{name}` from"),
            )),
            None => Ok(None),
        };
    };
    match Profile::read(file, wanted) {
        Err(ProfileError::NoneActive { .. }) if !is_named => Ok(None),
        read => Ok(Some(read?)),
    }
}

fn credentials(environment: &Environment) -> Result<Option<Credentials>, CliError> {
    let token = secret(environment, "FIFO_TOKEN")?.map(SecretString::from);
    let password = secret(environment, "FIFO_PASSWORD")?.map(SecretString::from);
    match (secret(environment, "FIFO_USER")?, password) {
        (Some(user), Some(password)) => Ok(Some(match token {
            Some(token) => Credentials::TokenFirst { token, user, password },
            None => Credentials::Password { user, password },
        })),
        // Half a pair is of no use, and not needed.
        _ if token.is_some() => Ok(token.map(Credentials::Token)),
        (None, None) => Ok(None),
        (Some(_), None) => Err(half("FIFO_USER", "FIFO_PASSWORD")),
        (None, Some(_)) => Err(half("FIFO_PASSWORD", "FIFO_USER")),
    }
}

fn half(given: &str, missing: &str) -> CliError {
    CliError::new(Kind::Settings, format!("{given} is set and {missing} is not"))
        .hint(format!("set {missing} or {missing}_FILE as well, or FIFO_TOKEN alone"))
}

/// Reads a variable, or the file that the variable with `_FILE` behind its name names.
pub(super) fn secret(environment: &Environment, name: &str) -> Result<Option<String>, CliError> {
    let file_name = format!("{name}_FILE");
    let value = environment.text(name)?;
    let Some(file) = environment.get(&file_name).map(Path::new) else { return Ok(value.map(str::to_owned)) };
    if value.is_some() {
        return Err(CliError::new(Kind::Settings, format!("both {name} and {file_name} are set"))
            .hint("unset one of them"));
    }
    let what = format!("{} ({file_name})", file.display());
    let mut text = fs::read_to_string(file)
        .map_err(|error| CliError::new(Kind::Settings, format!("failed to read {what}")).because(error))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(CliError::new(Kind::Settings, format!("{what} is empty")));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Arguments;
    use clap::Parser as _;
    use secrecy::ExposeSecret;
    use std::io::Write as _;
    use tempfile::NamedTempFile;

    const PROFILES: &str = "[GENERAL]\nactive = home\n\
        [home]\nhost = fifo.home\nuser = ann\npass = hunter2\napiversion = 2\n\
        [work]\nhost = fifo.work\ntoken = t0ken\n";

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn chosen(
        arguments: &[&str],
        variables: &[(&str, &str)],
        profiles: Option<&Path>,
    ) -> Result<String, String> {
        let line = ["fifo-retain"].iter().chain(arguments).chain(&["plan"]);
        let global = Arguments::try_parse_from(line).unwrap().global;
        let environment: Environment = variables.iter().copied().collect();
        match ConnectionSettings::choose(&global, &environment, profiles) {
            Ok(ConnectionSettings { endpoint, api, credentials }) => {
                let credentials = match credentials {
                    Credentials::Token(token) => format!("token {}", token.expose_secret()),
                    Credentials::Password { user, password } => {
                        format!("{user}/{}", password.expose_secret())
                    }
                    Credentials::TokenFirst { token, user, password } => {
                        format!("token {} then {user}/{}", token.expose_secret(), password.expose_secret())
                    }
                };
                Ok(format!("{endpoint} {} {credentials}", api.as_str()))
            }
            Err(error) => Err(error.chain().join(": ")),
        }
    }

    #[test]
    fn the_command_line_goes_before_the_environment_and_that_before_the_profile() {
        let profiles = file(PROFILES);
        let path = Some(profiles.path());
        assert_eq!(chosen(&[], &[], path).unwrap(), "https://fifo.home 2 ann/hunter2");
        assert_eq!(chosen(&["-c", "work"], &[], path).unwrap(), "https://fifo.work 3 token t0ken");
        assert_eq!(
            chosen(&[], &[("FIFO_PROFILE", "work")], path).unwrap(),
            "https://fifo.work 3 token t0ken"
        );
        let user = [("FIFO_USER", "bob"), ("FIFO_PASSWORD", "pw"), ("FIFO_ENDPOINT", "https://e")];
        assert_eq!(chosen(&[], &user, path).unwrap(), "https://e 3 bob/pw");
        let both = [("FIFO_TOKEN", "t"), ("FIFO_USER", "bob"), ("FIFO_ENDPOINT", "https://e")];
        assert_eq!(chosen(&["--endpoint", "http://x:1"], &both, path).unwrap(), "http://x:1 3 token t");
        let all = [&user[..], &[("FIFO_TOKEN", "t")]].concat();
        assert_eq!(chosen(&[], &all, path).unwrap(), "https://e 3 token t then bob/pw");
        let token = [("FIFO_TOKEN", "t")];
        assert_eq!(
            chosen(&["--api-version", "0.2.0"], &token, path).unwrap(),
            "https://fifo.home 0.2.0 token t"
        );
    }

    #[test]
    fn a_profiles_secrets_go_to_no_other_host() {
        let profiles = file(PROFILES);
        let error = chosen(&["--endpoint", "https://fifo.evil"], &[], Some(profiles.path())).unwrap_err();
        assert_eq!(error, "there is nothing to sign in to https://fifo.evil with");
        let same = chosen(&["--endpoint", "https://fifo.home/"], &[], Some(profiles.path())).unwrap();
        assert_eq!(same, "https://fifo.home 2 ann/hunter2");
    }

    #[test]
    fn secrets_can_lie_in_files_and_lose_one_line_break() {
        let (token, windows, empty) = (file("t0ken \n"), file("pw\r\n"), file("\n"));
        let path = |file: &NamedTempFile| file.path().to_str().unwrap().to_owned();
        let endpoint = ("FIFO_ENDPOINT", "https://e");
        assert_eq!(
            chosen(&[], &[endpoint, ("FIFO_TOKEN_FILE", &path(&token))], None).unwrap(),
            "https://e 3 token t0ken "
        );
        let pair = [endpoint, ("FIFO_USER", "bob"), ("FIFO_PASSWORD_FILE", &path(&windows))];
        assert_eq!(chosen(&[], &pair, None).unwrap(), "https://e 3 bob/pw");
        let error = chosen(&[], &[endpoint, ("FIFO_TOKEN_FILE", &path(&empty))], None).unwrap_err();
        assert!(error.ends_with("(FIFO_TOKEN_FILE) is empty"), "{error}");
        let error = chosen(&[], &[endpoint, ("FIFO_TOKEN_FILE", "/no/such")], None).unwrap_err();
        assert!(error.starts_with("failed to read /no/such (FIFO_TOKEN_FILE): "), "{error}");
        let both = [endpoint, ("FIFO_TOKEN", "t"), ("FIFO_TOKEN_FILE", &path(&token))];
        assert_eq!(chosen(&[], &both, None).unwrap_err(), "both FIFO_TOKEN and FIFO_TOKEN_FILE are set");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(chosen(&[], &[], None).unwrap_err(), "no endpoint configured");
        assert_eq!(
            chosen(&[], &[("FIFO_USER", "bob")], None).unwrap_err(),
            "FIFO_USER is set and FIFO_PASSWORD is not"
        );
        assert_eq!(
            chosen(&["-c", "work"], &[], Some(Path::new("/no/such"))).unwrap_err().split(':').next(),
            Some("failed to read the profiles in /no/such")
        );
        assert!(
            chosen(&["--endpoint", "fifo"], &[], None)
                .unwrap_err()
                .starts_with("--endpoint cannot be used: ")
        );
    }
}
