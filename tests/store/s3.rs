//! Stores that misbehave, and large ones.

use crate::cloud::{Cloud, found, verified};
use crate::faults::{FULL, VM, sent};
use crate::server::{Answer, Asked, serve};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A cloud with one backup, and a list of its objects.
fn one() -> (Cloud, Vec<u8>, String) {
    let cloud = Cloud::new();
    let bytes = sent(VM, "", FULL, 1, 0).packed();
    cloud.backup(VM, FULL, None, &[("", bytes.clone())]);
    let entry = |key: &str, size| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-30T10:00:00.000Z</LastModified><Size>{size}</Size></Contents>"
        )
    };
    let list = format!(
        "<ListBucketResult><IsTruncated>false</IsTruncated>{}{}</ListBucketResult>",
        entry(&format!("{VM}/{FULL}"), bytes.len()),
        entry(&format!("{VM}/{FULL}.xml"), 9)
    );
    (cloud, bytes, list)
}

/// How a store answers: the request, its number, the object and the list.
type Answering = fn(&Asked, usize, &[u8], &str) -> Answer;

/// Verifies against a store that answers so; each request of an object has its number.
fn verify(
    answer: impl Fn(&Asked, usize, &[u8], &str) -> Answer + Send + Sync + 'static,
) -> (i32, Value, usize) {
    let (cloud, bytes, list) = one();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = serve(move |asked| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        answer(asked, number, &bytes, &list)
    });
    let mut program = cloud.program();
    program.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    program.args(["--format", "json", "--timeout", "5s", "verify", "--depth", "full"]);
    let (code, report) = verified(program.args(["--store", "s3://fifo", "--store-endpoint", &address]));
    (code, report, count.load(Ordering::SeqCst))
}

fn is_list(asked: &Asked) -> bool {
    asked.path.starts_with("/fifo/?")
}

fn usual(asked: &Asked, bytes: &[u8], list: &str) -> Answer {
    if is_list(asked) { Answer::new(200, list) } else { Answer::part(bytes, asked.range) }
}

#[test]
fn what_passes_is_tried_again_and_a_read_goes_on_where_it_broke_off() {
    let cases: [(&str, Answering); 5] = [
        ("503 at times", |asked, number, bytes, list| {
            if number % 2 == 0 {
                Answer::new(503, "<Error><Code>SlowDown</Code></Error>")
            } else {
                usual(asked, bytes, list)
            }
        }),
        ("cut lists and bodies", |asked, number, bytes, list| {
            let cut = if number % 2 == 0 { Some(30_000) } else { None };
            let cut = if is_list(asked) && cut.is_some() { Some(40) } else { cut };
            Answer { cut, ..usual(asked, bytes, list) }
        }),
        ("always cut after some bytes", |asked, _, bytes, list| Answer {
            cut: (!is_list(asked)).then_some(25_000),
            ..usual(asked, bytes, list)
        }),
        ("slow", |asked, _, bytes, list| Answer {
            pause: Duration::from_millis(5),
            ..usual(asked, bytes, list)
        }),
        (
            "no ranges",
            |asked, _, bytes, list| {
                if is_list(asked) { Answer::new(200, list) } else { Answer::new(200, bytes) }
            },
        ),
    ];
    for (what, answer) in cases {
        let (code, report, _) = verify(answer);
        assert_eq!(code, 0, "{what}: {report:#}");
        assert_eq!(report["summary"]["read"], 1, "{what}");
    }
}

#[test]
fn what_cannot_be_read_is_never_taken_for_broken_or_for_good() {
    let cases: [(&str, i32, Answering); 6] = [
        ("another range", 2, |asked, _, bytes, list| {
            let range = asked.range.map(|(from, to)| (from + 1, to));
            usual(&Asked { range, ..asked.clone() }, bytes, list)
        }),
        ("cut for ever", 2, |asked, _, bytes, list| Answer {
            cut: (!is_list(asked)).then_some(0),
            ..usual(asked, bytes, list)
        }),
        ("500 for an object", 2, |asked, _, bytes, list| {
            if is_list(asked) { usual(asked, bytes, list) } else { Answer::new(500, "") }
        }),
        ("refused", 1, |_, _, _, _| Answer::new(403, "<Error><Code>AccessDenied</Code></Error>")),
        ("no list", 1, |_, _, _, _| Answer::new(200, "<html>login</html>")),
        ("down", 1, |_, _, _, _| Answer::new(503, "")),
    ];
    for (what, expected, answer) in cases {
        let (code, report, _) = verify(answer);
        assert_eq!(code, expected, "{what}: {report:#}");
        if code == 2 {
            assert_eq!(found(&report).0, [""; 0], "{what}: {report:#}");
            assert_eq!(report["summary"]["restorable"], 0, "{what}");
            assert!(report["summary"]["unread"].as_u64().unwrap() > 0, "{what}");
        }
    }
}

#[test]
fn an_object_that_goes_with_its_record_is_nothing() {
    let (code, report, _) =
        verify(
            |asked, _, bytes, list| {
                if is_list(asked) { usual(asked, bytes, list) } else { Answer::new(404, "") }
            },
        );
    // Its record is still there.
    assert_eq!((code, found(&report).0), (2, vec![format!("missing {VM}/{FULL}")]), "{report:#}");
}

#[test]
fn a_bucket_of_a_hundred_thousand_objects_is_listed_to_its_end() {
    const OBJECTS: usize = 100_000;
    let (code, report, requests) = verify(|asked, _, bytes, list| {
        if !is_list(asked) {
            return usual(asked, bytes, list);
        }
        let marker = asked.path.split("marker=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
        let start = marker.strip_prefix("x").map_or(0, |number| number.parse::<usize>().unwrap() + 1);
        let end = (start + 1000).min(OBJECTS);
        let mut page = format!("<ListBucketResult><IsTruncated>{}</IsTruncated>", end < OBJECTS);
        for number in start..end {
            page.push_str(&format!("<Contents><Key>x{number:06}</Key><Size>2</Size></Contents>"));
        }
        if end == OBJECTS {
            page.push_str(
                &list[list.find("<Contents>").unwrap()..list.rfind("</ListBucketResult>").unwrap()],
            );
        }
        Answer::new(200, page + "</ListBucketResult>")
    });
    assert_eq!((code, &report["summary"]["unknown_objects"]), (0, &Value::from(OBJECTS)));
    assert_eq!(report["summary"]["unknown_bytes"], 2 * OBJECTS);
    assert!(requests >= 100, "{requests}");
}
