//! A run that a test watches while it goes on.

use crate::cloud::Cloud;
use crate::harness::Ended;
use crate::web::until;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A started program whose output is taken in while it runs, however much there is; it is ended in any case.
pub(crate) struct Running {
    child: Child,
    lines: [Arc<Mutex<String>>; 2],
    pipes: Vec<JoinHandle<()>>,
    /// How many lines of standard output have been waited for.
    seen: usize,
}

impl Running {
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
        Self { child, lines, pipes, seen: 0 }
    }

    /// Starts `reconcile` on a cloud, with its events as output.
    pub(crate) fn reconcile(cloud: &Cloud) -> Self {
        Self::start(cloud.folder.asking(&cloud.fifo, &["--format", "json", "reconcile"]))
    }

    /// Waits for such an event on standard output, and returns it.
    #[track_caller]
    pub(crate) fn until(&mut self, event: &str) -> Value {
        let (lines, seen) = (Arc::clone(&self.lines[0]), &mut self.seen);
        until(event, || {
            let lines = lines.lock().unwrap();
            let found = lines.lines().skip(*seen).enumerate().find_map(|(place, line)| {
                let line: Value = serde_json::from_str(line).unwrap();
                (line["event"] == event).then_some((place, line))
            });
            *seen = found.as_ref().map_or(lines.lines().count(), |(place, _)| *seen + place + 1);
            found.map(|(_, line)| line)
        })
    }

    /// Returns what has come on standard error so far.
    pub(crate) fn err(&self) -> String {
        self.lines[1].lock().unwrap().clone()
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
        let code = self.child.wait().unwrap().code();
        for pipe in std::mem::take(&mut self.pipes) {
            pipe.join().unwrap();
        }
        let [out, err] = [0, 1].map(|place| self.lines[place].lock().unwrap().clone());
        Ended { code, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
