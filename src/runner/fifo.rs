//! The FiFo that is used: a real one, or the built-in one, which runs as long as the command.

use super::host::Host;
use crate::apply::Timing;
use crate::fifo::{
    ClientSettings, Credentials, Endpoint, FifoError, HttpOptions, HttpTransport, ReadClient,
    TransportErrorKind, causes,
};
use crate::report::{Exit, Failure, failed};
use crate::sandbox::{Options, RunningSandbox, Sandbox};
use secrecy::SecretString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long an unreachable FiFo is retried before it has answered for the first time, where a user is waiting: the address is
/// probably wrong. A service tries as long as a read may take (`None`): FiFo may just be starting.
pub const FAIL_FAST: Option<Duration> = Some(Duration::from_secs(10));
const CHECK_ADDRESS: &str = "check the address (--endpoint, FIFO_ENDPOINT or the profile), whether FiFo is up, and whether it \
                             can be reached from this machine";
/// How long an upload takes in the built-in FiFo: long enough to be seen, short enough to be waited for.
const SANDBOX_UPLOAD_MS: u64 = 2_000;
/// The user of the sandbox; the password is the same.
pub const SANDBOX_USER: &str = "admin";
/// What plans call the built-in FiFo: its port is another one in each run, and a saved plan has to fit the next.
pub const SANDBOX_NAME: &str = "sandbox";

/// A FiFo, before it is contacted.
pub enum Target {
    /// The built-in one: the file of its world, and how long a read may take in all.
    Sandbox(PathBuf, Duration),
    Real(Box<Settings>),
}

#[derive(Debug)]
pub struct Settings {
    pub client: ClientSettings,
    pub http: HttpOptions,
    /// The proxy in between, by address and variable.
    pub proxy: Option<String>,
}

impl Settings {
    /// Makes those with the usual options. A read may take so long in all.
    pub fn new(endpoint: Endpoint, credentials: Credentials, timeout: Duration) -> Self {
        let mut http = HttpOptions::default();
        http.idle_timeout = http.idle_timeout.min(timeout);
        let client = ClientSettings { read_timeout: timeout, ..ClientSettings::new(endpoint, credentials) };
        Self { client, http, proxy: None }
    }
}

pub struct Fifo {
    pub client: ReadClient,
    /// Those of its [`Target`].
    pub name: String,
    pub identity: String,
    sandbox: Option<RunningSandbox>,
    proxy: Option<String>,
}

impl Target {
    /// Returns what plans call this FiFo; the same in every run.
    pub fn name(&self) -> String {
        match self {
            Self::Sandbox(..) => SANDBOX_NAME.to_owned(),
            Self::Real(settings) => settings.client.endpoint.to_string(),
        }
    }

    /// Says as whom it is signed in to, and by which version of the API: `as `backup`, API version 3`.
    pub fn identity(&self) -> String {
        let Self::Real(settings) = self else { return format!("as `{SANDBOX_USER}`") };
        let who = match &settings.client.credentials {
            Credentials::Token(_) => "with a token".to_owned(),
            Credentials::Password { user, .. } => format!("as `{user}`"),
            Credentials::TokenFirst { user, .. } => format!("with a token, else as `{user}`"),
        };
        format!("{who}, API version {}", settings.client.api.as_str())
    }

    /// Makes ready to read it. A real one is not asked anything yet. An error: certificates cannot be read, or the built-in
    /// FiFo cannot start.
    pub async fn open(&self, host: &Host, first_contact_timeout: Option<Duration>) -> Result<Fifo, Failure> {
        let (mut sandbox, mut of_sandbox) = (None, None);
        let Settings { client, http, proxy } = match self {
            Self::Real(settings) => settings.as_ref(),
            Self::Sandbox(file, timeout) => {
                let running = sandbox.insert(start_sandbox(file.clone()).await?);
                let endpoint = running.url().parse().map_err(failed("the sandbox has no address"))?;
                let (user, password) = (SANDBOX_USER.to_owned(), SecretString::from(SANDBOX_USER));
                of_sandbox.insert(Settings::new(endpoint, Credentials::Password { user, password }, *timeout))
            }
        };
        let endpoint = &client.endpoint;
        if http.insecure {
            tracing::warn!(
                "TLS is used without checking who answers (--insecure): the password can be read on the way"
            );
        }
        if !endpoint.is_https() && !endpoint.is_loopback() {
            tracing::warn!("{endpoint} is plain HTTP: the password can be read on the way");
        }
        let transport = HttpTransport::new(endpoint, http).map_err(|error| Failure::of(&error))?;
        let settings = ClientSettings { first_contact_timeout, jitter_seed: host.seed(), ..client.clone() };
        let client = ReadClient::new(Arc::new(transport), settings);
        Ok(Fifo { client, sandbox, name: self.name(), identity: self.identity(), proxy: proxy.clone() })
    }
}

impl Fifo {
    /// Says what to do about an error, as far as it tells what is wrong between here and there.
    pub fn failure(&self, error: &FifoError) -> Failure {
        let failure = Failure::of(error);
        let FifoError::Connection { source, endpoint, .. } = error else {
            return if error.is_silence() { failure.hint(IS_IT_RIGHT) } else { failure };
        };
        let proxy =
            self.proxy.as_ref().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        let causes: Vec<String> = causes(source).map(ToString::to_string).collect();
        let cause = causes.last().map_or("", String::as_str);
        let is_unknown = causes.iter().any(|cause| cause == "dns error");
        let (begin, end, hint) = match source.kind() {
            TransportErrorKind::Untrusted => return failure.hint(certificate_hint(cause, endpoint)),
            TransportErrorKind::Lost => return failure.hint(IS_IT_RIGHT),
            TransportErrorKind::NotSent if is_unknown => {
                ("failed to connect to", format!(": the host name is not known ({cause})"), CHECK_ADDRESS)
            }
            TransportErrorKind::NotSent => ("failed to connect to", format!(": {cause}"), CHECK_ADDRESS),
            TransportErrorKind::NotTls => ("what answers at", " does not speak TLS".to_owned(), IS_IT_HTTP),
            TransportErrorKind::NotHttp => {
                ("what answers at", " does not speak HTTP".to_owned(), IS_IT_HTTPS)
            }
        };
        Failure::new(format!("{begin} {endpoint}{proxy}{end}")).hint(hint)
    }

