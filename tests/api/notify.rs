//! Telling others, over the real network, against servers that see every byte.

use crate::raw_server::{RawServer, Received, Reply, tls};
use fifo_retain::runner::notify::{NotifyError, Poster};
use std::io::Write as _;
use std::path::PathBuf;

fn poster(scheme: &str, host: &str, server: &RawServer, ca_file: Option<PathBuf>) -> Poster {
    let url = format!("{scheme}://{host}:{}/hunter2?token=hunter2", server.port);
    Poster::new(url.parse().unwrap(), ca_file, 1).unwrap()
}

fn answer(status: &str) -> Reply {
    Reply::SendAndClose(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
}

fn lines(server: &RawServer) -> Vec<String> {
    server.received().iter().map(|received| received.line().to_owned()).collect()
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_all_of_its_body() {
    let mut count = 0;
    let server = RawServer::start(move |_: &Received| {
        count += 1;
        answer(if count == 1 { "503 Service Unavailable" } else { "200 OK" })
    })
    .await;
    poster("http", "127.0.0.1", &server, None).post_json(b"{}".to_vec()).await.unwrap();
    let received = server.received();
    assert_eq!(lines(&server), ["POST /hunter2?token=hunter2"; 2]);
    for one in received {
        assert_eq!((one.body.as_str(), one.header("content-type")), ("{}", Some("application/json")));
        assert!(one.header("user-agent").unwrap().starts_with("fifo-retain/"), "{}", one.head);
    }
}

#[tokio::test]
async fn what_stays_wrong_is_tried_once() {
    let server = RawServer::start(|_: &Received| answer("404 Not Found")).await;
    let error = poster("http", "127.0.0.1", &server, None).ping(Some("start"), None).await.unwrap_err();
    assert_eq!(error.to_string(), format!("http://127.0.0.1:{}/… answered 404 Not Found", server.port));
    assert_eq!(lines(&server), ["GET /hunter2/start?token=hunter2"]);
}

#[tokio::test]
async fn a_closed_port_is_reported_without_the_secret() {
    let server = RawServer::start(|_: &Received| answer("200 OK")).await;
    let poster = poster("http", "127.0.0.1", &server, None);
    drop(server);
    let error = poster.ping(None, Some("what went wrong".to_owned())).await.unwrap_err();
    assert!(matches!(error, NotifyError::Connection { .. }), "{error}");
    assert!(error.to_string().contains("could not be reached: "), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn only_who_is_trusted_is_reported() {
    let (server, pem) = tls::server(|_: &Received| answer("200 OK")).await;
    let mut ca_file = tempfile::NamedTempFile::new().unwrap();
    ca_file.write_all(pem.as_bytes()).unwrap();
    let trusting = poster("https", "localhost", &server, Some(ca_file.path().to_owned()));
    trusting.post_json(b"{}".to_vec()).await.unwrap();

    let (_, other_pem) = tls::server(|_: &Received| answer("200 OK")).await;
    let mut other_file = tempfile::NamedTempFile::new().unwrap();
    other_file.write_all(other_pem.as_bytes()).unwrap();
    let other = poster("https", "localhost", &server, Some(other_file.path().to_owned()));
    let error = other.post_json(b"{}".to_vec()).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(lines(&server).len(), 1, "the other one said nothing");
}
