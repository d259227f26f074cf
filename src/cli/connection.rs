//! The connection to FiFo: a real one, or the built-in one, which runs as long as the command.

use super::context::{Context, Environment};
use super::error::{CliError, Kind};
use super::settings::ConnectionSettings;
use crate::fifo::{
    ClientSettings, Credentials, Endpoint, FifoError, HttpOptions, HttpTransport, ListSummary, ReadClient,
    TransportErrorKind, VmVisitor, causes,
};
use crate::sandbox::{Options, RunningSandbox, Sandbox};
use hyper_util::client::proxy::matcher::Matcher;
use secrecy::SecretString;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The time after which an unreachable FiFo is reported.
const FIRST_CONTACT_TIMEOUT: Duration = Duration::from_secs(10);
/// The hint for a failed connection.
const CHECK_ADDRESS: &str = "check the address (--endpoint, FIFO_ENDPOINT or the profile), whether FiFo is up, and whether it \
                             can be reached from this machine";
/// How long an upload takes in the built-in FiFo: long enough to be seen, short enough to be waited for.
const SANDBOX_UPLOAD_MS: u64 = 2_000;
/// The user of the sandbox; the password is the same.
pub(super) const SANDBOX_USER: &str = "admin";
/// What plans call the built-in FiFo: its port is another one in each run, and a saved plan has to fit the next.
const SANDBOX_NAME: &str = "sandbox";

/// The selected FiFo, before it is contacted.
pub struct PendingConnection {
    name: String,
    /// `None` is the built-in one, which has an address only when it runs.
    settings: Option<ConnectionSettings>,
}

/// A connection to a FiFo.
pub struct Connection {
    client: ReadClient,
    sandbox: Option<RunningSandbox>,
    name: String,
    identity: String,
    /// The proxy in between, by address and variable.
    proxy: Option<String>,
}

/// How long an unreachable FiFo is retried before it has answered for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstContact {
    /// A few seconds: the user is waiting, and the address is probably wrong.
    FailFast,
    /// As long as a read may take: this is a service, and FiFo may just be starting.
    KeepTrying,
}

impl PendingConnection {
    /// Finds out which FiFo is meant, and what to sign in with. Nothing is asked or started.
    ///
    /// # Errors
    ///
    /// Settings are missing or wrong.
    pub fn of(context: &Context) -> Result<Self, CliError> {
        if context.global.sandbox {
            return Ok(Self { name: SANDBOX_NAME.to_owned(), settings: None });
        }
        let settings = ConnectionSettings::choose(
            &context.global,
            &context.environment,
            context.profile_file().as_deref(),
        )?;
        Ok(Self { name: settings.endpoint.to_string(), settings: Some(settings) })
    }

    /// Returns the endpoint that plans name, without sending a request: there need be nothing to sign
    /// in with.
    ///
    /// # Errors
    ///
    /// No FiFo is named, or the settings that name it are wrong.
    pub fn name_alone(context: &Context) -> Result<String, CliError> {
        if context.global.sandbox {
            return Ok(SANDBOX_NAME.to_owned());
        }
        let profile_file = context.profile_file();
        let endpoint =
            ConnectionSettings::endpoint(&context.global, &context.environment, profile_file.as_deref())?;
        Ok(endpoint.to_string())
    }

    /// Says whether any FiFo is named.
    ///
    /// # Errors
    ///
    /// What names it cannot be read.
    pub fn is_named(context: &Context) -> Result<bool, CliError> {
        let profile_file = context.profile_file();
        let named = ConnectionSettings::named(&context.global, &context.environment, profile_file.as_deref());
        Ok(context.global.sandbox || named?.is_some())
    }

    /// Returns what plans call this FiFo; the same in every run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says as whom it is signed in to, and by which version of the API: `as `backup`, API version 3`.
    pub(super) fn identity(&self) -> String {
        let Some(settings) = &self.settings else { return format!("as `{SANDBOX_USER}`") };
        let who = match &settings.credentials {
            Credentials::Token(_) => "with a token".to_owned(),
            Credentials::Password { user, .. } => format!("as `{user}`"),
            Credentials::TokenFirst { user, .. } => format!("with a token, else as `{user}`"),
        };
        format!("{who}, API version {}", settings.api.as_str())
    }

    /// Makes ready to read it. A real one is not asked anything yet.
    ///
    /// # Errors
    ///
    /// Certificates cannot be read, or the built-in FiFo cannot start.
    pub async fn open(self, context: &Context, first_contact: FirstContact) -> Result<Connection, CliError> {
        let global = &context.global;
        let identity = self.identity();
        let (sandbox, settings) = match self.settings {
            Some(settings) => (None, settings),
            None => {
                let running = start_sandbox(context).await?;
                let settings = sandbox_target(&running)?;
                (Some(running), settings)
            }
        };
        let ConnectionSettings { endpoint, api, credentials } = settings;
        if global.insecure {
            tracing::warn!(
                "TLS is used without checking who answers (--insecure): the password can be read on the way"
            );
        }
        if !endpoint.is_https() && !endpoint.is_loopback() {
            tracing::warn!("{endpoint} is plain HTTP: the password can be read on the way");
        }
        let defaults = HttpOptions::default();
        let options = HttpOptions {
            ca_file: global.ca_file.clone(),
            insecure: global.insecure,
            idle_timeout: defaults.idle_timeout.min(global.timeout),
        };
        let transport = HttpTransport::new(&endpoint, &options)?;
        let proxy = proxy(&endpoint, &context.environment)?;
        let settings = ClientSettings {
            api,
            read_timeout: global.timeout,
            first_contact_timeout: (first_contact == FirstContact::FailFast).then_some(FIRST_CONTACT_TIMEOUT),
            jitter_seed: context.run_number(),
            ..ClientSettings::new(endpoint, credentials)
        };
        let client = ReadClient::new(Arc::new(transport), settings);
        Ok(Connection { client, sandbox, name: self.name, identity, proxy })
    }
}