    /// Returns the timing of a run. The built-in FiFo gets shorter pauses: its uploads take two seconds.
    pub(super) fn timing(&self) -> Timing {
        let usual = Timing::default();
        match self.sandbox {
            Some(_) => {
                Timing { pause_min: Duration::from_millis(200), pause_max: Duration::from_secs(1), ..usual }
            }
            None => usual,
        }
    }

    /// Closes it; the built-in FiFo saves its world.
    pub async fn close(self) -> Result<(), Failure> {
        let Some(running) = self.sandbox else { return Ok(()) };
        running.stop().await.map_err(failed("the sandbox failed to save its world"))
    }
}

const IS_IT_HTTP: &str = "is it http:// instead of https://, or another port?";
const IS_IT_HTTPS: &str = "is it https:// instead of http://, or another port?";
const IS_IT_RIGHT: &str = "is the endpoint right, and can it be reached from here?";

/// The words of what is wrong with a certificate, and what to do about it.
const CERTIFICATE_HINTS: [(&str, &str); 9] = [
    (
        "another one is pinned",
        "is it another server, or has its certificate been renewed? compare the fingerprints before you pin the new one",
    ),
    (
        "not valid for any names",
        "it has no subject alternative name, and its common name does not count: make one with it",
    ),
    ("not valid for name", "use the name that it is for in the endpoint, or make one for this name"),
    ("expired", "it has expired: renew it, or set the clock of this machine"),
    ("not valid yet", "it is not valid yet: set the clock of this machine"),
    (
        "UnsupportedCertVersion",
        "it is of X.509 version 1, which FiFo's early installer made: make one of version 3",
    ),
    (
        "CaUsedAsEndEntity",
        "it is a server's and an authority's at once (CA:TRUE): make one that is only the server's",
    ),
    ("Signature", WEAK),
    ("KeySize", WEAK),
];
const WEAK: &str = "its signature or key is of a kind that is not accepted any more: make one with RSA of 2048 bits or ECDSA, \
                    and SHA-256";

fn certificate_hint(cause: &str, endpoint: &str) -> String {
    let found = CERTIFICATE_HINTS.iter().find(|(words, _)| cause.contains(words));
    let hint =
        found.map_or("name the certificate of the authority that signed it with --ca-file", |(_, hint)| hint);
    let host = endpoint.split("://").last().unwrap_or(endpoint);
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if has_port { "" } else { ":443" };
    format!(
        "{hint}; or trust exactly this one with --pin-sha256; `openssl s_client -connect {host}{port} </dev/null | openssl x509 \
         -noout -text -fingerprint -sha256` shows it"
    )
}

async fn start_sandbox(file: PathBuf) -> Result<RunningSandbox, Failure> {
    let message = format!("failed to start the sandbox with its world in {}", file.display());
    let options = Options { state_file: Some(file), upload_ms: SANDBOX_UPLOAD_MS, ..Options::default() };
    Sandbox::start(options).await.map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => Failure::ending(Exit::Locked, message)
            .because(error)
            .hint("wait until the other command in this folder has ended"),
        _ => Failure::new(message).because(error).hint("remove that file to begin anew"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fifo::TransportError;
    use http::StatusCode;

    async fn hint(error: FifoError) -> String {
        let host = Host::for_tests("x".as_ref());
        let (endpoint, token) = ("http://127.0.0.1:1".parse().unwrap(), Credentials::Token("t".into()));
        let target = Target::Real(Box::new(Settings::new(endpoint, token, Duration::from_secs(1))));
        let fifo = target.open(&host, FAIL_FAST).await.unwrap();
        fifo.failure(&error).hint.unwrap_or_default()
    }

    fn broken(kind: TransportErrorKind) -> FifoError {
        let (doing, endpoint) = ("sign in".to_owned(), "https://fifo".to_owned());
        FifoError::Connection { doing, endpoint, source: TransportError::new(kind, "refused") }
    }

    fn timed_out(last: Option<FifoError>) -> FifoError {
        let (doing, timeout) = ("read the list of VMs".to_owned(), Duration::from_secs(120));
        FifoError::TimedOut { doing, timeout, attempts: 9, last: last.map(Box::new) }
    }

    #[tokio::test]
    async fn after_an_answer_the_endpoint_is_not_in_doubt() {
        let doing = || "x".to_owned();
        let unavailable = FifoError::Status {
            doing: doing(),
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: None,
            location: None,
        };
        let cut = FifoError::Unreadable { doing: doing(), why: "cut".to_owned(), is_cut: true };
        for (error, words) in [
            (broken(TransportErrorKind::Untrusted), "openssl s_client -connect fifo:443"),
            (broken(TransportErrorKind::NotSent), "check the address"),
            (broken(TransportErrorKind::Lost), "is the endpoint right"),
            (timed_out(None), "is the endpoint right"),
            (timed_out(Some(broken(TransportErrorKind::NotSent))), "is the endpoint right"),
            (timed_out(Some(unavailable)), ""),
            (timed_out(Some(cut)), ""),
        ] {
            let hint = hint(error).await;
            assert!(hint.contains(words) && hint.is_empty() == words.is_empty(), "{words}: {hint}");
        }
    }
}
