use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

fn hello(asked: Asked) -> BoxFuture<'static, Option<Answer>> {
    let name = asked.sent.map(|sent| String::from_utf8_lossy(&sent).into_owned()).or(asked.accept);
    let body = format!("hello {}", name.as_deref().unwrap_or("anybody"));
    let is_well = asked.path != "/ill";
    let answer = (asked.path != "/nothing").then_some(Answer { is_well, content_type: "text/plain", body });
    Box::pin(std::future::ready(answer))
}

async fn server() -> Server {
    Server::start("127.0.0.1:0", false, "", hello).await.unwrap()
}

/// Sends some bytes and reads until the other side closes.
async fn said(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    // The server may close before all of it is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn it_answers_and_says_what_a_browser_may_do() {
    let server = server().await;
    let answer = said(&server, b"GET /?x HTTP/1.1\r\nhost: x\r\naccept: you\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello you"), "{answer}");
    for header in
        ["content-security-policy: default-src 'none';", "cache-control: no-store", "connection: close"]
    {
        assert!(answer.contains(header), "{header} is not in\n{answer}");
    }
}

#[tokio::test]
async fn each_status_is_reported() {
    let server = server().await;
    for (line, status) in [
        ("GET /ill", "503 Service Unavailable"),
        ("GET /nothing", "404 Not Found"),
        ("POST /", "405 Method Not Allowed"),
        ("DELETE /", "405 Method Not Allowed"),
    ] {
        let answer = said(&server, format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
    }
    let head = said(&server, b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(head.contains("content-length: 13\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn what_is_sent_is_taken_where_that_is_wanted_up_to_a_size_and_of_one_type() {
    let server = Server::start("127.0.0.1:0", true, "", hello).await.unwrap();
    let post = |kind: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let large = "a".repeat(BODY_BYTES_MAX + 1);
    for (kind, body, status) in
        [(BODY_TYPE, "you", "200"), (BODY_TYPE, large.as_str(), "413"), ("text/plain", "you", "415")]
    {
        let answer = said(&server, post(kind, body).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{kind}: {answer}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = server().await;
    let long = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(64 << 10));
    let answer = said(&server, long.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    let answer = said(&server, many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn one_that_says_nothing_is_shown_out_and_holds_nobody_up() {
    let server = server().await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    silent.write_all(b"GET / HT").await.unwrap();
    let began = Instant::now();
    assert!(said(&server, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.contains("200 OK"));
    assert!(began.elapsed() < HEAD_TIMEOUT, "the second one did not wait for the first");
    let mut answer = Vec::new();
    timeout(HEAD_TIMEOUT * 4, silent.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("200"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let server = server().await;
    let address = server.address().to_string();
    let failure = Server::start(&address, false, "", hello).await.unwrap_err();
    let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE).to_string();
    assert_eq!(failure.causes, [format!("failed to listen on {address}"), in_use]);
}

#[tokio::test]
async fn a_host_s_name_can_be_listened_on() {
    let server = Server::start("localhost:0", false, "", hello).await.unwrap();
    assert!(server.address().ip().is_loopback());
}
