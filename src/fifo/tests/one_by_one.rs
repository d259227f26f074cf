//! Reading VMs one by one, where FiFo cuts its list every time.

use super::*;
use crate::inventory::Inventory;
use std::collections::{BTreeMap, BTreeSet};

/// A FiFo that cuts full lists, and answers for each VM as scripted.
struct Cutting {
    /// How many full lists it cuts before it lets one through.
    cuts: Mutex<usize>,
    uuids: &'static str,
    /// A VM that is in the first list of UUIDs only.
    deleted: Option<VmId>,
    /// What is answered for the VMs of which the answer is not a whole VM, by the last digits of their UUID.
    odd: BTreeMap<u32, Answer>,
    sent: Mutex<Vec<String>>,
    running: Mutex<(usize, usize)>,
}

fn id(number: u32) -> VmId {
    format!("11111111-0000-4000-8000-{number:012}").parse().unwrap()
}

fn whole(number: u32) -> String {
    let id = id(number);
    format!(r#"{{"uuid":"{id}","alias":"","config":{{"alias":"vm-{number}"}},"backups":{{}}}}"#)
}

impl Cutting {
    fn new(cuts: usize, vms: u32) -> Self {
        let ids: Vec<_> = (1..=vms).map(|number| format!("\"{}\"", id(number))).collect();
        Self {
            cuts: Mutex::new(cuts),
            uuids: Box::leak(format!("[{}]", ids.join(",")).into_boxed_str()),
            deleted: None,
            odd: BTreeMap::new(),
            sent: Mutex::default(),
            running: Mutex::default(),
        }
    }

    fn answering(mut self, number: u32, answer: Answer) -> Self {
        self.odd.insert(number, answer);
        self
    }

    fn client(self) -> (Arc<Self>, ReadClient) {
        let this = Arc::new(self);
        let transport = Arc::clone(&this) as Arc<dyn Transport>;
        (this, ReadClient::new(transport, settings(token())))
    }

    fn count(&self, what: &str) -> usize {
        self.sent.lock().unwrap().iter().filter(|path| path.contains(what)).count()
    }

    fn answer(&self, path: &str) -> Result<(u16, String), TransportErrorKind> {
        let Some(vm) = path.strip_prefix("/api/3/vms/") else {
            if !path.contains("full-list") {
                let is_first =
                    self.sent.lock().unwrap().iter().filter(|path| path.ends_with("/vms")).count() == 1;
                let deleted = self.deleted.filter(|_| !is_first).map(|id| format!("\"{id}\","));
                return Ok((200, deleted.map_or(self.uuids.to_owned(), |id| self.uuids.replace(&id, ""))));
            }
            let mut cuts = self.cuts.lock().unwrap();
            let is_cut = *cuts > 0;
            *cuts = cuts.saturating_sub(1);
            return Ok((200, format!("[{}{}", whole(1), if is_cut { "" } else { "]" })));
        };
        let number = vm.rsplit('-').next().unwrap().parse().unwrap();
        match self.odd.get(&number) {
            None => Ok((200, whole(number))),
            Some(Status(status, _, body)) => Ok((*status, (*body).to_owned())),
            Some(Fails(kind)) => Err(*kind),
            Some(_) => unreachable!("not needed here"),
        }
    }
}

impl Transport for Cutting {
    fn send(&self, request: Request, _: Connection) -> BoxFuture<'_, Result<Response, TransportError>> {
        let path = request.uri().to_string();
        self.sent.lock().unwrap().push(path.clone());
        async move {
            {
                let (now, most) = &mut *self.running.lock().unwrap();
                *now += 1;
                *most = (*most).max(*now);
            }
            sleep(Duration::from_millis(400)).await;
            self.running.lock().unwrap().0 -= 1;
            let (status, body) = self.answer(&path).map_err(|kind| TransportError::new(kind, "refused"))?;
            Ok(response(status, &[], vec![Ok(Bytes::from(body))]))
        }
        .boxed()
    }
}

fn read(inventory: &Inventory) -> Vec<String> {
    inventory.vms.values().map(|vm| vm.alias.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn after_the_second_cut_the_vms_are_read_one_by_one_for_good() {
    let (fifo, client) = Cutting::new(2, 50).client();
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap())).finish();
    // While there is one subscriber, `tracing` asks only that of the thread which meets a message first; and that may be the
    // thread of another test, which has none.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::callsite::rebuild_interest_cache();
    let listing = client.list().await.unwrap();
    drop(guard);
    assert!(listing.one_by_one);
    assert_eq!((listing.visible, listing.inventory.vms.len()), (50, 50));
    assert_eq!(listing.inventory.endpoint, "https://fifo.example.com");
    assert_eq!(listing.inventory.vms[&id(7)].alias, "vm-7");
    assert_eq!((fifo.count("full-list"), fifo.count("/vms/")), (2, 50));
    assert_eq!(fifo.running.lock().unwrap().1, 4, "four at a time");
    let logged = std::fs::read_to_string(log.path()).unwrap();
    assert!(logged.contains("from now on VMs are read one by one"), "{logged}");
    assert!(logged.contains(" of 50"), "{logged}");

    let wanted = BTreeSet::from([id(3), id(9), id(99)]);
    let listing = client.list_only(&wanted).await.unwrap();
    assert_eq!((listing.visible, read(&listing.inventory)), (50, vec!["vm-3".to_owned(), "vm-9".to_owned()]));
    assert_eq!(
        (fifo.count("full-list"), fifo.count("/vms/")),
        (2, 52),
        "only what is wanted, and no more lists"
    );
}