impl Connection {
    /// Says as whom it is signed in to; see [`PendingConnection::identity`].
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns the client, which can only read.
    pub fn read(&self) -> &ReadClient {
        &self.client
    }

    /// Returns what plans call this FiFo; the same in every run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the list of VMs, and hands each over.
    pub async fn visit(&self, visitor: &mut impl VmVisitor) -> Result<ListSummary, CliError> {
        self.client.visit(visitor).await.map_err(|error| self.explained(error))
    }

    /// Adds the address and what to check to the error of a failed connection.
    pub(super) fn explained(&self, error: FifoError) -> CliError {
        let FifoError::Connection { source, endpoint, .. } = &error else { return error.into() };
        let through =
            self.proxy.as_ref().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        let place = format!("{endpoint}{through}");
        let causes: Vec<String> = causes(source).map(ToString::to_string).collect();
        let cause = causes.last().map_or("", String::as_str);
        let (message, hint) = match source.kind() {
            TransportErrorKind::NotSent if causes.iter().any(|cause| cause == "dns error") => {
                (format!("failed to connect to {place}: the host name is not known ({cause})"), CHECK_ADDRESS)
            }
            TransportErrorKind::NotSent => (format!("failed to connect to {place}: {cause}"), CHECK_ADDRESS),
            TransportErrorKind::NotTls => (
                format!("what answers at {place} does not speak TLS"),
                "is it http:// instead of https://, or another port?",
            ),
            TransportErrorKind::NotHttp => (
                format!("what answers at {place} does not speak HTTP"),
                "is it https:// instead of http://, or another port?",
            ),
            TransportErrorKind::Untrusted | TransportErrorKind::Lost => return error.into(),
        };
        CliError::new(Kind::Fifo, message).hint(hint)
    }

    /// Closes it; the built-in FiFo saves its world.
    pub async fn close(self) -> Result<(), CliError> {
        match self.sandbox {
            None => Ok(()),
            Some(running) => running.stop().await.map_err(|error| {
                CliError::new(Kind::Files, "the sandbox failed to save its world").because(error)
            }),
        }
    }
}

/// Names the proxy on the way to a FiFo, as the environment sets it, without what it may hold of secrets.
fn proxy(endpoint: &Endpoint, environment: &Environment) -> Result<Option<String>, CliError> {
    if endpoint.is_loopback() {
        return Ok(None);
    }
    let own = if endpoint.is_https() { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    for name in own.into_iter().chain(["ALL_PROXY", "all_proxy"]) {
        let Some(value) = environment.text(name)? else { continue };
        let except = match environment.text("NO_PROXY")? {
            Some(except) => except,
            None => environment.text("no_proxy")?.unwrap_or_default(),
        };
        let matcher = Matcher::builder().all(value.to_owned()).no(except.to_owned()).build();
        let Ok(uri) = endpoint.to_string().parse() else { return Ok(None) };
        let on_the_way = matcher.intercept(&uri);
        return Ok(on_the_way.and_then(|it| {
            let host = it.uri().host()?;
            let port = it.uri().port().map_or_else(String::new, |port| format!(":{port}"));
            Some(format!("{host}{port} ({name})"))
        }));
    }
    Ok(None)
}

async fn start_sandbox(context: &Context) -> Result<RunningSandbox, CliError> {
    let file = context.sandbox_file();
    let failed = |error: io::Error| {
        let message = format!("failed to start the sandbox with its world in {}", file.display());
        match error.kind() {
            io::ErrorKind::ResourceBusy => CliError::new(Kind::Locked, message)
                .because(error)
                .hint("wait until the other command in this folder has ended"),
            _ => CliError::new(Kind::Files, message).because(error).hint("remove that file to begin anew"),
        }
    };
    let options =
        Options { state_file: Some(file.to_owned()), upload_ms: SANDBOX_UPLOAD_MS, ..Options::default() };
    Sandbox::start(options).await.map_err(failed)
}

fn sandbox_target(running: &RunningSandbox) -> Result<ConnectionSettings, CliError> {
    let endpoint = running.url().parse();
    let endpoint = endpoint
        .map_err(|error| CliError::new(Kind::Internal, "the sandbox has no address").because(error))?;
    let credentials =
        Credentials::Password { user: SANDBOX_USER.to_owned(), password: SecretString::from(SANDBOX_USER) };
    Ok(ConnectionSettings { endpoint, api: Default::default(), credentials })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_the_way(endpoint: &str, variables: &[(&str, &str)]) -> Option<String> {
        proxy(&endpoint.parse().unwrap(), &variables.iter().copied().collect()).unwrap()
    }

    #[test]
    fn a_proxy_is_named_by_address_and_variable_without_its_password() {
        let set = [("HTTPS_PROXY", "http://ann:hunter2@proxy:3128"), ("NO_PROXY", "inside.example.com")];
        assert_eq!(on_the_way("https://fifo.example.com", &set).unwrap(), "proxy:3128 (HTTPS_PROXY)");
        assert_eq!(on_the_way("http://fifo.example.com", &set), None, "that one is for TLS");
        assert_eq!(on_the_way("https://inside.example.com", &set), None);
        assert_eq!(on_the_way("https://localhost", &set), None);
        let all = [("all_proxy", "http://proxy")];
        assert_eq!(on_the_way("http://fifo.example.com", &all).unwrap(), "proxy (all_proxy)");
    }
}
