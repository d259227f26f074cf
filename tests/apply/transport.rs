//! A FiFo without sockets: the sandbox's handlers behind the client's own seam, on tokio's time.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::Clock;
use fifo_retain::fifo::{Connection, Request, Response, Transport, TransportError, TransportErrorKind};
use fifo_retain::sandbox::{self, Faults, Framing, Vm, World};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// How long a request is in transit, there and back each.
const ON_THE_WAY: Duration = Duration::from_millis(5);

/// The header that says which of several programs has sent a request.
const SENDER: &str = "x-test-sender";

/// A clock that goes with tokio's, from an instant on.
#[derive(Clone, Copy)]
pub(crate) struct TestClock {
    start: DateTime<Utc>,
    started: Instant,
}

impl TestClock {
    pub(crate) fn starting_at(start: DateTime<Utc>) -> Self {
        Self { start, started: Instant::now() }
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::from_std(self.started.elapsed()).unwrap()
    }
}

#[derive(Clone, Debug)]
#[allow(dead_code, reason = "the simulation's judges look at more of it than other tests")]
pub(crate) struct RequestRecord {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) was_fresh: bool,
    pub(crate) if_match: Option<String>,
    /// Whether it was in transit for long, after its connection had broken off.
    pub(crate) is_late: bool,
    pub(crate) sender: usize,
    /// The status of the answer; `None` where the connection broke off.
    pub(crate) status: Option<u16>,
    /// Whether the answer has a version on which a write can be made conditional.
    pub(crate) has_version: bool,
    /// The VM before a delete from storage, for the judge alone.
    pub(crate) vm_before: Option<Box<Vm>>,
    /// What a reading has shown, for the judge alone.
    pub(crate) shown: Option<Vec<u8>>,
}

pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) faults: Faults,
    pub(crate) asked: Vec<RequestRecord>,
    /// How far FiFo's clock is ahead of ours.
    pub(crate) server_ahead: TimeDelta,
    /// Looks at the world right after each request.
    pub(crate) judge: Option<Judge>,
}

impl State {
    fn take_note(&mut self, asked: RequestRecord) {
        if let Some(judge) = &mut self.judge {
            judge(&self.world, &asked);
        }
        self.asked.push(RequestRecord { vm_before: None, shown: None, ..asked });
    }

    /// Returns the VM of a request that deletes from storage as it is, where a judge looks at it.
    fn vm_of_prune(&mut self, request: &sandbox::Request, now_us: i64) -> Option<Box<Vm>> {
        if self.judge.is_none() || request.method != "DELETE" || !request.body.is_empty() {
            return None;
        }
        self.world.advance(now_us);
        let vm = request.target.split('/').find_map(|part| part.parse().ok())?;
        self.world.vms.get(&vm).map(|vm| Box::new(vm.clone()))
    }
}

/// An observer that looks at the world right after each request.
pub(crate) type Judge = Box<dyn FnMut(&World, &RequestRecord) + Send>;

/// The sandbox's handlers as a transport.
#[derive(Clone)]
pub(crate) struct Wire {
    state: Arc<Mutex<State>>,
    clock: TestClock,
    sender: usize,
}

impl Wire {
    pub(crate) fn new(world: World, clock: TestClock) -> Self {
        let state = State {
            world,
            faults: Faults::default(),
            asked: Vec::new(),
            server_ahead: TimeDelta::zero(),
            judge: None,
        };
        Self { state: Arc::new(Mutex::new(state)), clock, sender: 0 }
    }

