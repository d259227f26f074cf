//! Which FiFo is meant, and what to sign in with: command line, environment and profile put together. The commands that only
//! look at it read it in one way.

use super::context::{Context, Environment, Global, SANDBOX_FILE};
use crate::fifo::{Credentials, Endpoint, Profile, ProfileError};
use crate::plan::Prune;
use crate::policy::{Pattern, Policies};
use crate::report::{Failure, failed};
use crate::runner::fifo::{FAIL_FAST, SANDBOX_NAME, Settings, Target};
use crate::runner::proofs::OpenedStore;
use crate::runner::read::{KeptVms, Planned, Query, Selection};
use chrono::{DateTime, Utc};
use clap::Args;
use hyper_util::client::proxy::matcher::Matcher;
use secrecy::SecretString;
use std::fs;
use std::path::{Path, PathBuf};

/// Finds out which FiFo is meant, and what to sign in with. Nothing is asked or started. No error message holds a secret.
pub(super) fn target(context: &Context) -> Result<Target, Failure> {
    Ok(match context.global.sandbox {
        true => Target::Sandbox(PathBuf::from(SANDBOX_FILE), context.global.timeout),
        false => Target::Real(Box::new(Sources::of(context).settings()?)),
    })
}

/// Returns the endpoint that plans name, if one is given; there need be nothing to sign in with.
pub(super) fn endpoint(context: &Context) -> Result<Option<String>, Failure> {
    match context.global.sandbox {
        true => Ok(Some(SANDBOX_NAME.to_owned())),
        false => Ok(Sources::of(context).endpoint()?.map(|endpoint| endpoint.to_string())),
    }
}

struct Sources<'a> {
    global: &'a Global,
    environment: &'a Environment,
    profiles: Option<PathBuf>,
}

impl<'a> Sources<'a> {
    fn of(context: &'a Context) -> Self {
        let Context { global, environment, .. } = context;
        Self { global, environment, profiles: context.profile_file() }
    }

    fn endpoint(&self) -> Result<Option<Endpoint>, Failure> {
        match self.given_endpoint()? {
            None => Ok(self.profile()?.map(|profile| profile.endpoint)),
            given => Ok(given),
        }
    }

    fn given_endpoint(&self) -> Result<Option<Endpoint>, Failure> {
        let endpoint = self.global.endpoint.as_deref().map(str::parse).transpose();
        endpoint.map_err(failed("the endpoint of --endpoint or FIFO_ENDPOINT cannot be used"))
    }

    /// Puts them together. A profile's secrets are only ever sent to the host that it is for: with another endpoint it gives none.
    fn settings(&self) -> Result<Settings, Failure> {
        let Self { global, environment, .. } = *self;
        let given = self.given_endpoint()?;
        let from_environment = credentials(environment)?;
        let is_needed = global.profile.is_some() || given.is_none() || from_environment.is_none();
        let profile = if is_needed { self.profile()? } else { None };

        let endpoint = given.or_else(|| profile.as_ref().map(|profile| profile.endpoint.clone()));
        let endpoint = endpoint.ok_or_else(none_named)?;
        let (own, other) = match profile {
            Some(profile) if profile.endpoint == endpoint => (Some(profile), None),
            other => (None, other),
        };
        let api = global.api_version.or(own.as_ref().and_then(|profile| profile.api)).unwrap_or_default();
        let Some(credentials) = from_environment.or(own.and_then(|profile| profile.credentials)) else {
            let mut hint = "set FIFO_TOKEN, or FIFO_USER and FIFO_PASSWORD".to_owned();
            if let Some(Profile { name, endpoint, .. }) = other {
                hint.push_str(&format!("; the profile `{name}` is for {endpoint} and is only used there"));
            }
            return Err(Failure::new(format!("there is nothing to sign in to {endpoint} with")).hint(hint));
        };
        let mut settings = Settings::new(endpoint, credentials, global.timeout);
        settings.proxy = proxy(&settings.client.endpoint, environment)?;
        settings.client.api = api;
        settings.http.ca_file.clone_from(&global.ca_file);
        (settings.http.pin, settings.http.insecure) = (global.pin_sha256, global.insecure);
        Ok(settings)
    }