#[tokio::test(start_paused = true)]
async fn a_single_cut_is_a_mishap() {
    let (fifo, client) = Cutting::new(1, 9).client();
    for _ in 0..2 {
        let listing = client.list().await.unwrap();
        assert!(!listing.one_by_one);
        assert_eq!(read(&listing.inventory), ["vm-1"]);
        // The next list is cut once again: not twice in a row.
        *fifo.cuts.lock().unwrap() = 1;
    }
    assert_eq!(fifo.count("/vms/"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_a_cut_too() {
    let fifo = Scripted::new([
        Broken(r#"[{"uuid""#),
        Status(200, &[], NOTHING),
        Status(200, &[], r#"["11111111-0000-4000-8000-000000000001"]"#),
        Status(200, &[], r#"{"uuid":"11111111-0000-4000-8000-000000000001","backups":[]}"#),
    ]);
    let listing = client(&fifo, token()).list().await.unwrap();
    assert_eq!((listing.visible, listing.inventory.vms.len(), listing.one_by_one), (1, 1, true));
}

#[tokio::test(start_paused = true)]
async fn what_has_gone_is_left_out_and_what_cannot_be_read_is_not() {
    let (fifo, client) = Cutting { deleted: Some(id(2)), ..Cutting::new(2, 10) }
        .answering(2, Status(404, &[], NOTHING))
        .answering(10, Status(404, &[], NOTHING))
        .answering(3, Status(500, &[], NOTHING))
        .answering(4, Status(403, &[], NOTHING))
        .answering(5, Status(200, &[], r#"{"uuid":"11111111-0000-4000-8000-000000000005"}"#))
        .answering(6, Fails(TransportErrorKind::Lost))
        .answering(7, Status(503, &[], NOTHING))
        .client();
    let listing = client.list().await.unwrap();
    assert_eq!(read(&listing.inventory), ["vm-1", "vm-8", "vm-9"]);
    let unreadable: Vec<_> = listing.inventory.unreadable.iter().map(|vm| (vm.id, &vm.problems[0])).collect();
    let expected = [
        (3, "500"),
        (4, "vms→"),
        (5, "backups: "),
        (6, "the connection was lost"),
        (7, "503"),
        (10, "lists the VM, and answers 404"),
    ];
    assert_eq!(unreadable.len(), expected.len());
    for (number, words) in expected {
        let found = unreadable.iter().find(|(vm, _)| *vm == Some(id(number))).unwrap();
        assert!(found.1.contains(words), "{number}: {}", found.1);
    }
    assert_eq!(fifo.sent.lock().unwrap().iter().filter(|path| path.ends_with("/vms")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fifo_that_answers_no_more_is_a_failed_list() {
    let silent = (1..=200).fold(Cutting::new(2, 200), |fifo, number| {
        fifo.answering(number, Fails(TransportErrorKind::NotSent))
    });
    let begin = Instant::now();
    let error = silent.client().1.list().await.unwrap_err();
    assert!(error.is_silence(), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(200), "the wait for four VMs, not for two hundred");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_ends_it() {
    let refusing =
        (1..=50).fold(Cutting::new(2, 50), |fifo, number| fifo.answering(number, Status(401, &[], NOTHING)));
    assert!(matches!(refusing.client().1.list().await, Err(FifoError::TokenRefused { .. })));
}

#[tokio::test(start_paused = true)]
async fn uuids_that_are_none_are_reported_and_a_cut_list_of_them_is_read_again() {
    let fifo = Scripted::new([
        Status(200, &[], "["),
        Status(200, &[], "["),
        Status(200, &[], r#"["11111111-0000-4000-8000-000000000001""#),
        Status(200, &[], r#"["11111111-0000-4000-8000-000000000001",7]"#),
        Status(404, &[], NOTHING),
        Status(200, &[], r#"[7]"#),
    ]);
    let listing = client(&fifo, token()).list().await.unwrap();
    assert_eq!((listing.visible, listing.inventory.vms.len()), (2, 0));
    let [unreadable] = &listing.inventory.unreadable[..] else { panic!("one") };
    assert_eq!((unreadable.id, unreadable.problems[0].as_str()), (None, "uuid: expected a UUID, found 7"));
}
