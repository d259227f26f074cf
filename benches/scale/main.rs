//! How a whole process scales with the cloud: time, CPU and memory of the commands beside those of a bare parse of the same
//! list. `benches/README.md` describes the modes; `benches/run.sh` runs all of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark may, and prints its tables"
)]

mod commands;
mod floor;
mod lists;
mod measure;
mod one_vm;
mod pgbackrest;
mod requests;
mod serve;

use lists::Size;
use std::path::Path;

const USAGE: &str = "\
usage: cargo bench --bench scale -- MODE

  run [VMS ...]                  all measurements, over lists of so many VMs (1000 10000)
  peers                          of these only the one of one VM, beside pgBackRest where it is installed
  requests                       of these only the one of a reconcile with its requests
  floor URL                      read the list at URL as a stream and drop it
  write FILE VMS BACKUPS [due]   write a list as FiFo would send it
  serve FILE [ADDRESS]           serve a list from a file, as it is";

fn main() {
    // `cargo bench` adds an option of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", ref sizes @ ..] => run(sizes),
        ["peers"] => one_vm::with_peers(),
        ["requests"] => requests::of_a_reconcile(),
        ["floor", url] => println!("{}", floor::read(url).unwrap()),
        ["write", file, vms, backups, ref due @ ..] => {
            let size = Size { vms: number(vms), backups: number(backups), due: due == ["due"] };
            println!("{} bytes", lists::write(Path::new(file), size).unwrap());
        }
        ["serve", file, ref address @ ..] => {
            let server = serve::Server::start(Path::new(file), address.first().unwrap_or(&"127.0.0.1:0"));
            println!("{}", server.unwrap().url());
            loop {
                std::thread::park();
            }
        }
        _ => println!("{USAGE}"),
    }
}

fn run(sizes: &[&str]) {
    let sizes: Vec<u32> =
        if sizes.is_empty() { vec![1_000, 10_000] } else { sizes.iter().map(|size| number(size)).collect() };
    println!("{}\n", measure::machine());
    commands::over_lists(&sizes);
    one_vm::with_peers();
    requests::of_a_reconcile();
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number\n{USAGE}"))
}
