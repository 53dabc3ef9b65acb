//! A terminal without a window: a program runs on it, and the test types and sees the screen.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use vt100::Parser;

use crate::support::harness::LIMIT;

pub const CTRL_C: &str = "\u{3}";
pub const TAB: &str = "\t";
pub const ENTER: &str = "\r";
pub const BACKSPACE: &str = "\u{7f}";
pub const DOWN: &str = "\u{1b}[B";
/// Lines that scrolled off the screen and are kept.
const SCROLLBACK: usize = 1_000;

/// A running program and its terminal; the program ends with it.
pub struct Terminal {
    pty: Arc<Pty>,
    seen: Arc<Seen>,
    child: Child,
}

/// What the program has written so far.
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    screen: Parser,
    /// Everything, with the control sequences.
    written: Vec<u8>,
    /// The program and its children have closed the terminal.
    closed: bool,
}

fn positive(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).expect("a terminal has a size")
}

impl Terminal {
    /// Starts a program on a terminal of this size.
    pub fn start(command: std::process::Command, rows: u16, columns: u16) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        let child = Command::from(command).env("TERM", "xterm-256color").spawn(pts).unwrap();
        let state = State { screen: Parser::new(positive(rows), positive(columns), SCROLLBACK), written: vec![], closed: false };
        let seen = Arc::new(Seen { state: Mutex::new(state), changed: Condvar::new() });
        let pty = Arc::new(pty);
        let (reader, reads) = (pty.clone(), seen.clone());
        // It ends when the last program on the terminal does.
        std::thread::spawn(move || reads.follow(&reader));
        Self { pty, seen, child }
    }

    /// Types this.
    pub fn types(&self, text: &str) {
        (&*self.pty).write_all(text.as_bytes()).unwrap();
    }

    /// Changes the size of the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        self.pty.resize(Size::new(rows, columns)).unwrap();
        self.seen.state.lock().unwrap().screen.screen_mut().set_size(positive(rows), positive(columns));
    }

    /// Waits until the screen shows this text; returns the screen.
    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Waits until this holds for the screen; returns the screen.
    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        self.seen.until(what, |state| holds(&state.screen.screen().contents()).then(|| state.screen.screen().contents()))
    }

    /// Everything that was written so far, with control sequences.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.seen.state.lock().unwrap().written).into_owned()
    }

    /// Waits until the program has ended. Returns its exit code, and the last screen.
    pub fn ends(&mut self) -> (Option<i32>, String) {
        let screen = self.seen.until("end", |state| state.closed.then(|| state.screen.screen().contents()));
        (self.child.wait().unwrap().code(), screen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Seen {
    fn follow(&self, mut terminal: &Pty) {
        let mut bytes = [0; 4096];
        loop {
            // Linux answers with an error, not with an end, when no program has the terminal open.
            let count = terminal.read(&mut bytes).unwrap_or_default();
            let Ok(mut state) = self.state.lock() else { return };
            state.screen.process(&bytes[..count]);
            state.written.extend(&bytes[..count]);
            state.closed = count == 0;
            self.changed.notify_all();
            if count == 0 {
                return;
            }
        }
    }

    fn until<T>(&self, what: &str, holds: impl Fn(&State) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(value) = holds(&state) {
                return value;
            }
            let left = end.saturating_duration_since(Instant::now());
            let screen = state.screen.screen().contents();
            assert!(left > Duration::ZERO, "no {what:?} on the screen:\n{screen}");
            assert!(!state.closed, "the program has ended, and {what:?} is not on the screen:\n{screen}");
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}
