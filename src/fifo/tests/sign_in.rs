//! Signing in, and what a 401 means.

use super::*;

const DENIED: &str = r#"{"error":"access_denied","error_description":"…"}"#;
const STORE_DOWN: &str = r#"{"error":"server_error","error_description":"timeout"}"#;

pub(super) fn token_first() -> Credentials {
    Credentials::TokenFirst {
        token: SecretString::from("given-token"),
        user: "admin".to_owned(),
        password: SecretString::from("hunter2"),
    }
}

#[tokio::test(start_paused = true)]
async fn many_tasks_sign_in_once() {
    let mut answers = vec![Status(200, &[], GRANTED)];
    answers.extend((0..20).map(|_| Status(200, &[], ONE_VM)));
    let fifo = Scripted::new(answers);
    let client = client(&fifo, password());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.list().await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(fifo.sent().iter().filter(|request| request.starts_with("POST")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_sign_in_names_fifos_reason_but_repeats_no_text() {
    for (status, body, reason) in [
        (400, r#"{"error":"access_denied","error_description":"hunter2"}"#, Some("access_denied")),
        (400, r#"{"error":"hunter2"}"#, None),
        (401, NOTHING, None),
        (403, "<html>", None),
    ] {
        let fifo = Scripted::new([Status(status, &[], body)]);
        let error = client(&fifo, password()).list().await.unwrap_err();
        let FifoError::SignInRefused { reason: found, .. } = &error else { panic!("{error}") };
        assert_eq!(found.as_deref(), reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_mid_run_is_renewed_once_for_all() {
    let fifo = Scripted::new([
        Status(200, &[], GRANTED),
        Status(401, &[], NOTHING),
        Status(401, &[], NOTHING),
        Status(200, &[], r#"{"access_token":"T2"}"#),
        Status(200, &[], ONE_VM),
        Status(200, &[], ONE_VM),
    ]);
    let client = client(&fifo, password());
    let (one, two) = tokio::join!(client.list(), client.list());
    assert_eq!((one.unwrap().visible, two.unwrap().visible), (1, 1));
    assert_eq!(fifo.sent_header(5, "authorization").unwrap(), "Bearer T2");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_sent_is_reported_without_it() {
    let fifo = Scripted::new([]);
    let credentials = Credentials::Token(SecretString::from("given\ntoken"));
    let error = client(&fifo, credentials).list().await.unwrap_err();
    assert!(matches!(error, FifoError::TokenRefused { .. }) && !message(&error).contains("given"));
}

#[tokio::test(start_paused = true)]
async fn a_write_signs_in_first_and_leaves_it_to_its_caller_to_repeat_it_after_a_401() {
    let fifo = Scripted::new([
        Status(503, &[], NOTHING),
        Status(200, &[], GRANTED),
        Status(401, &[], NOTHING),
        Fails(TransportErrorKind::Lost),
        Status(200, &[], r#"{"access_token":"T2"}"#),
        Status(204, &[], NOTHING),
    ]);
    let writer = writer(&fifo, password());
    let delete = || writer.delete_local(vm_id(), backup_id(), None);
    assert!(is_unauthorized(&delete().await.unwrap()));
    assert!(matches!(delete().await.unwrap(), WriteAnswer::Accepted { .. }));
    let deletes: Vec<_> = fifo.sent().into_iter().filter(|request| request.starts_with("DELETE")).collect();
    assert_eq!(deletes.len(), 2);
    assert_eq!(fifo.sent_body(5), r#"{"location":"hypervisor"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_tried_once_in_a_clients_life() {
    for (status, body) in [(400, DENIED), (401, NOTHING)] {
        let fifo = Scripted::new([Status(status, &[], body)]);
        let writer = writer(&fifo, password());
        let client = writer.read();
        let (one, two) = tokio::join!(client.list(), client.vm(vm_id()));
        let three = client.list().await;
        let four = writer.delete_local(vm_id(), backup_id(), None).await;
        for error in [one.unwrap_err(), two.unwrap_err(), three.unwrap_err(), four.unwrap_err()] {
            let message = message(&error);
            assert!(message.starts_with("https://fifo.example.com refuses to sign in `admin`"), "{message}");
            assert!(!message.contains("hunter2"));
        }
        assert_eq!(fifo.sent(), ["POST /api/3/oauth/token (Fresh)"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_store_that_does_not_answer_is_no_wrong_password() {
    let fifo = Scripted::new([
        Status(400, &[], STORE_DOWN),
        Status(400, &[], r#"{"error":"temporarily_unavailable"}"#),
        Status(400, &[], STORE_DOWN),
        Status(400, &[], STORE_DOWN),
        Status(400, &[], STORE_DOWN),
        Status(200, &[], GRANTED),
        Status(204, &[], NOTHING),
    ]);
    // What it was decided by is old by the time the user is signed in.
    let writer = writer(&fifo, password());
    let answer = writer.delete_local(vm_id(), backup_id(), None).await.unwrap();
    assert!(is_unauthorized(&answer));
    assert!(fifo.sent().iter().all(|sent| sent.starts_with("POST /api/3/oauth/token")));
    let answer = writer.delete_local(vm_id(), backup_id(), None).await.unwrap();
    assert!(matches!(answer, WriteAnswer::Accepted { .. }));

    let fifo = Scripted::new((0..100).map(|_| Status(400, &[], STORE_DOWN)));
    let error = client(&fifo, password()).list().await.unwrap_err();
    assert!(matches!(error, FifoError::TimedOut { .. }) && !error.is_refusal(), "{error}");
    let message = message(&error);
    assert!(message.contains("does not answer (server_error)"), "{message}");
    assert!(!message.contains("check user and password"), "{message}");
    assert!(!error.is_silence(), "the address is right");
}

#[tokio::test(start_paused = true)]
async fn one_401_to_a_good_token_is_not_believed() {
    for credentials in [token(), token_first()] {
        let fifo = Scripted::new([
            Status(401, &[], NOTHING),
            Status(200, &[], ONE_VM),
            Status(401, &[], NOTHING),
            Status(401, &[], NOTHING),
            Status(204, &[], NOTHING),
        ]);
        let begin = Instant::now();
        let writer = writer(&fifo, credentials);
        assert_eq!(writer.read().list().await.unwrap().visible, 1);
        assert!((2..4).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
        let delete = || writer.delete_local(vm_id(), backup_id(), None);
        assert!(is_unauthorized(&delete().await.unwrap()));
        assert!(is_unauthorized(&delete().await.unwrap()));
        assert!(matches!(delete().await.unwrap(), WriteAnswer::Accepted { .. }));
        assert!((8..11).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_to_a_new_token_is_not_believed_while_the_user_store_is_down() {
    let fifo = Scripted::new([
        Status(200, &[], GRANTED),
        Status(401, &[], NOTHING),
        Status(400, &[], STORE_DOWN),
        Status(400, &[], STORE_DOWN),
        Status(200, &[], r#"{"access_token":"T2"}"#),
        Status(200, &[], ONE_VM),
    ]);
    assert_eq!(client(&fifo, password()).list().await.unwrap().visible, 1);
    assert_eq!(fifo.sent_header(5, "authorization").unwrap(), "Bearer T2");
}

fn is_unauthorized(answer: &WriteAnswer) -> bool {
    matches!(answer, WriteAnswer::Refused { status: StatusCode::UNAUTHORIZED, .. })
}

/// Repeats a delete until the 401 counts as final.
async fn refused_delete(writer: &WriteClient) -> FifoError {
    loop {
        match writer.delete_local(vm_id(), backup_id(), None).await {
            Ok(answer) => assert!(is_unauthorized(&answer)),
            Err(error) => return error,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_given_token_that_is_refused_three_times_is_reported_and_sent_no_more() {
    let refusals = || Scripted::new((0..3).map(|_| Status(401, &[], NOTHING)));
    let (reads, writes) = (refusals(), refusals());
    let reader = client(&reads, token());
    let error = reader.list().await.unwrap_err();
    assert!(matches!(error, FifoError::TokenRefused { .. }) && message(&error).contains("FIFO_TOKEN"));
    assert!(matches!(reader.vm(vm_id()).await, Err(FifoError::TokenRefused { .. })));
    let begin = Instant::now();
    let error = refused_delete(&writer(&writes, token())).await;
    assert!(matches!(error, FifoError::TokenRefused { .. }));
    assert_eq!(begin.elapsed().as_secs(), 6, "two pauses, of 2 s and 4 s");
    assert_eq!((reads.sent().len(), writes.sent().len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_is_refused_three_times_is_reported() {
    let script = || {
        let once = || [Status(200, &[], GRANTED), Status(401, &[], NOTHING)];
        Scripted::new(once().into_iter().chain(once()).chain(once()))
    };
    let error = client(&script(), password()).list().await.unwrap_err();
    assert!(matches!(error, FifoError::TokenRefused { .. }));
    let error = refused_delete(&writer(&script(), password())).await;
    assert!(matches!(error, FifoError::TokenRefused { .. }));
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_refused_together_count_once() {
    let answers = (0..8).map(|_| Status(401, &[], NOTHING)).chain((0..8).map(|_| Status(200, &[], ONE_VM)));
    let fifo = Scripted::new(answers);
    let client = client(&fifo, token());
    let lists = futures::future::join_all((0..8).map(|_| client.list())).await;
    assert!(lists.iter().all(|list| list.as_ref().is_ok_and(|list| list.visible == 1)));
}

#[tokio::test(start_paused = true)]
async fn after_an_expired_token_the_user_is_signed_in() {
    let mut answers: Vec<_> = (0..3).map(|_| Status(401, &[], NOTHING)).collect();
    answers.extend([Status(200, &[], GRANTED), Status(200, &[], ONE_VM), Status(204, &[], NOTHING)]);
    let fifo = Scripted::new(answers);
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap())).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let writer = writer(&fifo, token_first());
    assert_eq!(writer.read().list().await.unwrap().visible, 1);
    drop(guard);
    let logged = std::fs::read_to_string(log.path()).unwrap();
    assert!(logged.contains("no longer accepts FIFO_TOKEN: signing in as `admin`"), "{logged}");
    assert!(!logged.contains("hunter2") && !logged.contains("given-token"), "{logged}");
    writer.delete_local(vm_id(), backup_id(), None).await.unwrap();
    assert_eq!(fifo.sent_header(2, "authorization").unwrap(), "Bearer given-token");
    for at in [4, 5] {
        assert_eq!(fifo.sent_header(at, "authorization").unwrap(), "Bearer T1");
    }
}
