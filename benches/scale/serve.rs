//! A FiFo that costs next to nothing: it accepts every sign-in, and sends a file as the list of VMs.

use chrono::Utc;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

/// A server that runs until the process ends.
pub(crate) struct Server {
    address: SocketAddr,
}

impl Server {
    /// Serves a file at an address; port 0 is any free one.
    pub(crate) fn start(file: &Path, address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let file = file.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let file = file.clone();
                thread::spawn(move || {
                    if let Err(error) = answer(stream, &file) {
                        eprintln!("a connection was lost: {error}");
                    }
                });
            }
        });
        Ok(Self { address })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers one request, and closes.
fn answer(mut stream: TcpStream, file: &PathBuf) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            body_bytes = value.trim().parse().unwrap_or(0);
        }
    }
    io::copy(&mut (&mut reader).take(body_bytes), &mut io::sink())?;
    let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
    let head =
        format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let path = first.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    match path.rsplit('/').next() {
        Some("vms") => {
            write!(stream, "{head}transfer-encoding: identity\r\n\r\n")?;
            // The kernel copies from the file to the socket.
            io::copy(&mut File::open(file)?, &mut stream)?;
        }
        Some("token") => {
            let body = r#"{"access_token":"0","token_type":"bearer","expires_in":3600,"scope":["*"]}"#;
            write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len())?;
        }
        _ => {
            let body = r#"{"sniffle":1,"snarl":1}"#;
            write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len())?;
        }
    }
    stream.shutdown(Shutdown::Write)
}
