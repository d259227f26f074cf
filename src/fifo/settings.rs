//! How to speak to one FiFo.

use super::credentials::Credentials;
use super::endpoint::{ApiVersion, Endpoint};
use super::retry::Backoff;
use std::time::Duration;

/// How to speak to one FiFo.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    pub endpoint: Endpoint,
    /// The version of the API to speak.
    pub api: ApiVersion,
    /// What to sign in with.
    pub credentials: Credentials,
    /// How long a read may take in all, with signing in and everything that is tried again.
    pub read_timeout: Duration,
    /// How long it may take to find out that nothing is to be reached, before anything has ever answered: that is mostly a
    /// wrong address, which waiting cannot fix. `None` is as patient then as later.
    pub first_contact_timeout: Option<Duration>,
    /// How long a write may take until its answer counts as lost. FiFo itself takes up to 5 s.
    pub write_timeout: Duration,
    pub backoff: Backoff,
    /// Decides about the chance in the pauses. Take another one each run, so that runs that failed together do not come
    /// back together.
    pub jitter_seed: u64,
}

impl ClientSettings {
    /// Makes settings with the usual times: two minutes for a read, half a minute for a write.
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Self {
        Self {
            endpoint,
            api: ApiVersion::default(),
            credentials,
            read_timeout: Duration::from_secs(120),
            first_contact_timeout: None,
            write_timeout: Duration::from_secs(30),
            backoff: Backoff::default(),
            jitter_seed: 0,
        }
    }
}
