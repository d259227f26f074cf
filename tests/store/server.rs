//! A server that answers each request with the bytes that a test gives it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// With its query.
    pub(crate) path: String,
    pub(crate) range: Option<(usize, usize)>,
}

/// How a request is answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
    /// After so many bytes of the body the connection is closed.
    pub(crate) cut: Option<usize>,
    /// Between any two pieces of 1 KiB.
    pub(crate) pause: Duration,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: String::new(), body: body.into(), cut: None, pause: Duration::ZERO }
    }

    pub(crate) fn json(body: &serde_json::Value) -> Self {
        let headers = "content-type: application/json\r\n".to_owned();
        Self { headers, ..Self::new(200, body.to_string()) }
    }

    /// Answers with a part of an object, as a store that knows ranges.
    pub(crate) fn part(whole: &[u8], range: Option<(usize, usize)>) -> Self {
        match range {
            None => Self::new(200, whole),
            Some((from, _)) if from >= whole.len() => Self::new(416, ""),
            Some((from, to)) => {
                let to = to.min(whole.len() - 1);
                let headers = format!("content-range: bytes {from}-{to}/{}\r\netag: \"x\"\r\n", whole.len());
                Self { headers, ..Self::new(206, &whole[from..=to]) }
            }
        }
    }
}

/// Starts a server that runs until the process ends; returns its address.
pub(crate) fn serve(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || talk(&stream, &*answer));
        }
    });
    address
}

/// One request a connection. Where the other end is gone, there is nobody to tell.
fn talk(stream: &TcpStream, answer: &dyn Fn(&Asked) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut asked, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        let lower = line.to_lowercase();
        if line.is_empty() {
            break;
        } else if asked.is_none() {
            let mut words = line.split(' ').map(str::to_owned);
            asked = Some(Asked { path: words.nth(1)?, range: None });
        } else if let Some(range) = lower.strip_prefix("range: bytes=") {
            let (from, to) = range.split_once('-')?;
            asked.as_mut()?.range = Some((from.parse().ok()?, to.parse().ok()?));
        } else if let Some(bytes) = lower.strip_prefix("content-length: ") {
            length = bytes.parse().ok()?;
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    let Answer { status, headers, body, cut, pause } = answer(&asked?);
    let mut stream = stream;
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    for piece in body[..cut.unwrap_or(length).min(length)].chunks(1024) {
        stream.write_all(piece).ok()?;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    stream.shutdown(Shutdown::Both).ok()
}
