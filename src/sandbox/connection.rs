//! HTTP/1.1 on one connection, with the ways of FiFo's server.

use super::faults::Outgoing;
use super::message::{Framing, Reply, Request};
use super::state::Clock;
use bytes::{Buf, BytesMut};
use chrono::{DateTime, Utc};
use std::fmt::Write as _;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
const MAX_BODY_BYTES: usize = 64 << 10;

const MAX_REQUESTS: u32 = 100;

pub(super) async fn serve(
    mut stream: TcpStream,
    idle_close: Duration,
    clock: &Clock,
    answer: impl Fn(&Request) -> Outgoing,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    for served in 1..=MAX_REQUESTS {
        let read = match timeout(idle_close, read_request(&mut stream, &mut buffer)).await {
            Ok(read) => read?,
            Err(_idle) => return Ok(()),
        };
        let (out, stays) = match read {
            None => return Ok(()),
            Some(Ok((request, stays))) => (answer(&request), stays && served < MAX_REQUESTS),
            Some(Err(Junk(status))) => (Reply::empty(status).into(), false),
        };
        tokio::time::sleep(out.delay).await;
        if !write_reply(&mut stream, out, clock, stays).await? {
            return Ok(());
        }
    }
    Ok(())
}

struct Junk(u16);

/// A request, and whether the client means to go on after it.
type Parsed = Result<(Request, bool), Junk>;

/// Reads a request; `None` where the client has closed.
async fn read_request(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<Parsed>> {
    loop {
        match parse(buffer) {
            Some(parsed) => return Ok(Some(parsed)),
            None if buffer.len() > MAX_HEAD_BYTES + MAX_BODY_BYTES => return Ok(Some(Err(Junk(431)))),
            None if stream.read_buf(buffer).await? == 0 => return Ok(None),
            None => {}
        }
    }
}

/// Takes a request out of what was read; `None` where it is not all there yet.
///
/// A body that comes without a content-length is none. What follows the head of such a request belongs to nothing, so
/// that the connection ends after it.
fn parse(buffer: &mut BytesMut) -> Option<Parsed> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let head_bytes = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) if bytes > MAX_HEAD_BYTES => return Some(Err(Junk(431))),
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(Err(Junk(400))),
    };
    let mut request = Request::new(parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    for header in parsed.headers.iter() {
        request = request.with_header(header.name, String::from_utf8_lossy(header.value).trim());
    }
    let body_bytes = match request.header("content-length").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(bytes)) if bytes > MAX_BODY_BYTES => return Some(Err(Junk(413))),
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) => return Some(Err(Junk(400))),
    };
    let stays = parsed.version == Some(1)
        && request.header("transfer-encoding").is_none()
        && !request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if buffer.len() < head_bytes + body_bytes {
        return None;
    }
    buffer.advance(head_bytes);
    request.body = buffer.split_to(body_bytes).to_vec();
    Some(Ok((request, stays)))
}

/// Writes an answer, or breaks off where that is asked for. Says whether the connection stays open.
async fn write_reply(stream: &mut TcpStream, out: Outgoing, clock: &Clock, stays: bool) -> io::Result<bool> {
    let Some(reply) = out.reply else {
        if out.reset {
            stream.set_zero_linger()?;
        }
        return Ok(false);
    };
    let streamed = reply.framing == Framing::UntilClose;
    let says_close = streamed || !stays;
    let date_us = clock.now_us().saturating_add(out.date_shift_s.saturating_mul(1_000_000));
    let mut bytes = head(&reply, (!out.hides_date).then_some(date_us), says_close);
    let shown = out.cut_after_bytes.unwrap_or(usize::MAX).min(reply.body.len());
    bytes.extend_from_slice(&reply.body[..shown]);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    // After a 500 the server closes without having said so.
    Ok(!says_close && reply.status != 500 && shown == reply.body.len())
}

fn head(reply: &Reply, date_us: Option<i64>, says_close: bool) -> Vec<u8> {
    let reason = http::StatusCode::from_u16(reply.status).ok().and_then(|status| status.canonical_reason());
    let reason = reason.unwrap_or("Unknown");
    let mut head = format!("HTTP/1.1 {} {reason}\r\nserver: Cowboy\r\n", reply.status);
    // Writing to a text cannot fail.
    if let Some(date_us) = date_us {
        let date = DateTime::<Utc>::from_timestamp_micros(date_us).unwrap_or_default();
        let _ = write!(head, "date: {}\r\n", date.format("%a, %d %b %Y %H:%M:%S GMT"));
    }
    let _ = match reply.framing {
        Framing::Length => write!(head, "content-length: {}\r\n", reply.body.len()),
        Framing::UntilClose => write!(head, "transfer-encoding: identity\r\n"),
    };
    if says_close {
        head.push_str("connection: close\r\n");
    }
    for (name, value) in &reply.headers {
        // What a disturbance puts in a header must not end it.
        let _ = write!(head, "{name}: {}\r\n", value.replace(['\r', '\n'], " "));
    }
    head.push_str("\r\n");
    head.into_bytes()
}
