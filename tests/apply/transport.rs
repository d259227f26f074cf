//! A FiFo without sockets: the sandbox's handlers behind the client's own seam, on tokio's time.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use fifo_retain::apply::Clock;
use fifo_retain::fifo::{Connection, Request, Response, Transport, TransportError, TransportErrorKind};
use fifo_retain::sandbox::{self, Faults, Framing, World};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// How long a request is on its way, there and back each.
const ON_THE_WAY: Duration = Duration::from_millis(5);

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

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    /// When it arrived, by FiFo's clock.
    pub(crate) at: DateTime<Utc>,
    pub(crate) was_fresh: bool,
}

pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) faults: Faults,
    pub(crate) asked: Vec<Asked>,
    /// How far FiFo's clock is ahead of ours.
    pub(crate) server_ahead: TimeDelta,
    /// Looks at the world right after each request.
    pub(crate) judge: Option<Judge>,
}

/// Somebody who looks at the world right after each request.
pub(crate) type Judge = Box<dyn FnMut(&World, &Asked) + Send>;

/// The sandbox's handlers as a transport.
#[derive(Clone)]
pub(crate) struct Wire {
    state: Arc<Mutex<State>>,
    clock: TestClock,
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
        Self { state: Arc::new(Mutex::new(state)), clock }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Tells FiFo's clock.
    pub(crate) fn server_now(&self) -> DateTime<Utc> {
        self.clock.now() + self.state().server_ahead
    }

    fn handle(&self, request: &Request) -> sandbox::Outgoing {
        let mut asked = sandbox::Request::new(request.method.as_str(), &request.path);
        for (name, value) in &request.headers {
            asked = asked.with_header(name.as_str(), value.to_str().unwrap());
        }
        asked = asked.with_body(request.body.clone().unwrap_or_default());
        let now = self.server_now();
        let State { world, faults, asked: log, judge, .. } = &mut *self.state();
        let outgoing = faults.handle(world, &asked, now.timestamp_micros());
        let asked = Asked {
            method: asked.method,
            target: asked.target,
            body: asked.body,
            at: now,
            was_fresh: request.connection == Connection::Fresh,
        };
        if let Some(judge) = judge {
            judge(world, &asked);
        }
        log.push(asked);
        outgoing
    }
}

impl Transport for Wire {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        async move {
            tokio::time::sleep(ON_THE_WAY).await;
            let outgoing = self.handle(&request);
            tokio::time::sleep(ON_THE_WAY + outgoing.delay).await;
            let lost = || TransportError::new(TransportErrorKind::Lost, "connection reset by the test");
            let reply = outgoing.reply.ok_or_else(lost)?;
            let mut headers: HeaderMap = reply
                .headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
                .collect();
            let date = self.server_now() + TimeDelta::seconds(outgoing.date_shift_s);
            let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            headers.insert(http::header::DATE, HeaderValue::from_str(&date).unwrap());
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
            Ok(Response {
                status: StatusCode::from_u16(reply.status).unwrap(),
                headers,
                body: stream::iter(chunks).boxed(),
            })
        }
        .boxed()
    }
}
