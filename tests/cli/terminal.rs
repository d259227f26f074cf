//! A program on a terminal of its own, with a person at it who reads and answers.

use crate::cloud::Cloud;
use crate::harness::Ended;
use crate::web::until;
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

pub(crate) struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts the program on a cloud's FiFo. util-linux' `script` makes the terminal.
    pub(crate) fn start(cloud: &Cloud, arguments: &[&str]) -> Self {
        Self::of_kind(cloud, arguments, "dumb")
    }

    /// The same on a terminal of a kind: on `xterm` there are bars.
    pub(crate) fn of_kind(cloud: &Cloud, arguments: &[&str], kind: &str) -> Self {
        let asking = cloud.folder.asking(&cloud.fifo, arguments);
        let words = std::iter::once(asking.get_program()).chain(asking.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut command = Command::new("script");
        command.args(["-qec", &line.join(" "), "/dev/null"]);
        command.env_clear().envs(asking.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
            .env("TERM", kind)
            .env("LANG", "C.UTF-8")
            .env("PATH", "/usr/bin:/bin")
            .current_dir(asking.get_current_dir().unwrap());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let keys = child.stdin.take().unwrap();
        let mut out = child.stdout.take().unwrap();
        let shown = Arc::<Mutex<String>>::default();
        let to = Arc::clone(&shown);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, keys, shown, reader }
    }

    /// Waits until something is shown.
    #[track_caller]
    pub(crate) fn until(&self, words: &str) {
        until(words, || self.shown.lock().unwrap().contains(words).then_some(()));
    }

    /// Types a line.
    pub(crate) fn answer(&mut self, line: &str) {
        writeln!(self.keys, "{line}").unwrap();
    }

    /// Waits for its end; everything that was shown is in `out`.
    pub(crate) fn end(mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        self.reader.join().unwrap();
        let out = self.shown.lock().unwrap().clone();
        Ended { code, out, err: String::new() }
    }
}
