//! The server: listens, keeps the world, and writes it down.

use super::faults::Faults;
use super::seed::Seed;
use super::shared::Shared;
use super::state::{Clock, State};
use super::world::{Shape, World};
use super::{connection, store};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// What a sandbox is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens: a loopback address; port 0 is any free one.
    pub listen: SocketAddr,
    /// The first world, where neither `world` nor the state file gives one.
    pub seed: Seed,
    /// The shapes it answers in.
    pub shape: Shape,
    /// How long an upload takes, in milliseconds.
    pub upload_ms: u64,
    /// How long a full list may take before it is cut, see [`World::list_limit_ms`].
    pub list_limit: Option<Duration>,
    /// Where the world is kept from run to run; nowhere where it is `None`. No two sandboxes can have the same one at
    /// a time.
    pub state_file: Option<PathBuf>,
    /// Whether to start from the first world even if the state file holds one.
    pub fresh: bool,
    /// A world to start from, before all others; its own shapes and durations hold.
    pub world: Option<World>,
    /// Where the time comes from.
    pub clock: Clock,
    /// After how long without a request a connection is closed; FiFo's is 5 s.
    pub idle_close: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: Seed::default(),
            shape: Shape::default(),
            upload_ms: 3_000,
            list_limit: None,
            state_file: None,
            fresh: false,
            world: None,
            clock: Clock::System,
            idle_close: Duration::from_secs(5),
        }
    }
}

/// A simulated FiFo, to be started.
#[derive(Debug)]
pub struct Sandbox;

impl Sandbox {
    /// Starts serving, on the runtime it is called on.
    ///
    /// # Errors
    ///
    /// The address is not a loopback one or cannot be listened on; the state file holds something else, or another
    /// sandbox has it ([`io::ErrorKind::ResourceBusy`]).
    pub async fn start(options: Options) -> io::Result<RunningSandbox> {
        if !options.listen.ip().is_loopback() {
            let text = format!(
                "the sandbox listens on loopback addresses only, not on {}: its API for tests has no access control",
                options.listen
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // Before the world is read: what another one is about to write must not be overwritten.
        let locked = options.state_file.as_deref().map(store::lock).transpose()?;
        let world = first_world(&options)?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            clock: options.clock,
            idle_close: options.idle_close,
            state: Mutex::new(State { world, faults: Faults::default(), requests: VecDeque::new() }),
            state_file: options.state_file,
        });
        shared.with(|state| shared.save(state))?;
        let stopped = CancellationToken::new();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), stopped.clone()));
        Ok(RunningSandbox { address, shared, stopped, task, _locked: locked })
    }
}

fn first_world(options: &Options) -> io::Result<World> {
    if let Some(world) = &options.world {
        return Ok(world.clone());
    }
    let now_us = options.clock.now_us();
    let kept = match &options.state_file {
        Some(path) if !options.fresh => store::load(path)?,
        _ => None,
    };
    let mut world = kept.unwrap_or_else(|| World::seeded(options.seed, now_us));
    world.shape = options.shape;
    world.upload_ms = options.upload_ms;
    world.list_limit_ms =
        options.list_limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    Ok(world)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stopped: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        if let Err(error) = connection::serve(stream, &shared).await {
                            tracing::debug!("a connection to the sandbox was lost: {error}");
                        }
                    });
                }
                // Out of file descriptors, say: others will be closed meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
    connections.shutdown().await;
}

/// A simulated FiFo that is being served. Dropping it stops it as well, without a last writing of the world.
#[derive(Debug)]
pub struct RunningSandbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopped: CancellationToken,
    task: JoinHandle<()>,
    /// The lock on the state file; let go of last.
    _locked: Option<File>,
}

impl RunningSandbox {
    /// Returns its base URL, without a final slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks at what it holds, or changes it, while no request is being answered. Not to be called from within itself.
    pub fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        self.shared.with(look)
    }

    /// Stops it: breaks off its connections and writes the world down.
    pub async fn stop(mut self) -> io::Result<()> {
        self.stopped.cancel();
        let _ = (&mut self.task).await;
        self.with(|state| self.shared.save(state))
    }
}

impl Drop for RunningSandbox {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}
