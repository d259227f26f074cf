//! A run that a test watches while it goes on.

use crate::cloud::Cloud;
use crate::harness::Ended;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A started program that writes its events to standard output; it is ended in any case.
pub(crate) struct Watched {
    child: Child,
    out: BufReader<ChildStdout>,
    lines: String,
}

impl Watched {
    /// Starts a command of which the arguments say `--format json`.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, lines: String::new() }
    }

    /// Starts `reconcile` on a cloud.
    pub(crate) fn reconcile(cloud: &Cloud) -> Self {
        Self::start(cloud.folder.asking(&cloud.fifo, &["--format", "json", "reconcile"]))
    }

    /// Waits for such an event, and returns it.
    #[track_caller]
    pub(crate) fn until(&mut self, event: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "no {event} among\n{}", self.lines);
            self.lines.push_str(&line);
            let lines: Value = serde_json::from_str(&line).unwrap();
            if lines["event"] == event {
                return lines;
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut err = String::new();
        self.out.read_to_string(&mut self.lines).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended { code, out: std::mem::take(&mut self.lines), err }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A started program whose output is taken in while it runs, however much there is; it is ended in any case.
pub(crate) struct Collected {
    child: Child,
    lines: [Arc<Mutex<String>>; 2],
    pipes: Vec<JoinHandle<()>>,
}

impl Collected {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines: [Arc<Mutex<String>>; 2] = Default::default();
        let out: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        let err: Box<dyn Read + Send> = Box::new(child.stderr.take().unwrap());
        let pipes = [out, err].into_iter().zip(&lines).map(|(pipe, lines)| {
            let lines = Arc::clone(lines);
            thread::spawn(move || {
                let mut pipe = BufReader::new(pipe);
                let mut line = String::new();
                while pipe.read_line(&mut line).unwrap() > 0 {
                    lines.lock().unwrap().push_str(&std::mem::take(&mut line));
                }
            })
        });
        let pipes = pipes.collect();
        Self { child, lines, pipes }
    }

    /// Returns what has come on standard error so far.
    pub(crate) fn err(&self) -> String {
        self.lines[1].lock().unwrap().clone()
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        for pipe in std::mem::take(&mut self.pipes) {
            pipe.join().unwrap();
        }
        let [out, err] = [0, 1].map(|place| self.lines[place].lock().unwrap().clone());
        Ended { code, out, err }
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
