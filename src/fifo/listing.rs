//! Reading all VMs: by FiFo's full list, or one by one where FiFo cuts that list every time.

use super::answer::{self, server_date};
use super::client::{ReadClient, failed};
use super::convert::{listed_twice, read_vm};
use super::error::{FifoError, UnreadableAnswer, with_causes};
use super::list::{ListError, MAX_ELEMENT_BYTES, Splitter, printable};
use super::retry::{FailedAttempt, RetryRule};
use super::transport::Response;
use crate::inventory::{Inventory, UnreadableVm, Vm, VmId};
use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

/// The fields of a VM that matter. Whole VMs are many times as large, most of it logs.
const FIELDS: &str =
    "uuid,alias,owner,package,dataset,hypervisor,state,creating,deleting,metadata,config,backups";

/// How FiFo before 2016 is asked for a full list; later versions want it in the query, and ignore these.
const X_FULL_LIST: HeaderName = HeaderName::from_static("x-full-list");
const X_FULL_LIST_FIELDS: HeaderName = HeaderName::from_static("x-full-list-fields");

const DOING: &str = "read the list of VMs";
const PERMISSION: &str = "cloud→vms→list";

/// How many VMs are read at a time where they are read one by one.
const AT_A_TIME: usize = 4;

/// How often the progress of reading one by one is reported.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// One reading of the VM list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The VMs that were asked for.
    pub inventory: Inventory,
    /// How many VMs the list had, asked for or not, readable or not. With none, this user may be allowed to see none.
    pub visible: usize,
    /// The server's clock when it began to answer.
    pub server_date: Option<DateTime<Utc>>,
    /// Whether the VMs were read one by one. Where FiFo's cache is on, such a reading may be old; a full list is not.
    pub one_by_one: bool,
}

/// Takes the VMs of a list while it is read, so that a large cloud is never in memory whole.
pub trait VmVisitor {
    /// A list begins, at this instant by the server's clock. Everything that came before it is void: a list that breaks off
    /// says nothing.
    fn start(&mut self, server_date: Option<DateTime<Utc>>);

    /// Takes a VM that could be read whole.
    fn vm(&mut self, vm: Vm);

    /// Forgets a VM, and returns its alias: the list has it twice, and neither record can be trusted.
    fn forget(&mut self, id: VmId) -> String;
}

/// What a list has besides the VMs that could be read whole.
#[derive(Clone, Debug)]
pub struct ListSummary {
    /// The VMs, or elements that may have been one, that could not be read whole.
    pub unreadable: Vec<UnreadableVm>,
    /// See [`Listing::visible`].
    pub visible: usize,
    /// See [`Listing::server_date`].
    pub server_date: Option<DateTime<Utc>>,
    /// See [`Listing::one_by_one`].
    pub one_by_one: bool,
}

/// The UUIDs of the VMs that a user may see.
struct Uuids {
    wanted: BTreeSet<VmId>,
    /// The elements that are no UUIDs.
    unreadable: Vec<UnreadableVm>,
    visible: usize,
    server_date: Option<DateTime<Utc>>,
}

impl ReadClient {
    /// Reads every VM that this user may see, and hands each over as soon as it has come.
    ///
    /// FiFo of 2016 cuts every list that takes it more than 5 s. After the second cut in a row the UUIDs are read and
    /// then the VMs one by one, from then on and for the life of this client.
    ///
    /// # Errors
    ///
    /// When there is no whole list to be had; then what was handed over counts for nothing. A VM that cannot be read is no
    /// error: the summary names it.
    pub async fn visit(&self, visitor: &mut (impl VmVisitor + Send)) -> Result<ListSummary, FifoError> {
        self.visit_only(|_| true, visitor).await
    }

    /// Reads every VM that this user may see, as [`ReadClient::visit`] does, and keeps them all.
    pub async fn list(&self) -> Result<Listing, FifoError> {
        self.listing(|_| true).await
    }

    /// Reads the list as [`ReadClient::list`] does, but keeps only these VMs, and unreadable ones without UUID. One by
    /// one only these are read.
    pub async fn list_only(&self, wanted: &BTreeSet<VmId>) -> Result<Listing, FifoError> {
        self.listing(|id| wanted.contains(&id)).await
    }

