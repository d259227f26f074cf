//! How fast a stored backup is read whole, and in how much memory, beside `gunzip | sha1sum` on the same file.
//!
//! `cargo bench --bench verify -- 4` builds an object of 4 GiB unpacked (default: 1).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark may")]
#![allow(clippy::print_stdout, reason = "its figures")]

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const VM: &str = "11111111-0000-4000-8000-000000000001";
const BACKUP: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const BLOCK: usize = 128 << 10;

fn main() {
    let gib: u64 = std::env::args().filter_map(|it| it.parse().ok()).next().unwrap_or(1);
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("store").join(VM).join(BACKUP);
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    build(&object, (gib << 30) / BLOCK as u64);
    let size = fs::metadata(&object).unwrap().len();
    println!("{gib} GiB unpacked, {} MiB stored", size >> 20);

    for _ in 0..3 {
        let began = Instant::now();
        let pipe = format!("gunzip <{} | sha1sum", object.display());
        assert!(Command::new("sh").args(["-c", &pipe]).stdout(Stdio::null()).status().unwrap().success());
        println!("gunzip | sha1sum      {:6.2} s", began.elapsed().as_secs_f64());
        let (took, peak_kib) = verify(folder.path(), size);
        println!("verify --depth full   {:6.2} s, {} MiB of memory", took.as_secs_f64(), peak_kib >> 10);
    }
}

/// Runs the program; returns how long it took and its peak memory in KiB.
fn verify(folder: &Path, size: u64) -> (Duration, u64) {
    let list = format!(
        "[{{\"uuid\":\"{VM}\",\"alias\":\"web\",\"state\":\"running\",\"hypervisor\":\"h\",\"backups\":{{\"{BACKUP}\":{{\
         \"state\":\"completed\",\"timestamp\":1795383403000000,\"size\":{size},\"files\":[\"{VM}/{BACKUP}\"]}}}}}}]"
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let length = list.len();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            // The program may have what it needs already.
            let _ = write!(&stream, "{head}content-length: {length}\r\n\r\n{list}");
        }
    });
    let began = Instant::now();
    let mut program = Command::new(env!("CARGO_BIN_EXE_fifo-retain"))
        .args(["--quiet", "verify", "--depth", "full", "--store"])
        .arg(format!("file://{}", folder.join("store").display()))
        .env("FIFO_ENDPOINT", endpoint)
        .env("FIFO_TOKEN", "t")
        .env("FIFO_RETAIN_STATE_DIR", folder.join("state"))
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", program.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = high.and_then(|text| text.split_whitespace().next()?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(ended) = program.try_wait().unwrap() {
            assert!(ended.success(), "{ended}");
            return (began.elapsed(), peak);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Writes an object with so many blocks, each half of it noise: what `gzip -1` makes of disks packs about as well.
fn build(path: &Path, blocks: u64) {
    let gzip = GzEncoder::new(BufWriter::new(File::create(path).unwrap()), Compression::fast());
    let mut out = Out { gzip, sum: [0; 4] };
    let mut begin = [0; 312];
    for (at, value) in [(8, 0x2_f5ba_cbac_u64), (16, 1), (32, 2), (40, 7)] {
        begin[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let name = format!("zones/{VM}@{BACKUP}");
    begin[56..56 + name.len()].copy_from_slice(name.as_bytes());
    out.write(&begin);
    let mut random = fastrand::Rng::with_seed(1);
    let mut block = vec![0; BLOCK];
    for _ in 0..blocks {
        let mut write = [0; 312];
        write[0] = 3;
        write[32..40].copy_from_slice(&(BLOCK as u64).to_le_bytes());
        out.write(&write);
        random.fill(&mut block[..BLOCK / 2]);
        out.write(&block);
    }
    let mut end = [0; 312];
    end[0] = 5;
    for (place, sum) in out.sum.into_iter().enumerate() {
        end[8 + place * 8..16 + place * 8].copy_from_slice(&sum.to_le_bytes());
    }
    end[40] = 7;
    out.write(&end);
    out.gzip.finish().unwrap().flush().unwrap();
}

struct Out {
    gzip: GzEncoder<BufWriter<File>>,
    sum: [u64; 4],
}

impl Out {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks_exact(4) {
            let mut next = u64::from(u32::from_le_bytes(word.try_into().unwrap()));
            for sum in &mut self.sum {
                *sum = sum.wrapping_add(next);
                next = *sum;
            }
        }
        self.gzip.write_all(bytes).unwrap();
    }
}
