//! The program against moto, an S3 server that nobody here wrote and that checks signatures.
//!
//! Where Python has no moto of 5.2.5 or later (`pip install 'moto[s3,server]'`), this says so and is skipped; FIFO_RETAIN_PYTHON names a Python that
//! has it.

use crate::cloud::{found, verified};
use crate::faults::cloud;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Moto {
    process: Child,
    told: Value,
}

impl Moto {
    fn start(folder: &Path, extra: usize) -> Option<Self> {
        let python = std::env::var("FIFO_RETAIN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        // Older ones refuse the lists of boto3 as well.
        let wanted =
            "import moto.server, boto3; assert tuple(map(int, moto.__version__.split('.')[:3])) >= (5, 2, 5)";
        let has_moto = Command::new(&python).args(["-c", wanted]).output();
        if !has_moto.is_ok_and(|output| output.status.success()) {
            println!(
                "skipped: {python} has no moto 5.2.5 or later (pip install 'moto[s3,server]', or set FIFO_RETAIN_PYTHON)"
            );
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/serve_bucket.py");
        let mut process = Command::new(python)
            .args([script.as_os_str(), folder.as_os_str()])
            .arg(extra.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let told = lines.find_map(|line| serde_json::from_str(&line.unwrap()).ok()).unwrap();
        Some(Self { process, told })
    }

    fn text(&self, key: &str) -> &str {
        self.told[key].as_str().unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_bucket_is_verified_as_a_folder_is() {
    let cloud = cloud();
    cloud.put("README", b"hello");
    let Some(moto) = Moto::start(&cloud.store(), 2_500) else { return };
    let verify = |id: &str, secret: &str, arguments: &[&str]| {
        let mut program = cloud.program();
        program.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
        program.args(["--format", "json", "verify", "--store-endpoint", moto.text("endpoint")]);
        verified(program.args(arguments))
    };
    let (id, secret) = (moto.text("id"), moto.text("secret"));
    let of_folder = cloud.verify(&["--depth", "full"]);
    let (code, report) = verify(id, secret, &["--store", "s3://fifo/leo", "--depth", "full"]);
    assert_eq!((code, of_folder.0), (0, 0), "{report:#}");
    assert_eq!(found(&report), (vec![], vec![]));
    assert_eq!(report["store"], "s3://fifo/leo");
    for same in ["objects", "restorable", "read", "read_bytes"] {
        assert_eq!(report["summary"][same], of_folder.1["summary"][same], "{same}");
    }
    assert_eq!(report["summary"]["unknown_objects"], 2_501, "all pages of the list");
    let (code, report) = verify(id, secret, &["--store", "s3://fifo/leo/", "--vm", "web-2"]);
    assert_eq!((code, &report["summary"]["objects"]), (0, &json!(6)), "{report:#}");

    for (id, secret, store, told) in [
        (id, "wrong", "s3://fifo/leo", "SignatureDoesNotMatch"),
        ("AKIAWRONG", secret, "s3://fifo/leo", "InvalidAccessKeyId"),
        (id, secret, "s3://elsewhere", "no bucket elsewhere"),
        (id, secret, "s3://fifo/leo/deeper", "lacks 14 of the 14"),
    ] {
        let (code, failed) = verify(id, secret, &["--store", store]);
        let text = failed["err"].as_str().unwrap();
        assert!(code == 1 && text.contains(told), "{told}: {text}");
        assert!(!text.contains(moto.text("secret")) && !text.contains("Signature="), "{text}");
    }
    let none = cloud.program().args(["verify", "--store", "s3://fifo/leo"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8(none.stderr).unwrap().contains("AWS_ACCESS_KEY_ID"));
}
