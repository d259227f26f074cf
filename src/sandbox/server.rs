//! The server: listens, keeps the world, and writes it down.

use super::faults::{Faults, Outgoing};
use super::message::Request;
use super::seed::Seed;
use super::state::{Clock, RequestRecord, State};
use super::world::{Shape, World};
use super::{connection, control};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

const REQUESTS_KEPT: usize = 4096;

#[derive(Clone, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    /// The first world, where neither `world` nor the state file gives one.
    pub seed: Seed,
    pub shape: Shape,
    pub upload_ms: u64,
    /// How long a full list may take before it is cut, see [`World::list_limit_ms`].
    pub list_limit: Option<Duration>,
    /// Where the world is kept from run to run, if anywhere. No two sandboxes can have the same one at a time.
    pub state_file: Option<PathBuf>,
    pub fresh: bool,
    /// A world to start from, before all others; its own shapes and durations hold.
    pub world: Option<World>,
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

#[derive(Debug)]
pub struct Sandbox;

impl Sandbox {
    /// An error: the address is taken or no loopback address; the state file holds something else, or another one has it.
    pub async fn start(options: Options) -> io::Result<RunningSandbox> {
        if !options.listen.ip().is_loopback() {
            let text = format!("the sandbox listens on loopback addresses only, not on {}", options.listen);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let locked = options.state_file.as_deref().map(lock).transpose()?;
        let world = first_world(&options)?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let state = State { world, faults: Faults::default(), requests: VecDeque::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), options });
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
    let kept = match &options.state_file {
        Some(path) if !options.fresh => load(path)?,
        _ => None,
    };
    let world = kept.unwrap_or_else(|| World::seeded(options.seed, options.clock.now_us()));
    let list_limit_ms = options.list_limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    Ok(World { shape: options.shape, upload_ms: options.upload_ms, list_limit_ms, ..world })
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
                        let Options { idle_close, clock, .. } = &shared.options;
                        let answer = |request: &Request| shared.answer(request);
                        if let Err(error) = connection::serve(stream, *idle_close, clock, answer).await {
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

#[derive(Debug)]
struct Shared {
    options: Options,
    state: Mutex<State>,
}

impl Shared {
    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a request, and writes the world down first if that may have changed it.
    fn answer(&self, request: &Request) -> Outgoing {
        let now_us = self.options.clock.now_us();
        self.with(|state| {
            let out = answer(state, request, now_us);
            if !matches!(request.method.as_str(), "GET" | "HEAD")
                && let Err(error) = self.save(state)
            {
                tracing::error!("the sandbox failed to save its world: {error}");
            }
            out
        })
    }

    fn save(&self, state: &State) -> io::Result<()> {
        let Some(path) = &self.options.state_file else { return Ok(()) };
        save(path, &serde_json::to_vec(&state.world)?)
    }
}

fn answer(state: &mut State, request: &Request, now_us: i64) -> Outgoing {
    if let Some(reply) = control::handle(state, request, now_us) {
        return reply.into();
    }
    let out = state.faults.handle(&mut state.world, request, now_us);
    if state.requests.len() == REQUESTS_KEPT {
        state.requests.pop_front();
    }
    let status = out.reply.as_ref().map(|reply| reply.status);
    state.requests.push_back(RequestRecord { request: request.clone(), status });
    out
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

/// Locks a world's file against other sandboxes ([`io::ErrorKind::ResourceBusy`]), until the given file is dropped or the
/// process ends. It is a file beside the world's, since that one is replaced at every writing.
fn lock(path: &Path) -> io::Result<File> {
    fs::create_dir_all(folder_of(path))?;
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&name)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("another sandbox is using the world in {}", path.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn load(path: &Path) -> io::Result<Option<World>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let path = path.display();
        let text = format!("{path} does not hold a sandbox world (start afresh to replace it): {error}");
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(folder_of(path))?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/world.json");
        let locked = lock(&path).unwrap();
        let error = lock(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("world.json"), "{error}");
        drop(locked);
        let _locked = lock(&path).unwrap();
        assert_eq!(load(&path).unwrap(), None);
        let mut world = World::new(Shape::default(), 7);
        let vm = world.new_uuid();
        world.vms.insert(vm, crate::sandbox::Vm::new("web-1", "hv-1"));
        save(&path, &serde_json::to_vec(&world).unwrap()).unwrap();
        assert_eq!(load(&path).unwrap(), Some(world));
    }

    #[test]
    fn another_file_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world.json");
        fs::write(&path, "policy: grandfather").unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("world.json does not hold a sandbox world"), "{error}");
    }
}
