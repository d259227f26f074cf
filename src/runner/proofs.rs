//! What is known of the backups in storage, and the storage, which tells more.

use super::files::{self, Put};
use crate::apply::{Headers, Proof, open_state_file};
use crate::inventory::{BackupId, Vm, VmId};
use crate::store::Store;
use crate::verify::{Finding, Known, Unchecked, check_headers};
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const CHECKS_AT_A_TIME: usize = 8;
const CHECK_MAX: Duration = Duration::from_secs(60);
/// After so many checks in a row that the store did not answer it is not asked again in a run.
const UNANSWERED_MAX: usize = 3;

/// A store, and what reports call it.
#[derive(Clone)]
pub struct OpenedStore {
    pub store: Arc<dyn Store>,
    pub name: String,
}

/// Reads what verifications and runs have found out about a FiFo and, with one given, about a store. Where that cannot be read,
/// nothing is known: that costs the order of reading, and findings until they are found again, and never a backup.
pub fn known(state_dir: Option<&Path>, endpoint: &str, store: Option<&str>) -> Known {
    let read = |folder: &Path| {
        let path = known_path(folder, endpoint);
        let mut bytes = Vec::new();
        let opened = open_state_file(OpenOptions::new().read(true), &path);
        let read = opened.and_then(|mut file| file.read_to_end(&mut bytes));
        read.and_then(|_| Ok(serde_json::from_slice(&bytes)?))
            .inspect_err(|error| {
                if error.kind() != ErrorKind::NotFound {
                    let path = path.display();
                    tracing::warn!("{path}: {error}; what earlier verifications found out is not used");
                }
            })
            .ok()
    };
    let read = state_dir.and_then(read).filter(|known: &Known| known.is_of(endpoint, store));
    read.unwrap_or_else(|| Known::new(endpoint, store.unwrap_or_default()))
}

fn known_path(state_dir: &Path, endpoint: &str) -> PathBuf {
    state_dir.join(format!("verified-{}.json", hex::encode(&Sha256::digest(endpoint)[..8])))
}

/// Writes what is known in place of what there is. Where that fails, it stays, and is only warned about.
pub fn save(known: &Known, state_dir: &Path) {
    let path = known_path(state_dir, known.endpoint());
    let put = |json: Vec<u8>| files::put(&path, files::PRIVATE, Put::OverLink, |out| out.write_all(&json));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    if let Err(error) = made.and_then(|()| put(serde_json::to_vec(known)?)) {
        tracing::warn!("failed to save what was verified in {}: {error}", state_dir.display());
    }
}

/// What `verify` and runs have found broken, and the store that is asked about more, if there is one.
pub struct Proofs {
    store: Option<OpenedStore>,
    endpoint: String,
    state_dir: Option<PathBuf>,
    known: Mutex<Known>,
    asking: Semaphore,
    /// How many checks in a row were not answered, and why the last one was not.
    unanswered: Mutex<(usize, String)>,
}

impl Proofs {
    /// Reads what is known: with a store of that one alone, else whatever store it is of.
    pub fn new(state_dir: Option<PathBuf>, endpoint: &str, store: Option<OpenedStore>) -> Self {
        let proofs = Self {
            store,
            endpoint: endpoint.to_owned(),
            state_dir,
            known: Mutex::default(),
            asking: Semaphore::new(CHECKS_AT_A_TIME),
            unanswered: Mutex::default(),
        };
        *proofs.known() = proofs.read();
        proofs
    }

    fn read(&self) -> Known {
        let store = self.store.as_ref().map(|store| store.name.as_str());
        known(self.state_dir.as_deref(), &self.endpoint, store)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads anew what is known, and forgets what was found about objects that were replaced since: in the state folder as well
    /// where that is asked for.
    pub async fn refresh(&self, saves: bool) {
        let mut known = self.read();
        if let Some(OpenedStore { store, .. }) = &self.store {
            match known.forget_replaced(store.as_ref()).await {
                Ok(is_changed) if is_changed && saves => self.save(&known),
                Ok(_) => {}
                Err(error) => tracing::warn!("{error}; what was found broken counts as before"),
            }
        }
        *self.known() = known;
    }

    fn save(&self, known: &Known) {
        self.state_dir.iter().for_each(|folder| save(known, folder));
    }

    /// Enters what is wrong with backups. The file is read anew: a verification may be writing there.
    fn enter(&self, vm: VmId, found: &BTreeMap<BackupId, Vec<Finding>>) {
        let mut saved = self.read();
        let mut known = self.known();
        for (&backup, findings) in found {
            known.enter_broken(vm, backup, findings.clone());
            saved.enter_broken(vm, backup, findings.clone());
        }
        self.save(&saved);
    }

    async fn asked(&self, store: &dyn Store, vm: &Vm, backup: BackupId) -> Headers {
        let _permit = self.asking.acquire().await.ok();
        let unanswered = || self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        if let (UNANSWERED_MAX.., why) = &*unanswered() {
            return Headers::Unread(why.clone());
        }
        let checked = timeout(CHECK_MAX, check_headers(store, vm, backup)).await;
        let (is_of_all, why) = match checked {
            Ok(Ok(found)) => {
                *unanswered() = <_>::default();
                let Some(first) = found.values().flatten().next() else { return Headers::Right };
                self.enter(vm.id, &found);
                let Finding { code, object, message, .. } = first;
                let code = code.as_str();
                return Headers::Wrong(format!(
                    "backup {backup} is broken in storage: {object}: {message} ({code})"
                ));
            }
            Ok(Err(Unchecked::Lacks(why))) => (false, why),
            Ok(Err(Unchecked::Store(error))) => (error.is_of_all(), error.to_string()),
            Err(_) => (true, "the store did not answer in time".to_owned()),
        };
        let mut unanswered = unanswered();
        *unanswered = (if is_of_all { unanswered.0 + 1 } else { 0 }, why.clone());
        Headers::Unread(why)
    }
}

impl Proof for Proofs {
    fn mark(&self, vm: &mut Vm) {
        self.known().mark(vm);
    }

    fn has_store(&self) -> bool {
        self.store.is_some()
    }

    fn check<'a>(&'a self, vm: &'a Vm, backup: BackupId) -> BoxFuture<'a, Headers> {
        Box::pin(async move {
            match &self.store {
                Some(OpenedStore { store, .. }) => self.asked(store.as_ref(), vm, backup).await,
                None => Headers::Right,
            }
        })
    }
}
