//! The FiFo of a run: a real one, or the built-in one, which lives as long as the run.

use super::context::Context;
use super::error::{CliError, Kind};
use super::target::Target;
use crate::fifo::{Credentials, HttpOptions, HttpTransport, Listing, ReadClient, Settings};
use crate::sandbox::{Options, Running, Sandbox};
use secrecy::SecretString;
use std::io;
use std::sync::Arc;

/// How long an upload takes in the built-in FiFo: long enough to be seen, short enough to be waited for.
const SANDBOX_UPLOAD_MS: u64 = 2_000;
/// Who may sign in to the sandbox; the password is the same.
pub(super) const SANDBOX_USER: &str = "admin";
/// What plans call the built-in FiFo: its port is another one in each run, and a saved plan has to fit the next.
const SANDBOX_NAME: &str = "sandbox";

/// The FiFo that is meant, before anything is asked of it.
pub struct Chosen {
    name: String,
    /// `None` is the built-in one, which has an address only when it runs.
    target: Option<Target>,
}

/// A way to a FiFo.
pub struct Connection {
    client: ReadClient,
    sandbox: Option<Running>,
    name: String,
}

impl Chosen {
    /// Finds out which FiFo is meant, and what to sign in with. Nothing is asked or started.
    ///
    /// # Errors
    ///
    /// Settings are missing or wrong.
    pub fn of(context: &Context) -> Result<Self, CliError> {
        if context.global.sandbox {
            return Ok(Self { name: SANDBOX_NAME.to_owned(), target: None });
        }
        let target =
            Target::choose(&context.global, &context.environment, context.profile_file().as_deref())?;
        Ok(Self { name: target.endpoint.to_string(), target: Some(target) })
    }

    /// Finds out what plans call the FiFo that is meant, for where nothing is asked of it: there need be nothing to sign
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
        let endpoint = Target::endpoint(&context.global, &context.environment, profile_file.as_deref())?;
        Ok(endpoint.to_string())
    }

    /// Gives what plans call this FiFo; the same in every run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes ready to read it. A real one is not asked anything yet.
    ///
    /// # Errors
    ///
    /// Certificates cannot be read, or the built-in FiFo cannot start.
    pub async fn open(self, context: &Context) -> Result<Connection, CliError> {
        let global = &context.global;
        let (sandbox, target) = match self.target {
            Some(target) => (None, target),
            None => {
                let running = start_sandbox(context).await?;
                let target = sandbox_target(&running)?;
                (Some(running), target)
            }
        };
        let Target { endpoint, api, credentials } = target;
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
        let settings = Settings {
            api,
            read_timeout: global.timeout,
            jitter_seed: context.run_number(),
            ..Settings::new(endpoint, credentials)
        };
        let client = ReadClient::new(Arc::new(transport), settings);
        Ok(Connection { client, sandbox, name: self.name })
    }
}

impl Connection {
    /// Gives the client, which can only read.
    pub fn read(&self) -> &ReadClient {
        &self.client
    }

    /// Gives what plans call this FiFo; the same in every run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the list of VMs.
    ///
    /// # Errors
    ///
    /// See [`ReadClient::list`].
    pub async fn list(&self) -> Result<Listing, CliError> {
        let mut listing = self.client.list().await?;
        listing.inventory.endpoint.clone_from(&self.name);
        Ok(listing)
    }

    /// Ends it; the built-in FiFo writes its world down.
    ///
    /// # Errors
    ///
    /// It could not.
    pub async fn close(self) -> Result<(), CliError> {
        match self.sandbox {
            None => Ok(()),
            Some(running) => running.stop().await.map_err(|error| {
                CliError::new(Kind::Files, "the sandbox could not write its world down").because(error)
            }),
        }
    }
}

async fn start_sandbox(context: &Context) -> Result<Running, CliError> {
    let file = context.sandbox_file();
    let failed = |error: io::Error| {
        let message = format!("could not start the sandbox with its world in {}", file.display());
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

fn sandbox_target(running: &Running) -> Result<Target, CliError> {
    let endpoint = running.url().parse();
    let endpoint = endpoint
        .map_err(|error| CliError::new(Kind::Internal, "the sandbox has no address").because(error))?;
    let credentials =
        Credentials::Password { user: SANDBOX_USER.to_owned(), password: SecretString::from(SANDBOX_USER) };
    Ok(Target { endpoint, api: Default::default(), credentials })
}
