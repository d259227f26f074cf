//! Reading all VMs: by FiFo's full list, or one by one where FiFo cuts that list every time.

use super::error::{FifoError, Result, with_causes};
use super::read::ReadClient;
use super::session::server_date;
use super::splitter::{ListError, MAX_ELEMENT_BYTES, Splitter, printable};
use super::transport::Response;
use super::vm_json::read_vm;
use crate::inventory::{Inventory, UnreadableVm, Vm, VmId};
use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

/// The fields of a VM that matter. Whole VMs are many times as large, most of it logs.
const FIELDS: &str =
    "uuid,alias,owner,package,dataset,hypervisor,state,creating,deleting,metadata,config,backups";

const DOING: &str = "read the list of VMs";
const PERMISSION: &str = "cloud→vms→list";

/// After so many cut lists in a row FiFo is assumed to cut every one.
const CUTS_BELIEVED: u32 = 2;

const AT_A_TIME: usize = 4;
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Listing {
    pub inventory: Inventory,
    /// How many VMs the list had, asked for or not, readable or not. With none, this user may be allowed to see none.
    pub visible: usize,
    pub server_date: Option<DateTime<Utc>>,
    /// Whether the VMs were read one by one. Where FiFo's cache is on, such a reading may be old; a full list is not.
    pub one_by_one: bool,
}

/// Takes the VMs of a list while it is read, so that a large cloud is never in memory whole.
pub trait VmVisitor: Send {
    /// A list begins, at this instant by the server's clock. All that came before is void: a list that breaks off says
    /// nothing.
    fn start(&mut self, server_date: Option<DateTime<Utc>>);

    fn vm(&mut self, vm: Vm);

    /// Forgets a VM, and returns its alias: the list has it twice, and neither record can be trusted.
    fn forget(&mut self, id: VmId) -> String;
}

/// What a list has besides the VMs that could be read whole.
#[derive(Clone, Debug)]
pub struct ListSummary {
    /// The VMs, or elements that may have been one, that could not be read whole.
    pub unreadable: Vec<UnreadableVm>,
    pub visible: usize,
    pub server_date: Option<DateTime<Utc>>,
    pub one_by_one: bool,
}

type Wanted<'a> = Option<&'a BTreeSet<VmId>>;

impl ReadClient {
    /// Reads every VM that this user may see, and hands each over as soon as it has come. After an error what was handed
    /// over counts for nothing. A VM that cannot be read is no error: the summary names it.
    ///
    /// FiFo of 2016 cuts every list that takes it more than 5 s. After the second cut in a row the UUIDs are read and
    /// then the VMs one by one, from then on and for the life of this client.
    pub async fn visit(&self, visitor: &mut impl VmVisitor) -> Result<ListSummary> {
        self.visit_only(None, visitor).await
    }

    pub async fn list(&self) -> Result<Listing> {
        self.listing(None).await
    }

    /// Reads the list, but keeps only these VMs, and unreadable ones without UUID. One by one only these are read.
    pub async fn list_only(&self, wanted: &BTreeSet<VmId>) -> Result<Listing> {
        self.listing(Some(wanted)).await
    }

    async fn listing(&self, wanted: Wanted<'_>) -> Result<Listing> {
        let (mut vms, endpoint) = (BTreeMap::new(), self.session.endpoint());
        let listed = self.visit_only(wanted, &mut vms).await?;
        let ListSummary { unreadable, visible, server_date, one_by_one } = listed;
        Ok(Listing { inventory: Inventory { endpoint, vms, unreadable }, visible, server_date, one_by_one })
    }

    async fn visit_only(&self, wanted: Wanted<'_>, visitor: &mut impl VmVisitor) -> Result<ListSummary> {
        match self.full_list(wanted, visitor).await? {
            Some(listed) => Ok(listed),
            None => self.one_by_one(wanted, visitor).await,
        }
    }