    async fn listing(&self, wanted: impl Fn(VmId) -> bool + Sync) -> Result<Listing, FifoError> {
        let mut vms = BTreeMap::new();
        let listed = self.visit_only(wanted, &mut vms).await?;
        let ListSummary { unreadable, visible, server_date, one_by_one } = listed;
        let inventory = Inventory { endpoint: self.endpoint(), vms, unreadable };
        Ok(Listing { inventory, visible, server_date, one_by_one })
    }

    async fn visit_only(
        &self,
        wanted: impl Fn(VmId) -> bool + Sync,
        visitor: &mut (impl VmVisitor + Send),
    ) -> Result<ListSummary, FifoError> {
        if !self.session().lists_are_cut() {
            match self.full_list(&wanted, visitor).await {
                Err(_) if self.session().lists_are_cut() => {}
                listed => return listed,
            }
        }
        self.one_by_one(&wanted, visitor).await
    }

    async fn full_list(
        &self,
        wanted: &(impl Fn(VmId) -> bool + Sync),
        visitor: &mut (impl VmVisitor + Send),
    ) -> Result<ListSummary, FifoError> {
        let session = self.session();
        // Of one attempt at a time, each of which begins anew.
        let visitor = &Mutex::new(visitor);
        let path = &format!("{}/vms?full-list=true&full-list-fields={FIELDS}", session.base());
        session
            .retrying(DOING, move |attempt| async move {
                let headers = HeaderMap::from_iter([
                    (X_FULL_LIST, HeaderValue::from_static("true")),
                    (X_FULL_LIST_FIELDS, HeaderValue::from_static(FIELDS)),
                ]);
                let response = self.get(attempt, path, headers, DOING).await?;
                let server_date = server_date(&response.headers);
                let mut seen = Seen::default();
                visitor.lock().unwrap_or_else(PoisonError::into_inner).start(server_date);
                let add = |element: &[u8]| {
                    let mut visitor = visitor.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.hand_over(read_vm(element), wanted, &mut **visitor);
                };
                let read = self.elements(response, add).await;
                let visible = read.map_err(|failure| {
                    if !is_cut(&failure.error) {
                        return failure;
                    }
                    session.list_was_cut();
                    let retry = if session.lists_are_cut() { RetryRule::Never } else { failure.retry };
                    FailedAttempt { retry, ..failure }
                })?;
                session.list_came_whole();
                Ok(ListSummary { unreadable: seen.unreadable(), visible, server_date, one_by_one: false })
            })
            .await
    }

    async fn one_by_one(
        &self,
        wanted: &(impl Fn(VmId) -> bool + Sync),
        visitor: &mut (impl VmVisitor + Send),
    ) -> Result<ListSummary, FifoError> {
        let Uuids { wanted, unreadable, visible, server_date } = self.uuids(wanted).await?;
        visitor.start(server_date);
        let mut seen = Seen { unreadable, ..Seen::default() };
        let mut progress = Progress::of(wanted.len());
        let mut unanswered_in_row = 0;
        let mut reads = stream::iter(wanted)
            .map(|id| async move { (id, self.vm(id).await) }.boxed())
            .buffer_unordered(AT_A_TIME);
        while let Some((id, read)) = reads.next().await {
            let error = match read {
                Ok(read) => {
                    seen.hand_over(read.vm, |_| true, visitor);
                    None
                }
                // It has gone since the UUIDs were read.
                Err(FifoError::NoSuchVm { .. }) => None,
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => Some(error),
            };
            let is_unanswered =
                matches!(error, Some(FifoError::TimedOut { .. } | FifoError::Connection { .. }));
            unanswered_in_row = if is_unanswered { unanswered_in_row + 1 } else { 0 };
            if let Some(error) = error {
                if unanswered_in_row == AT_A_TIME {
                    // It is not these VMs that cannot be read: FiFo does not answer any more.
                    return Err(error);
                }
                seen.unreadable.push(UnreadableVm {
                    alias: String::new(),
                    id: Some(id),
                    problems: vec![with_causes(&error)],
                });
            }
            progress.one_more();
        }
        Ok(ListSummary { unreadable: seen.unreadable(), visible, server_date, one_by_one: true })
    }

