//! A program on a terminal of its own: what is typed, what is on the screen, and how it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use regex::Regex;

/// How long anything may take to be shown.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What was shown and not yet waited for.
    shown: Vec<u8>,
}

impl Terminal {
    /// Starts `command` on a terminal of 24 rows and as many columns as are said.
    pub fn start(mut command: Command, columns: u16) -> Self {
        let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut ours, mut theirs) = (-1, -1);
        // SAFETY: both descriptors and the size are places of this function; the other two arguments may be null.
        let opened = unsafe {
            libc::openpty(&mut ours, &mut theirs, std::ptr::null_mut(), std::ptr::null_mut(), &size)
        };
        assert_eq!(opened, 0, "a terminal");
        // SAFETY: openpty gave both, and nobody else has them.
        let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
        let stream = || Stdio::from(theirs.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream()).env("TERM", "xterm").env_remove("COLUMNS");
        // SAFETY: both calls are safe between fork and exec: the process gets a session, and the terminal as that session's.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        let (keyboard, mut reading) = (File::from(ours.try_clone().unwrap()), File::from(ours));
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose programs have all ended gives an error.
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { child, keyboard, screen, shown: Vec::new() }
    }

    /// Types `keys`: `\r` is Enter, `\x03` Ctrl-C, `\x04` Ctrl-D, `\t` Tab.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown, and gives all that was shown since what was waited for before.
    pub fn wait_for(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let plain = plain(&self.shown);
            if let Some(at) = plain.find(text) {
                let rest = plain[at + text.len()..].to_string();
                self.shown = rest.into_bytes();
                return plain[..at + text.len()].to_string();
            }
            match self.screen.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(more) => self.shown.extend(more),
                Err(problem) => {
                    let _ = self.child.kill();
                    panic!("`{text}` is not shown ({problem}), but:\n{plain}");
                }
            }
        }
    }

    /// Types `line` and Enter, and gives what is shown until the next prompt, without the line itself.
    pub fn line(&mut self, line: &str) -> String {
        self.keys(&format!("{line}\r"));
        self.wait_for("\n");
        let shown = self.wait_for("> ");
        shown.trim_end_matches("> ").to_string()
    }

    /// Whether what is typed is shown as it is typed, line by line: no editor has the terminal.
    pub fn is_plain(&self) -> bool {
        let mut mode = std::mem::MaybeUninit::<libc::termios>::zeroed();
        // SAFETY: the call fills in the mode, which is plain data that may be all zeros.
        let mode = unsafe {
            assert_eq!(libc::tcgetattr(self.keyboard.as_raw_fd(), mode.as_mut_ptr()), 0);
            mode.assume_init()
        };
        mode.c_lflag & libc::ICANON != 0 && mode.c_lflag & libc::ECHO != 0
    }

    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    /// Whether it comes to its end in time.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Waits for the end, and gives how it ended and what was shown until then.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        // What it started may still have the terminal.
        while let Ok(more) = self.screen.recv_timeout(Duration::from_millis(500)) {
            self.shown.extend(more);
        }
        (status, plain(&self.shown))
    }
}

/// What is left of what went to a screen without its commands.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let commands = Regex::new("\x1b\\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r").unwrap();
    commands.replace_all(&text, "").into_owned()
}
