//! Where the backup storage is, and how it is opened.

use super::connect::secret;
use super::context::Context;
use crate::fifo::storage_client;
use crate::report::Failure;
use crate::runner::proofs::OpenedStore;
use crate::store::{AccessKey, Folder, Location, S3, S3Settings, Store};
use clap::Args;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long a store may stay silent within an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// The storage that FiFo exports to, or a mirror of it: `s3://bucket[/prefix]` or `file:///path`
    #[arg(long, value_name = "STORE", env = "FIFO_RETAIN_STORE", hide_env_values = true)]
    pub store: Option<String>,

    /// Where an S3 store is, such as `https://leofs.example.com:8443` [default: AWS_ENDPOINT_URL_S3, else Amazon's own]
    #[arg(long, value_name = "URL", env = "FIFO_RETAIN_STORE_ENDPOINT", hide_env_values = true)]
    pub store_endpoint: Option<String>,
}

impl StoreArgs {
    pub(super) fn open_if_given(&self, context: &Context) -> Result<Option<OpenedStore>, Failure> {
        given(self.store.as_deref()).map(|_| self.open(context)).transpose()
    }

    /// Opens the store; nothing is sent yet. An error: none is named, or it cannot be used. No message holds a secret.
    pub(super) fn open(&self, context: &Context) -> Result<OpenedStore, Failure> {
        let text = given(self.store.as_deref()).ok_or_else(|| {
            Failure::new("no store configured")
                .hint("give --store s3://bucket or --store file:///path, or set FIFO_RETAIN_STORE")
        })?;
        // The text is not repeated: it may hold a secret.
        let unusable = |error| Failure::new("--store or FIFO_RETAIN_STORE cannot be used").because(error);
        let location: Location = text.parse().map_err(unusable)?;
        let name = location.to_string();
        let store: Arc<dyn Store> = match location {
            Location::Folder(path) => Arc::new(Folder(path)),
            Location::S3 { bucket, prefix } => Arc::new(S3(Arc::new(self.s3(context, bucket, prefix)?))),
        };
        Ok(OpenedStore { store, name })
    }

    fn s3(&self, context: &Context, bucket: String, prefix: String) -> Result<S3Settings, Failure> {
        let environment = &context.environment;
        let region = environment.text("AWS_REGION")?.or(environment.text("AWS_DEFAULT_REGION")?);
        let region = region.unwrap_or("us-east-1").to_owned();
        let endpoint = match given(self.store_endpoint.as_deref()) {
            Some(endpoint) => Some(endpoint),
            None => environment.text("AWS_ENDPOINT_URL_S3")?.or(environment.text("AWS_ENDPOINT_URL")?),
        };
        let endpoint = endpoint.map_or_else(|| format!("https://s3.{region}.amazonaws.com"), str::to_owned);
        let endpoint = Url::parse(&endpoint).ok().filter(|url| {
            let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
            matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare
        });
        let endpoint = endpoint.ok_or_else(|| {
            Failure::new("the address of the store cannot be used")
                .hint("write --store-endpoint like https://leofs.example.com:8443, without user and password")
        })?;
        let read = |name: &str| secret(environment, name);
        let (Some(id), Some(secret)) = (read("AWS_ACCESS_KEY_ID")?, read("AWS_SECRET_ACCESS_KEY")?) else {
            return Err(Failure::new("there is nothing to sign requests to the store with").hint(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or each with _FILE behind its name",
            ));
        };
        let session_token = read("AWS_SESSION_TOKEN")?.map(SecretString::from);
        let key = AccessKey { id, secret: secret.into(), session_token };
        let timeout = context.global.timeout;
        let client = storage_client(&endpoint, context.host.ca_file.as_deref(), IDLE_TIMEOUT.min(timeout))
            .map_err(|error| Failure::of(&error))?;
        Ok(S3Settings { endpoint, region, bucket, prefix, key, client, timeout, clock: context.host.clock })
    }
}

/// An empty variable counts as not set.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
