//! HTTP by hand, byte for byte, over a plain socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends bytes and reads the answer; `None` where the server closes without one.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Option<Answer>> {
        self.0.get_mut().write_all(request)?;
        let is_head = request.starts_with(b"HEAD ");
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        match answer.header("content-length").map(|length| length.parse::<u64>().unwrap()) {
            _ if is_head => {}
            Some(length) => drop(self.0.by_ref().take(length).read_to_end(&mut answer.body)?),
            None => drop(self.0.read_to_end(&mut answer.body)?),
        }
        Ok(Some(answer))
    }

    /// Says whether the server has closed, waiting for it a little while.
    pub(crate) fn is_closed_within(&mut self, wait: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(wait)).unwrap();
        match self.0.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> io::Result<Option<Answer>> {
    Connection::open(address).ask(request)
}
