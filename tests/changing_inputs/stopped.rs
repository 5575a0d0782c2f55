//! A process that is stopped at a moment, looked at, and let go on.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than any of these processes takes.
const MOST: Duration = Duration::from_secs(60);

/// A running qlua.
pub struct Running(Child);

/// How it ended.
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub said: String,
}

impl Running {
    /// Starts the built binary in `place`.
    pub fn start(place: &Path, words: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(place).stdin(Stdio::null());
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until `condition` holds; whether it did before the end.
    pub fn wait_for(&mut self, condition: impl Fn(&Running) -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < MOST {
            if self.0.try_wait().unwrap().is_some() {
                return false;
            }
            if condition(self) {
                return true;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        panic!("it neither ends nor goes on");
    }

    /// Whether a file whose path holds `part` is mapped.
    pub fn maps(&self, part: &str) -> bool {
        fs::read_to_string(format!("/proc/{}/maps", self.0.id())).is_ok_and(|maps| maps.contains(part))
    }

    /// Whether it has said something on its standard output.
    pub fn has_spoken(&self) -> bool {
        let Some(out) = &self.0.stdout else { return false };
        let mut waiting: libc::c_int = 0;
        // SAFETY: the call writes the number of bytes that wait in the pipe into the number that it is given.
        let code = unsafe { libc::ioctl(out.as_raw_fd(), libc::FIONREAD, &raw mut waiting) };
        assert_eq!(code, 0);
        waiting > 0
    }

    /// Stops all of its threads; whether it had not ended before.
    pub fn stop(&mut self) -> bool {
        self.signal(libc::SIGSTOP);
        let stat = format!("/proc/{}/stat", self.0.id());
        loop {
            let stat = fs::read_to_string(&stat).unwrap();
            match stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()) {
                Some("T") => return true,
                Some("Z" | "X") => return false,
                _ => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    /// Lets it go on to its end.
    pub fn go_on(self) -> Ended {
        self.signal(libc::SIGCONT);
        let Output { status, stdout, stderr } = self.0.wait_with_output().unwrap();
        let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        Ended { code: status.code(), signal: status.signal(), said }
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: it is a child that was not waited for, so that the number is no other process's.
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, signal) }, 0);
    }
}
