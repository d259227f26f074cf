//! Asking the program over HTTP, and being asked by it: the least that a test needs, with bounded waits.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long is waited for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is there.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks for a path; returns the status and the body, or `None` where no process listens.
pub(crate) fn got(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// A request that came in.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) line: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// A server that gives every request the same answer.
pub(crate) struct Listener {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
    is_over: Arc<AtomicBool>,
}

impl Listener {
    pub(crate) fn answering(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (came, is_over) = (Arc::<Mutex<Vec<Came>>>::default(), Arc::<AtomicBool>::default());
        let (theirs, over) = (Arc::clone(&came), Arc::clone(&is_over));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.ok().and_then(|stream| taken(stream, status, &theirs));
            }
        });
        Self { address, came, is_over }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// Returns what was asked for so far: `GET /ping/start`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.came().into_iter().map(|came| came.line).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the one that waits.
        drop(TcpStream::connect(self.address));
    }
}

/// Takes a request, and answers when it has been noted: the client may have ended right after the answer.
fn taken(mut stream: TcpStream, status: &str, came: &Mutex<Vec<Came>>) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut first, mut length, mut content_type) = (String::new(), 0, String::new());
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "content-type" => content_type = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = first.split(' ').take(2).collect::<Vec<_>>().join(" ");
    came.lock().unwrap().push(Came { line, content_type, body: String::from_utf8(body).ok()? });
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()
}
