//! Wall time, CPU time and peak memory of a process.

use std::fs;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the memory of a process is looked at. Its peak only grows, so that just the last moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How often each command is run.
pub(crate) const TURNS: usize = 5;

/// What one run of a process took.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) wall: Duration,
    /// User and system time, in steps of 10 ms.
    pub(crate) cpu: Duration,
    pub(crate) peak_kib: u64,
}

/// Runs a command to its end, with its output read and dropped.
pub(crate) fn run(command: &mut Command) -> io::Result<Run> {
    let errors = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors.try_clone()?);
    let started = Instant::now();
    let mut child = command.spawn()?;
    let ended = AtomicBool::new(false);
    let pid = child.id();
    let (wall, peak_kib) = thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak_kib = 0;
            while !ended.load(Ordering::SeqCst) {
                peak_kib = peak_kib.max(memory_kib(pid).unwrap_or(0));
                thread::sleep(LOOK_EVERY);
            }
            peak_kib
        });
        let drained = drain(&mut child);
        let wall = started.elapsed();
        ended.store(true, Ordering::SeqCst);
        drained.map(|()| (wall, peak.join().unwrap_or(0)))
    })?;
    // It is a zombie by now, or soon, and still has its times.
    let cpu = loop {
        match cpu_of_zombie(pid) {
            Some(cpu) => break cpu,
            None => thread::sleep(Duration::from_micros(50)),
        }
    };
    let status = child.wait()?;
    if !status.success() {
        let mut text = String::new();
        let mut errors = errors;
        io::Seek::rewind(&mut errors)?;
        errors.read_to_string(&mut text)?;
        panic!("{command:?}: {status}\n{text}");
    }
    Ok(Run { wall, cpu, peak_kib })
}

/// Reads what a process writes until it closes it, which it does at its end.
fn drain(child: &mut Child) -> io::Result<()> {
    let Some(out) = &mut child.stdout else { return Ok(()) };
    let mut buffer = vec![0; 64 << 10];
    while out.read(&mut buffer)? > 0 {}
    Ok(())
}

fn memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Returns the CPU time of a process that has ended; `None` where it still runs.
fn cpu_of_zombie(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The fields behind the name, which is in parentheses: the state is the first, utime and stime the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    (*fields.first()? == "Z").then_some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// The runs of one command.
#[derive(Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    pub(crate) fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    pub(crate) fn least(&self) -> Duration {
        self.0.iter().map(|run| run.wall).min().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.middle(|run| run.wall)
    }

    pub(crate) fn cpu(&self) -> Duration {
        self.middle(|run| run.cpu)
    }

    pub(crate) fn peak_mib(&self) -> u64 {
        self.0.iter().map(|run| run.peak_kib).max().unwrap_or(0).div_ceil(1024)
    }

    fn middle(&self, of: impl Fn(&Run) -> Duration) -> Duration {
        let mut all: Vec<Duration> = self.0.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }
}

/// Describes the machine: cores, memory and the processor's name.
pub(crate) fn machine() -> String {
    let date = chrono::Utc::now().format("%Y-%m-%d");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let processor = field(&read("/proc/cpuinfo"), "model name");
    format!("{date}, {cores} cores ({processor}), {} GiB", memory_kib >> 20)
}

/// Writes a time for a table.
pub(crate) fn shown(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}
