use crate::harness::{AT, Ended, Fifo, Folder, GRANDFATHER};
use serde_json::Value;

const KEPT: [(&str, u32); 3] =
    [("type: full", 12), ("SUN\", type: incremental", 5), ("* * *\", type: incremental", 7)];

/// The grandfather scheme with so many kept, and pruned where the command says so.
fn keeping(dailies: u32) -> String {
    let mut text = GRANDFATHER.to_owned();
    for (tier, keep) in KEPT {
        let keep = if keep == 7 { dailies } else { keep };
        text = text.replacen(tier, &format!("{tier}, keep: {keep}"), 1);
    }
    format!("{text}prune: true\n")
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("policies/grandfather.yaml", &keeping(7));
    folder
}

/// Simulates one VM of which nothing is known, from the beginning of 2027 on.
fn alone(folder: &Folder, arguments: &[&str]) -> Ended {
    folder.run(&[&["simulate", "--from", "2027-01-01T00:05:00Z"], arguments].concat())
}

#[test]
fn without_a_fifo_it_is_one_vm_a_policy_with_a_calendar_a_table_and_a_sentence() {
    let line = [
        "--prune",
        "--days",
        "130",
        "--down",
        "2027-02-10..2027-02-13",
        "--uploads-fail",
        "2027-03-03..2027-03-05",
    ];
    let ended = alone(&folder(), &line).code(0);
    assert!(ended.err.contains("no FiFo is named: beginning with one VM"), "{}", ended.err);
    insta::assert_snapshot!(ended.out, @r"
    grandfather, 1 VM
    Made: m monthly, w weekly, d daily; a capital is a full backup, a point none.

             1   5    10   15   20   25   30
    2027-01  Mdwddddddwddddddwddddddwddddddw
    2027-02  Mdddddwdd...dwddddddwddddddw
    2027-03  Md..ddwddddddwddddddwddddddwddd
    2027-04  Mddwddddddwddddddwddddddwddddd
    2027-05  Mwddddddwdd

      month    stored      bytes  chain   restore     age  full  incr  pruned  local
      2027-01      18   90.3 GiB     11  75.9 GiB    23 h     1    30      13      2
      2027-02      23  162.7 GiB     11  72.3 GiB  3 days     1    24      20      2
      2027-03      20  195.5 GiB     10  75.9 GiB    71 h     1    28      42      3
      2027-04      23  234.3 GiB     10  74.7 GiB    23 h     1    29      27      2
      2027-05      19  247.9 GiB     10  51.9 GiB    23 h     1    10      15      2

    You can go back to any day of the last 7, any Sunday of the last 5 weeks, the 1st of each of the last 5
    months; a restore reads at most 11 backups, 75.9 GiB; storage is 247.9 GiB in the end and does not settle
    within the simulated time.

    A day without a run costs no backup: the next run makes up for it; until then the newest one gets 47 h old.
    ");
    assert_eq!(alone(&folder(), &line).out, ended.out, "the same each time");
    let page = alone(&folder(), &[&["--format", "markdown"][..], &line].concat()).code(0).out;
    assert!(
        page.contains("\n| 2027-02 | 23 | 162.7 GiB |") && page.contains("\n2027-02  Mdddddwdd...d"),
        "{page}"
    );
}

#[test]
fn as_json_it_is_the_days_and_beside_them_those_of_the_policies_before() {
    let folder = folder();
    folder.write("main/grandfather.yaml", &keeping(2));
    folder.write("main/old.yaml", &GRANDFATHER.replace("grandfather", "old"));
    let line = [
        "--format",
        "json",
        "--days",
        "20",
        "--prune",
        "--against",
        "main",
        "--vm-size",
        "1GiB",
        "--change-rate",
        "50%",
    ];
    let document: Value = serde_json::from_str(&alone(&folder, &line).code(0).out).unwrap();
    assert_eq!(document["format"], "fifo-retain.simulation/1");
    assert_eq!(
        (&document["from"], &document["until"]),
        (&"2027-01-01T00:05:00Z".into(), &"2027-01-21T00:05:00Z".into())
    );
    let days = document["policies"][0]["days"].as_array().unwrap();
    let (first, last) = (&days[0], &days[days.len() - 1]);
    let keys: Vec<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "date",
        "stored",
        "local",
        "stored_bytes",
        "local_bytes",
        "full",
        "incremental",
        "pruned",
        "longest_chain",
        "restore_bytes",
        "newest_age_secs",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(
        (&first["date"], &first["full"], &first["stored_bytes"]),
        (&"2027-01-01".into(), &1.into(), &(1_u64 << 30).into())
    );
    // The second is due a day less five minutes later.
    assert_eq!(days[1]["stored_bytes"], 1_608_748_600_u64);
    assert_eq!((days.len(), &last["date"]), (21, &"2027-01-21".into()));
    let names: Vec<&Value> = document["against"].as_array().unwrap().iter().map(|it| &it["policy"]).collect();
    assert_eq!(names, ["grandfather", "old"]);
    let stored = |side: &str| document[side][0]["days"][18]["stored"].as_u64().unwrap();
    assert!(stored("against") < stored("policies"), "{document:#}");

    let text = alone(&folder, &["--days", "20", "--prune", "--against", "main"]).code(0).out;
    for part in [
        "grandfather, 1 VM\n",
        "\nBefore: You can go back to any day of the last 2,",
        "\nold, 1 VM, a policy that is gone\n",
        " -> ",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn with_a_fifo_it_begins_with_what_is_there() {
    let (folder, fifo) = (folder(), Fifo::standing_still());
    let line = ["--format", "json", "simulate", "--from", AT, "--days", "3"];
    let document: Value = serde_json::from_str(&folder.ask(&fifo, &line).code(0).out).unwrap();
    let policy = &document["policies"][0];
    let status: Value =
        serde_json::from_str(&folder.ask(&fifo, &["--format", "json", "status", "--at", AT]).code(0).out)
            .unwrap();
    let vms = status["vms"].as_array().unwrap().iter().filter(|vm| vm["policy"] == "grandfather").count();
    assert_eq!(policy["vms"], vms);
    assert!(policy["days"][0]["stored"].as_u64() > Some(20), "{policy:#}");
    let text = folder.ask(&fifo, &["simulate", "--from", AT, "--days", "3", "--vm", "web-1"]).code(0).out;
    assert!(text.starts_with("grandfather, 1 VM\nMade of web-1: "), "{text}");
    folder.ask(&fifo, &["simulate", "--vm", "nothing-like-it"]).code(1);
}

#[test]
fn as_a_page_it_is_one_file_and_live_it_answers_edits_and_writes_nothing() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let folder = folder();
    let page = alone(&folder, &["--days", "40", "--format", "html", "--prune"]).code(0).out;
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("What can be restored on that day"),
        "{page}"
    );
    let mut command = folder.sealed(&["simulate", "--days", "40", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let asked = |head: &str, body: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        let length = body.len();
        write!(stream, "{head} HTTP/1.1\r\nhost: x\r\ncontent-type: application/yaml\r\ncontent-length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = |body: &str| -> Value {
        serde_json::from_str(asked("POST /simulate", body).split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    assert!(asked("GET /", "").contains("<textarea"));
    let edited = answer(&keeping(3));
    assert!(edited["page"].as_str().unwrap().contains("any day of the last 3,"), "{edited}");
    let broken = answer(&keeping(3).replace("select", "selekt"));
    assert!(
        broken["page"].is_null() && broken["findings"].as_str().unwrap().contains("unknown field `selekt`")
    );
    let often = answer(&keeping(3).replace("0 1 * * *", "* * * * *"));
    assert!(often["findings"].as_str().unwrap().contains("which takes too long here"), "{often}");
    assert!(
        asked("POST /", "").starts_with("HTTP/1.1 404")
            && asked("GET /?file=7", "").starts_with("HTTP/1.1 404")
    );
    assert!(asked("PUT /", "").starts_with("HTTP/1.1 405"));
    child.kill().unwrap();
    child.wait().unwrap();
    let file = std::fs::read_to_string(folder.path("policies/grandfather.yaml")).unwrap();
    assert_eq!(file, keeping(7), "nothing is written");
}