    /// Reads the profile. Where neither it nor its file is named by anybody, there may be none.
    fn profile(&self) -> Result<Option<Profile>, Failure> {
        let wanted = self.global.profile.as_deref();
        let is_named = wanted.is_some() || self.environment.get("FIFO_CONFIG").is_some();
        let Some(file) = self.profiles.as_deref().filter(|file| is_named || file.exists()) else {
            let missing = |name| Failure::new(format!("there is no file to read the profile `{name}` from"));
            return wanted.map_or(Ok(None), |name| Err(missing(name)));
        };
        match Profile::read(file, wanted) {
            Err(ProfileError::NoneActive { .. }) if !is_named => Ok(None),
            read => read.map(Some).map_err(|error| Failure::of(&error)),
        }
    }
}

pub(super) fn none_named() -> Failure {
    Failure::new("no endpoint configured")
        .hint("give --endpoint or FIFO_ENDPOINT, or a profile in ~/.fifo; --sandbox uses the built-in one")
}

fn credentials(environment: &Environment) -> Result<Option<Credentials>, Failure> {
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

fn half(given: &str, missing: &str) -> Failure {
    Failure::new(format!("{given} is set and {missing} is not"))
        .hint(format!("set {missing} or {missing}_FILE as well, or FIFO_TOKEN alone"))
}

/// Reads a variable, or the file that the variable with `_FILE` behind its name names: without a byte order mark and one line
/// break at the end. What else in a file is probably not meant is warned about, without its content.
pub(super) fn secret(environment: &Environment, name: &str) -> Result<Option<String>, Failure> {
    let file_name = format!("{name}_FILE");
    let value = environment.text(name)?;
    let Some(file) = environment.get(&file_name).map(Path::new) else { return Ok(value.map(str::to_owned)) };
    if value.is_some() {
        return Err(Failure::new(format!("both {name} and {file_name} are set")).hint("unset one of them"));
    }
    let what = format!("{} ({file_name})", file.display());
    let text = fs::read_to_string(file).map_err(failed(format!("failed to read {what}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(Failure::new(format!("{what} is empty")));
    }
    if let Some(doubt) = doubt(text) {
        tracing::warn!("{what} {doubt}, which counts as part of it");
    }
    Ok(Some(text.to_owned()))
}

fn doubt(text: &str) -> Option<&'static str> {
    let doubts = [
        (text.starts_with(['\n', '\r']), "begins with an empty line"),
        (text.contains(['\n', '\r']), "has more than one line"),
        (text.starts_with(char::is_whitespace), "begins with a blank"),
        (text.ends_with(char::is_whitespace), "ends with a blank"),
    ];
    doubts.into_iter().find_map(|(is_so, doubt)| is_so.then_some(doubt))
}

/// Names the proxy on the way to a FiFo, as the environment sets it, without what it may hold of secrets. An error: its address
/// cannot be read: FiFo must not be contacted directly instead.
fn proxy(endpoint: &Endpoint, environment: &Environment) -> Result<Option<String>, Failure> {
    let own = if endpoint.is_https() { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    for name in own.into_iter().chain(["ALL_PROXY", "all_proxy"]) {
        let Some(value) = environment.text(name)?.filter(|_| !endpoint.is_loopback()) else { continue };
        let except = match environment.text("NO_PROXY")? {
            Some(except) => except,
            None => environment.text("no_proxy")?.unwrap_or_default(),
        };
        let Ok(uri) = endpoint.to_string().parse() else { return Ok(None) };
        let on_the_way = |proxy: &str| {
            Matcher::builder().all(proxy.to_owned()).no(except.to_owned()).build().intercept(&uri)
        };
        if on_the_way("http://any").is_none() {
            return Ok(None);
        }
        let unusable = || {
            Failure::new(format!("{name} is not the address of an HTTP proxy"))
                .hint("write it like http://proxy.example.com:3128, or unset it to contact FiFo directly")
        };
        let proxy = on_the_way(value).ok_or_else(unusable)?;
        let host = proxy.uri().host().filter(|_| matches!(proxy.uri().scheme_str(), Some("http" | "https")));
        let port = proxy.uri().port().map_or_else(String::new, |port| format!(":{port}"));
        return Ok(Some(format!("{}{port} ({name})", host.ok_or_else(unusable)?)));
    }
    Ok(None)
}

#[derive(Debug, Args)]
pub(super) struct PlanningArgs {
    /// Only this VM, by UUID, or those with such an alias; can be given several times
    #[arg(long = "vm", value_name = "UUID|ALIAS-GLOB")]
    vms: Vec<Pattern>,

    /// Go on when this user can see no VM at all
    #[arg(long)]
    allow_empty: bool,
}

impl PlanningArgs {
    pub(super) fn selection(&self) -> Selection {
        Selection { vms: self.vms.clone(), allow_empty: self.allow_empty }
    }
}

#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Pruning")]
pub(super) struct PruneArgs {
    /// Delete expired backups from storage too, for good, where the policy says `prune: true`
    #[arg(long)]
    pub(super) prune: bool,

    /// So many backups of each VM may be deleted from storage at once, where the limit is lower
    #[arg(long, value_name = "COUNT", requires = "prune")]
    allow_mass_prune: Option<usize>,
}

impl PruneArgs {
    pub(super) fn switch(self) -> Prune {
        Prune { is_requested: self.prune, mass_allowed: self.allow_mass_prune.unwrap_or(0) }
    }
}

/// Reads the FiFo that is meant and plans, for an instant or for now. Nothing but the sign-in and reads is sent.
pub(super) async fn look(
    context: &Context,
    policies: &Policies,
    selection: &Selection,
    at: Option<DateTime<Utc>>,
    prune: Prune,
    kept: KeptVms,
    store: Option<OpenedStore>,
) -> Result<Planned, Failure> {
    let fifo = target(context)?.open(&context.host, FAIL_FAST).await?;
    let proofs = &context.host.proofs(&fifo.name, store);
    proofs.refresh(false).await;
    let (host, warns) = (&context.host, true);
    let planned =
        Query { host, policies, fifo: &fifo, proofs, selection, at, prune, warns }.plan(kept).await?;
    fifo.close().await?;
    Ok(planned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Arguments;
    use crate::fifo::ClientSettings;
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
        let sources =
            Sources { global: &global, environment: &environment, profiles: profiles.map(Path::to_owned) };
        match sources.settings() {
            Ok(Settings { client: ClientSettings { endpoint, api, credentials, .. }, .. }) => {
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
            Err(failure) => Err(failure.text()),
        }
    }

    #[test]
    fn the_environment_s_secrets_go_before_the_profile_s() {
        let profiles = file(PROFILES);
        let path = Some(profiles.path());
        let at = ["--endpoint", "https://e"];
        let user = [("FIFO_USER", "bob"), ("FIFO_PASSWORD", "pw")];
        let token = ("FIFO_TOKEN", "t");
        for (arguments, variables, expected) in [
            (&[][..], &[][..], "https://fifo.home 2 ann/hunter2"),
            (&["-c", "work"], &[], "https://fifo.work 3 token t0ken"),
            (&at, &user, "https://e 3 bob/pw"),
            (&at, &[token, user[0]], "https://e 3 token t"),
            (&at, &[token, user[0], user[1]], "https://e 3 token t then bob/pw"),
            (&["--api-version", "0.2.0"], &[token], "https://fifo.home 0.2.0 token t"),
        ] {
            assert_eq!(chosen(arguments, variables, path).unwrap(), expected, "{arguments:?}");
        }
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
    fn secrets_can_lie_in_files_and_lose_one_line_break_and_a_byte_order_mark() {
        let read = |text: &str| {
            let file = file(text);
            let variables = [("FIFO_TOKEN_FILE", file.path().to_str().unwrap())];
            secret(&variables.into_iter().collect(), "FIFO_TOKEN").map_err(|failure| failure.text())
        };
        for (text, expected) in [
            ("t0ken \n", "t0ken "),
            ("pw\r\n", "pw"),
            ("\u{feff}pw\r\n", "pw"),
            ("\npw", "\npw"),
            ("a\n\n", "a\n"),
        ] {
            assert_eq!(read(text).unwrap().as_deref(), Some(expected), "{text:?}");
        }
        for text in ["", "\n", "\u{feff}\n"] {
            assert!(read(text).unwrap_err().ends_with("(FIFO_TOKEN_FILE) is empty"), "{text:?}");
        }
        let set = |variables: &[(&str, &str)]| {
            secret(&variables.iter().copied().collect(), "FIFO_TOKEN").unwrap_err().text()
        };
        let missing = set(&[("FIFO_TOKEN_FILE", "/no/such")]);
        assert!(missing.starts_with("failed to read /no/such (FIFO_TOKEN_FILE): "), "{missing}");
        let both = set(&[("FIFO_TOKEN", "t"), ("FIFO_TOKEN_FILE", "/no/such")]);
        assert_eq!(both, "both FIFO_TOKEN and FIFO_TOKEN_FILE are set");
    }

    #[test]
    fn what_is_probably_not_meant_in_a_secret_is_named() {
        for (text, doubtful) in [
            ("pw", None),
            ("p w", None),
            ("\npw", Some("begins with an empty line")),
            ("pw\nfifo", Some("has more than one line")),
            (" pw", Some("begins with a blank")),
            ("pw\t", Some("ends with a blank")),
            ("pw\u{a0}", Some("ends with a blank")),
        ] {
            assert_eq!(doubt(text), doubtful, "{text:?}");
        }
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
        let unusable = chosen(&["--endpoint", "fifo"], &[], None).unwrap_err();
        assert!(unusable.starts_with("the endpoint of --endpoint or FIFO_ENDPOINT cannot be used: "));
    }

    #[test]
    fn a_proxy_is_named_by_address_and_variable_without_its_password() {
        let on_the_way = |endpoint: &str, variables: &[(&str, &str)]| {
            proxy(&endpoint.parse().unwrap(), &variables.iter().copied().collect()).unwrap()
        };
        let set = [("HTTPS_PROXY", "http://ann:hunter2@proxy:3128"), ("NO_PROXY", "inside.example.com")];
        assert_eq!(on_the_way("https://fifo.example.com", &set).unwrap(), "proxy:3128 (HTTPS_PROXY)");
        assert_eq!(on_the_way("http://fifo.example.com", &set), None, "that one is for TLS");
        assert_eq!(on_the_way("https://inside.example.com", &set), None);
        assert_eq!(on_the_way("https://localhost", &set), None);
        let all = [("all_proxy", "proxy")];
        assert_eq!(on_the_way("http://fifo.example.com", &all).unwrap(), "proxy (all_proxy)");
    }

    #[test]
    fn a_proxy_that_cannot_be_read_is_an_error_and_its_address_is_not_shown() {
        for value in
            ["http://", "proxy hunter2", "socks5://hunter2:1080", "ftp://hunter2", "http://hunter2:x y"]
        {
            let asked = |endpoint: &str, more: &[(&str, &str)]| {
                let set = [&[("HTTPS_PROXY", value)], more].concat();
                proxy(&endpoint.parse().unwrap(), &set.into_iter().collect())
            };
            let failure = asked("https://fifo", &[]).unwrap_err();
            assert_eq!(failure.text(), "HTTPS_PROXY is not the address of an HTTP proxy", "{value}");
            for (endpoint, more) in [
                ("https://fifo", &[("NO_PROXY", "fifo")][..]),
                ("http://fifo", &[]),
                ("https://localhost", &[]),
            ] {
                assert_eq!(asked(endpoint, more), Ok(None), "{value} is not on the way to {endpoint}");
            }
        }
    }
}