    /// The same FiFo as another program reaches it.
    #[allow(dead_code, reason = "only the simulation has several")]
    pub(crate) fn of_sender(&self, sender: usize) -> Self {
        Self { sender, ..self.clone() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn server_now(&self) -> DateTime<Utc> {
        self.clock.now() + self.state().server_ahead
    }

    fn handle(&self, request: &Request, connection: Connection) -> sandbox::Outgoing {
        let mut asked = sandbox::Request::new(request.method().as_str(), &request.uri().to_string());
        for (name, value) in request.headers() {
            asked = asked.with_header(name.as_str(), value.to_str().unwrap());
        }
        // What arrives late is still this sender's.
        asked = asked.with_header(SENDER, &self.sender.to_string());
        asked = asked.with_body(request.body().0.clone());
        self.arrive();
        let now = self.server_now();
        let state = &mut *self.state();
        let vm_before = state.vm_of_prune(&asked, now.timestamp_micros());
        let outgoing = state.faults.handle(&mut state.world, &asked, now.timestamp_micros());
        let reply = outgoing.reply.as_ref();
        let version = reply.and_then(|reply| reply.header("etag"));
        let is_judged = state.judge.is_some() && asked.method == "GET";
        let shown = reply.filter(|_| is_judged).map(|reply| reply.body.clone());
        state.take_note(RequestRecord {
            if_match: asked.header("if-match").map(str::to_owned),
            method: asked.method,
            target: asked.target,
            body: asked.body,
            at: now,
            was_fresh: connection == Connection::Fresh,
            is_late: false,
            sender: self.sender,
            status: reply.map(|reply| reply.status),
            has_version: version.is_some_and(|etag| !etag.starts_with("W/")),
            vm_before,
            shown,
        });
        outgoing
    }

    /// Lets the writes arrive that were in transit until now.
    pub(crate) fn arrive(&self) {
        self.arrive_until(self.server_now().timestamp_micros());
    }

    /// Lets all writes arrive that are in transit. A clock that is set now would hold them up otherwise.
    #[allow(dead_code, reason = "only the simulation sets FiFo's clock while writes are on their way")]
    pub(crate) fn arrive_all(&self) {
        self.arrive_until(i64::MAX);
    }

    fn arrive_until(&self, now_us: i64) {
        let state = &mut *self.state();
        while let Some(arrival) = state.faults.arrive(&mut state.world, now_us) {
            let request = arrival.request;
            let sender = request.header(SENDER).and_then(|sender| sender.parse().ok()).unwrap_or_default();
            state.take_note(RequestRecord {
                if_match: request.header("if-match").map(str::to_owned),
                method: request.method,
                target: request.target,
                body: request.body,
                at: DateTime::from_timestamp_micros(arrival.at_us).unwrap(),
                was_fresh: true,
                is_late: true,
                sender,
                status: arrival.reply.map(|reply| reply.status),
                has_version: false,
                vm_before: None,
                shown: None,
            });
        }
    }
}

impl Transport for Wire {
    fn send(
        &self,
        request: Request,
        connection: Connection,
    ) -> BoxFuture<'_, Result<Response, TransportError>> {
        async move {
            tokio::time::sleep(ON_THE_WAY).await;
            let outgoing = self.handle(&request, connection);
            tokio::time::sleep(ON_THE_WAY + outgoing.delay).await;
            let lost = || TransportError::new(TransportErrorKind::Lost, "connection reset by the test");
            let reply = outgoing.reply.ok_or_else(lost)?;
            let mut headers: HeaderMap = reply
                .headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
                .collect();
            if !outgoing.hides_date {
                let date = self.server_now() + TimeDelta::seconds(outgoing.date_shift_s);
                let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
                headers.insert(http::header::DATE, HeaderValue::from_str(&date).unwrap());
            }
            let mut chunks: Vec<Result<Bytes, TransportError>> = Vec::new();
            match outgoing.cut_after_bytes.filter(|&cut| cut < reply.body.len()) {
                Some(cut) => {
                    chunks.push(Ok(Bytes::copy_from_slice(&reply.body[..cut])));
                    if reply.framing == Framing::Length {
                        chunks.push(Err(lost()));
                    }
                }
                None => chunks.push(Ok(Bytes::from(reply.body))),
            }
            let mut response = Response::new(stream::iter(chunks).boxed());
            *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
            *response.headers_mut() = headers;
            Ok(response)
        }
        .boxed()
    }
}
