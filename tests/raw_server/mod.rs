//! A server that sends given bytes, and records what it receives.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod tls;

use fifo_retain::fifo::Endpoint;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came, and the connection that it came on, counted from 0.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    /// Returns the request line without the version: `GET /api/3/vms`.
    pub(crate) fn line(&self) -> &str {
        self.head.split(" HTTP/").next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What to do about a request.
pub(crate) enum Reply {
    /// Send this and wait for the next request.
    Send(String),
    /// Send this and close the connection.
    SendAndClose(String),
    /// Say nothing, and keep the connection.
    Hang,
}

/// The server, on a loopback port of its own, until it is dropped.
pub(crate) struct RawServer {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl RawServer {
    pub(crate) async fn start(answer: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        Self::start_behind(async |stream| Ok(stream), answer).await
    }

    /// Starts one that has `wrap` make something of each connection first.
    pub(crate) async fn start_behind<S: AsyncRead + AsyncWrite + Unpin + Send + 'static, F>(
        mut wrap: impl FnMut(TcpStream) -> F + Send + 'static,
        answer: impl FnMut(&Received) -> Reply + Send + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<S>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer));
        let log = Arc::clone(&received);
        let accepting = tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = wrap(stream).await {
                    tokio::spawn(serve(stream, connection, Arc::clone(&log), Arc::clone(&answer)));
                    connection += 1;
                }
            }
        });
        Self { port, received, accepting }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        format!("http://127.0.0.1:{}", self.port).parse().unwrap()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin, A: FnMut(&Received) -> Reply>(
    mut stream: S,
    connection: usize,
    log: Arc<Mutex<Vec<Received>>>,
    answer: Arc<Mutex<A>>,
) {
    while let Some(request) = read_request(&mut stream, connection).await {
        log.lock().unwrap().push(request.clone());
        let reply = (answer.lock().unwrap())(&request);
        match reply {
            Reply::Send(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
            }
            Reply::SendAndClose(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Hang => std::future::pending().await,
        }
    }
}

/// Reads a request with as much body as its content-length says; `None` when the connection ends.
async fn read_request<S: AsyncRead + Unpin>(stream: &mut S, connection: usize) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut received = Received { connection, head, body: String::new() };
    let length = received.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    received.body = String::from_utf8(body).unwrap();
    Some(received)
}