    /// Reads the full list; `None` where it is cut every time.
    async fn full_list(
        &self,
        wanted: Wanted<'_>,
        visitor: &mut impl VmVisitor,
    ) -> Result<Option<ListSummary>> {
        // Of one attempt at a time, each of which begins anew.
        let visitor_and_cuts = &Mutex::new((visitor, 0));
        let path = &format!("vms?full-list=true&full-list-fields={FIELDS}");
        self.session
            .retrying(DOING, move |attempt| async move {
                if self.lists_are_cut.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                // FiFo before 2016 is asked by headers; later versions ignore them.
                let headers = [("x-full-list", "true"), ("x-full-list-fields", FIELDS)].map(|(name, value)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                });
                let headers = HeaderMap::from_iter(headers);
                let response = self.session.get(attempt, DOING, PERMISSION, path, headers).await?;
                let server_date = server_date(response.headers());
                let mut seen = Seen::default();
                let (visitor, cuts) = &mut *visitor_and_cuts.lock().await;
                visitor.start(server_date);
                let add = |element: &[u8]| seen.hand_over(read_vm(element), wanted, &mut **visitor);
                let read = self.elements(response, add).await;
                *cuts += u32::from(read.as_ref().is_err_and(FifoError::passes));
                match read {
                    Ok(visible) => {
                        let unreadable = seen.unreadable();
                        Ok(Some(ListSummary { unreadable, visible, server_date, one_by_one: false }))
                    }
                    Err(error) if error.passes() && *cuts == CUTS_BELIEVED => {
                        warn!(
                            "{} cut its list of VMs short {CUTS_BELIEVED} times in a row, as FiFo of 2016 does with a \
                             list that takes more than 5 s: from now on VMs are read one by one",
                            self.session.endpoint()
                        );
                        self.lists_are_cut.store(true, Ordering::Relaxed);
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            })
            .await
    }

    async fn one_by_one(&self, wanted: Wanted<'_>, visitor: &mut impl VmVisitor) -> Result<ListSummary> {
        let (uuids, mut listed) = self.uuids(wanted).await?;
        visitor.start(listed.server_date);
        let mut seen = Seen { unreadable: std::mem::take(&mut listed.unreadable), ..Seen::default() };
        let (total, mut told_at, mut unanswered_in_row) = (uuids.len(), Instant::now(), 0);
        let mut missing = BTreeSet::new();
        let mut reads = stream::iter(uuids)
            .map(|id| async move { (id, self.vm(id).await) }.boxed())
            .buffer_unordered(AT_A_TIME)
            .enumerate();
        while let Some((done, (id, read))) = reads.next().await {
            if told_at.elapsed() >= PROGRESS_EVERY {
                told_at = Instant::now();
                info!("reading VMs one by one: {done} of {total}");
            }
            match read {
                Err(FifoError::TimedOut { .. } | FifoError::Connection { .. }) => unanswered_in_row += 1,
                _ => unanswered_in_row = 0,
            }
            match read {
                Ok(read) => seen.hand_over(read.vm, None, visitor),
                Err(FifoError::NoSuchVm { .. }) => _ = missing.insert(id),
                // After some in a row it is not these VMs that cannot be read: FiFo does not answer any more.
                Err(error) if error.is_refusal() || unanswered_in_row == AT_A_TIME => return Err(error),
                Err(error) => seen.unreadable.push(unreadable("", Some(id), with_causes(&error))),
            }
        }
        drop(reads);
        if !missing.is_empty() {
            // Those that have gone meanwhile are listed no more. The others may have backups, and uploads that run.
            let (listed_still, _) = self.uuids(Some(&missing)).await?;
            let problem = "FiFo lists the VM, and answers 404 Not Found when it is read";
            seen.unreadable
                .extend(listed_still.into_iter().map(|id| unreadable("", Some(id), problem.to_owned())));
        }
        Ok(ListSummary { unreadable: seen.unreadable(), ..listed })
    }

    /// Reads the UUIDs of the wanted VMs; the summary has the elements that are none.
    async fn uuids(&self, wanted: Wanted<'_>) -> Result<(BTreeSet<VmId>, ListSummary)> {
        self.session
            .retrying(DOING, move |attempt| async move {
                let response = self.session.get(attempt, DOING, PERMISSION, "vms", HeaderMap::new()).await?;
                let server_date = server_date(response.headers());
                let (mut uuids, mut odd) = (BTreeSet::new(), Vec::new());
                let found = |element: &[u8]| format!("uuid: expected a UUID, found {}", printable(element));
                let add = |element: &[u8]| match serde_json::from_slice::<VmId>(element) {
                    Ok(id) => uuids.extend(Some(id).filter(|id| is_wanted(wanted, *id))),
                    Err(_) => odd.push(unreadable("", None, found(element))),
                };
                let visible = self.elements(response, add).await?;
                Ok((uuids, ListSummary { unreadable: odd, visible, server_date, one_by_one: true }))
            })
            .await
    }

    async fn elements(&self, response: Response, mut each: impl FnMut(&[u8])) -> Result<usize> {
        let unreadable = |error: ListError| FifoError::Unreadable {
            doing: DOING.to_owned(),
            why: error.to_string(),
            is_cut: matches!(error, ListError::Cut { .. }),
        };
        let mut splitter = Splitter::new(MAX_ELEMENT_BYTES);
        let mut body = response.into_body();
        loop {
            match body.try_next().await {
                Ok(None) => break,
                Ok(Some(piece)) => splitter.push(&piece, &mut each).map_err(unreadable)?,
                // Behind a proxy that ends TLS without saying so, the end of every list looks like a broken connection.
                Err(_) if splitter.is_whole() => break,
                Err(error) => return Err(self.session.no_answer(DOING, error)),
            }
        }
        splitter.finish().map_err(unreadable)
    }
}

fn is_wanted(wanted: Wanted<'_>, id: VmId) -> bool {
    wanted.is_none_or(|wanted| wanted.contains(&id))
}

fn unreadable(alias: impl Into<String>, id: Option<VmId>, problem: String) -> UnreadableVm {
    UnreadableVm { alias: alias.into(), id, problems: vec![problem] }
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

#[derive(Default)]
struct Seen {
    /// Whether the VM was handed over.
    vms: HashMap<VmId, bool>,
    unreadable: Vec<UnreadableVm>,
}

impl Seen {
    fn hand_over(&mut self, vm: Result<Vm, UnreadableVm>, wanted: Wanted<'_>, visitor: &mut impl VmVisitor) {
        let id = vm.as_ref().map_or_else(|unreadable| unreadable.id, |vm| Some(vm.id));
        if id.is_some_and(|id| !is_wanted(wanted, id)) {
            return;
        }
        match (id.and_then(|id| Some((id, self.vms.insert(id, vm.is_ok())?))), vm) {
            (Some((id, was_handed_over)), _) => {
                self.vms.insert(id, false);
                if was_handed_over {
                    // Which of the two is the whole one?
                    let problem = "uuid: expected once in the list, found again".to_owned();
                    self.unreadable.push(unreadable(visitor.forget(id), Some(id), problem));
                }
            }
            (None, Ok(vm)) => visitor.vm(vm),
            (None, Err(unreadable)) => self.unreadable.push(unreadable),
        }
    }

    fn unreadable(mut self) -> Vec<UnreadableVm> {
        self.unreadable.sort();
        self.unreadable
    }
}
