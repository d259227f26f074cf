//! How long reads are tried again.

use super::*;

/// Answers a few times with 503, and then fails in one way for ever.
struct Failing {
    answers: u64,
    kind: TransportErrorKind,
    takes: Duration,
    asks: &'static [(&'static str, &'static str)],
    sent_at: Mutex<Vec<Instant>>,
}

impl Transport for Failing {
    fn send(&self, _: Request, _: Connection) -> BoxFuture<'_, Result<Response, TransportError>> {
        async move {
            self.sent_at.lock().unwrap().push(Instant::now());
            sleep(self.takes).await;
            if self.sent_at.lock().unwrap().len() as u64 > self.answers {
                return Err(TransportError::new(self.kind, "refused"));
            }
            Ok(response(503, self.asks, Vec::new()))
        }
        .boxed()
    }
}

/// Reads the list in vain; returns the gaps between the requests, the error, and how long it took, in seconds.
async fn in_vain(
    failing: Failing,
    change: impl FnOnce(ClientSettings) -> ClientSettings,
) -> (Vec<f32>, FifoError, f32) {
    let failing = Arc::new(failing);
    let begin = Instant::now();
    let client = ReadClient::new(failing.clone(), change(settings(token())));
    let error = client.list().await.unwrap_err();
    let sent_at = failing.sent_at.lock().unwrap();
    let gaps = sent_at.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f32()).collect();
    (gaps, error, begin.elapsed().as_secs_f32())
}

fn always_503(asks: &'static [(&'static str, &'static str)]) -> Failing {
    let (kind, takes) = (TransportErrorKind::Lost, Duration::ZERO);
    Failing { answers: u64::MAX, kind, takes, asks, sent_at: Mutex::default() }
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_differ_by_seed_and_stay_within_the_time() {
    let read = async |jitter_seed| in_vain(always_503(&[]), |it| ClientSettings { jitter_seed, ..it }).await;
    let (gaps, error, _) = read(1).await;
    for (gap, least) in gaps.iter().zip([0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]) {
        assert!((least..=2.0 * least + 0.01).contains(gap), "{gap} after {least}");
    }
    assert!((8..25).contains(&gaps.len()) && gaps.iter().sum::<f32>() < 120.0);
    assert!(matches!(error, FifoError::TimedOut { last: Some(_), .. }), "{error}");
    assert_eq!(read(1).await.0, gaps);
    assert_ne!(read(2).await.0, gaps);
}

#[tokio::test(start_paused = true)]
async fn what_fifo_asks_for_is_waited_up_to_a_limit_and_never_beyond_the_time_for_a_read() {
    let a_day = [("retry-after", "86400")].as_slice();
    let (gaps, _, took) = in_vain(always_503(a_day), |it| it).await;
    assert!(gaps.len() == 1 && (60.0..60.1).contains(&gaps[0]) && took < 120.0, "{gaps:?}");
    let with_asked_max =
        |asked_max| move |it| ClientSettings { backoff: Backoff { asked_max, ..Backoff::default() }, ..it };
    let asked_max = Duration::from_secs(86_400);
    let (gaps, error, took) = in_vain(always_503(a_day), with_asked_max(asked_max)).await;
    assert!(gaps.is_empty() && took < 1.0, "{gaps:?}");
    assert!(matches!(error, FifoError::TimedOut { attempts: 1, last: Some(_), .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_long_trouble_is_reported_once_and_a_short_one_is_not() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let log_text = || std::fs::read_to_string(log.path()).unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap())).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mishaps = Scripted::new((0..3).map(|_| Status(500, &[], NOTHING)));
    client(&mishaps, token()).list().await.unwrap_err();
    assert_eq!(log_text(), "");
    in_vain(always_503(&[]), |it| it).await;
    assert_eq!(log_text().matches("failed to read the list of VMs: FiFo answered 503").count(), 1);
    assert!(log_text().contains("; retrying for up to 11"), "{}", log_text());
}

#[tokio::test(start_paused = true)]
async fn what_has_never_answered_is_given_up_within_ten_seconds() {
    use TransportErrorKind::{Lost, NotHttp, NotSent, NotTls, Untrusted};
    let never = |answers, kind, takes_ms| {
        let takes = Duration::from_millis(takes_ms);
        Failing { answers, kind, takes, asks: &[], sent_at: Mutex::default() }
    };
    let within = |secs: Option<u64>| {
        move |it| ClientSettings { first_contact_timeout: secs.map(Duration::from_secs), ..it }
    };
    for kind in [NotSent, NotTls, NotHttp, Untrusted] {
        for takes_ms in [0, 1_000, 4_000, 8_000] {
            let (_, _, secs) = in_vain(never(0, kind, takes_ms), within(Some(10))).await;
            assert!(secs < 10.0, "{kind:?}, {takes_ms} ms each: {secs} s");
        }
    }
    for (answers, kind, limit, why) in [
        (1, NotSent, Some(10), "something has answered"),
        (0, NotSent, None, "no task waits"),
        (0, Lost, Some(10), "there was a connection"),
    ] {
        let (_, error, secs) = in_vain(never(answers, kind, 0), within(limit)).await;
        assert!(matches!(error, FifoError::TimedOut { .. }) && secs > 90.0, "{why}: {secs} s");
    }
}