    async fn uuids(&self, wanted: &(impl Fn(VmId) -> bool + Sync)) -> Result<Uuids, FifoError> {
        let path = &format!("{}/vms", self.session().base());
        self.session()
            .retrying(DOING, move |attempt| async move {
                let response = self.get(attempt, path, HeaderMap::new(), DOING).await?;
                let server_date = server_date(&response.headers);
                let mut uuids =
                    Uuids { wanted: BTreeSet::new(), unreadable: Vec::new(), visible: 0, server_date };
                let add = |element: &[u8]| match serde_json::from_slice::<VmId>(element) {
                    Ok(id) if wanted(id) => drop(uuids.wanted.insert(id)),
                    Ok(_) => {}
                    Err(_) => uuids.unreadable.push(UnreadableVm {
                        alias: String::new(),
                        id: None,
                        problems: vec![format!("uuid: expected a UUID, found {}", printable(element))],
                    }),
                };
                uuids.visible = self.elements(response, add).await?;
                Ok(uuids)
            })
            .await
    }

    /// Hands over a list's elements as they come in, and says how many there were.
    async fn elements(
        &self,
        response: Response,
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, FailedAttempt> {
        if response.status != StatusCode::OK {
            return Err(failed(DOING, PERMISSION, &response));
        }
        let unreadable = |error: ListError| {
            let retry = match error {
                ListError::Cut { .. } => RetryRule::UntilTimeout,
                ListError::NotAList { .. } | ListError::Separator { .. } | ListError::GoesOn => {
                    RetryRule::Limited
                }
                ListError::ElementTooLong { .. } => RetryRule::Never,
            };
            answer::unreadable(DOING, retry, error.into())
        };
        let mut splitter = Splitter::new(MAX_ELEMENT_BYTES);
        let mut body = response.body;
        loop {
            match body.try_next().await {
                Ok(None) => break,
                Ok(Some(piece)) => splitter.push(&piece, &mut each).map_err(unreadable)?,
                // Behind a proxy that ends TLS without saying so, the end of every list looks like a broken connection.
                Err(_) if splitter.is_whole() => break,
                Err(error) => return Err(FailedAttempt::of_connection(DOING, self.endpoint(), error)),
            }
        }
        splitter.finish().map_err(unreadable)
    }
}

/// Says whether a list was cut off after its beginning.
fn is_cut(error: &FifoError) -> bool {
    matches!(
        error,
        FifoError::Connection { .. }
            | FifoError::Unreadable { source: UnreadableAnswer::List(ListError::Cut { .. }), .. }
    )
}

impl VmVisitor for BTreeMap<VmId, Vm> {
    fn start(&mut self, _: Option<DateTime<Utc>>) {
        self.clear();
    }

    fn vm(&mut self, mut vm: Vm) {
        vm.backups.shrink_to_fit();
        self.insert(vm.id, vm);
    }

    fn forget(&mut self, id: VmId) -> String {
        self.remove(&id).map(|vm| vm.alias).unwrap_or_default()
    }
}

/// What a list has had so far.
#[derive(Default)]
struct Seen {
    /// Whether the VM was handed over.
    vms: HashMap<VmId, bool>,
    unreadable: Vec<UnreadableVm>,
}

impl Seen {
    fn hand_over(
        &mut self,
        read: Result<Vm, UnreadableVm>,
        wanted: impl Fn(VmId) -> bool,
        visitor: &mut impl VmVisitor,
    ) {
        let id = match &read {
            Ok(vm) => Some(vm.id),
            Err(unreadable) => unreadable.id,
        };
        if let Some(id) = id {
            if !wanted(id) {
                return;
            }
            if let Some(was_handed_over) = self.vms.insert(id, read.is_ok()) {
                self.vms.insert(id, false);
                if was_handed_over {
                    // Which of the two is the whole one?
                    let alias = visitor.forget(id);
                    self.unreadable.push(listed_twice(id, alias));
                }
                return;
            }
        }
        match read {
            Ok(vm) => visitor.vm(vm),
            Err(unreadable) => self.unreadable.push(unreadable),
        }
    }

    fn unreadable(mut self) -> Vec<UnreadableVm> {
        self.unreadable.sort();
        self.unreadable
    }
}

/// Says now and then how far it is.
struct Progress {
    done: usize,
    total: usize,
    told_at: Instant,
}

impl Progress {
    fn of(total: usize) -> Self {
        Self { done: 0, total, told_at: Instant::now() }
    }

    fn one_more(&mut self) {
        self.done += 1;
        if self.told_at.elapsed() >= PROGRESS_EVERY {
            self.told_at = Instant::now();
            info!("reading VMs one by one: {} of {}", self.done, self.total);
        }
    }
}
