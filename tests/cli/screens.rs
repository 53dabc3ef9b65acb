//! What moves, what asks and what is colored, on a terminal.

use std::fs::File;
use std::process::Command;

use aws_sdk_s3::primitives::ByteStream;
use serde_json::json;

use crate::session::Session;
use crate::support::proxy::Fault;
use crate::terminal::{BACKSPACE, CTRL_C, DOWN, ENTER, Terminal};

/// The start of every control sequence.
const ESCAPE: char = '\u{1b}';

impl Session {
    /// The program with these arguments on a terminal.
    fn on_terminal(&self, arguments: &[&str], columns: u16) -> Terminal {
        self.with(arguments, columns, |_| {})
    }

    fn with(&self, arguments: &[&str], columns: u16, change: impl Fn(&mut Command)) -> Terminal {
        let mut program = Command::new(env!("CARGO_BIN_EXE_bucketconnection"));
        self.set_up(program.args(arguments));
        change(&mut program);
        Terminal::start(program, 40, columns)
    }

    /// A session with a connection `genomics` that is Ready.
    async fn connected(name: &str, bucket: &str) -> Self {
        let session = Self::new(name, "cluster").await;
        let harness = session.harness();
        let mut object = harness.connection(bucket, json!({ "preset": "ReadWrite" }));
        object["metadata"]["name"] = json!("genomics");
        harness.apply(&object).await;
        harness.ready("genomics").await;
        session
    }
}

fn without_color(program: &mut Command) {
    program.env("NO_COLOR", "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_redraws_the_screen_until_ctrl_c() {
    let session = Session::connected("watch", "bucket-watch").await;
    let mut terminal = session.on_terminal(&["status", "genomics", "--watch"], 100);
    let before = terminal.shows("bucket-watch");
    assert!(!before.contains("suspended"), "{before}");
    session.harness().patch("genomics", json!({ "spec": { "suspend": true } })).await;
    let after = terminal.shows("(suspended)");
    // Redrawn in place: the screen has one title.
    assert_eq!(before.lines().next().unwrap().split(' ').next(), after.lines().next().unwrap().split(' ').next(), "{after}");
    // A window that becomes smaller gets fewer lines.
    terminal.resize(8, 100);
    terminal.types(CTRL_C);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(130), "{screen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colors_width_and_questions() {
    let session = Session::connected("screens", "bucket-screens").await;
    // Colors only on a terminal, and not with NO_COLOR.
    let mut colored = session.on_terminal(&["status", "genomics"], 100);
    let (code, screen) = colored.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(colored.written().contains(ESCAPE), "{screen}");
    let mut plain = session.with(&["status", "genomics"], 100, without_color);
    let (_, plain_screen) = plain.ends();
    assert!(!plain.written().contains(ESCAPE), "{plain_screen}");
    // A table fits the terminal, whatever its width.
    for columns in [50, 100] {
        let mut table = session.with(&["get"], columns, without_color);
        table.ends();
        for line in table.written().lines() {
            assert!(line.trim_end().chars().count() <= usize::from(columns), "wider than {columns}: {line:?}");
        }
    }
    // The wide one does not: a row stays one line.
    let mut wide = session.with(&["get", "-o", "wide"], 50, without_color);
    wide.ends();
    let written = wide.written();
    assert!(written.lines().count() == 2 && written.lines().all(|line| line.trim_end().chars().count() > 100), "{written:?}");
    // A question takes only the answer that it names.
    let mut refused = session.on_terminal(&["release", "genomics"], 100);
    refused.shows("Type genomics: ");
    refused.types("yes\n");
    let (code, screen) = refused.ends();
    assert!(code == Some(1) && screen.contains("nothing is released"), "{screen}");
    let mut interrupted = session.on_terminal(&["release", "genomics"], 100);
    interrupted.shows("Type genomics: ");
    interrupted.types(CTRL_C);
    assert_ne!(interrupted.ends().0, Some(0));
    session.harness().ready("genomics").await;
    let mut released = session.on_terminal(&["release", "genomics"], 100);
    released.shows("Type genomics: ");
    released.types("genomics\n");
    let (code, screen) = released.ends();
    assert!(code == Some(0) && screen.contains("genomics: released"), "{screen}");
}

/// A wrong answer is asked again, and quotes around a pasted one are not part of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_asks_until_each_answer_is_right() {
    let session = Session::new("init-questions", "nothing").await;
    File::create(session.place("lab-a.yaml")).unwrap();
    let mut terminal = session.on_terminal(&["init"], 100);
    for (question, answer) in [
        ("Number or name: ", "9"),
        ("choose 1 to 5, or a name", "4"),
        ("AWS region of the bucket [us-east-1]: ", "9"),
        ("region must be the code of an AWS region", "\"eu-west-1\""),
        ("Name of the bucket: ", "'lab-a'"),
        ("Prefix in the bucket", ""),
        ("Name of the BucketConnection [lab-a]: ", ""),
        ("lab-a.yaml exists; choose another name", "lab-b"),
        ("(y/n) [n]: ", ""),
    ] {
        terminal.shows(question);
        terminal.types(&format!("{answer}\n"));
    }
    let (code, screen) = terminal.ends();
    assert!(code == Some(0) && screen.contains("wrote lab-b.yaml"), "{screen}");
    let written = std::fs::read_to_string(session.place("lab-b.yaml")).unwrap();
    for line in ["  name: lab-b\n", "  preset: ReadWrite\n", "  region: eu-west-1\n", "    name: lab-a\n"] {
        assert!(written.contains(line), "{line}: {written}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browse_gives_the_terminal_back() {
    let session = Session::connected("browse", "bucket-browse").await;
    let (s3, proxy) = (session.harness().s3(), &session.harness().proxy);
    for key in ["runs/reads/one.bam", "runs/reads/two.bam", "runs/top.txt"] {
        let body = ByteStream::from_static(b"content");
        s3.put_object().bucket("bucket-browse").key(key).body(body).send().await.unwrap();
    }
    let mut terminal = session.on_terminal(&["browse", "genomics"], 100);
    terminal.shows("top.txt");
    terminal.types(ENTER);
    terminal.shows("two.bam");
    terminal.types(BACKSPACE);
    terminal.shows("top.txt");
    // Ctrl-C ends the reading of a folder, and then a download; the screen stays.
    for (action, key) in [("s3:ListBucket", ENTER), ("s3:GetObject", "d")] {
        let before = proxy.count(action);
        proxy.fault(action, Fault::Hang, 1);
        terminal.types(key);
        proxy.sees(action, before + 1).await;
        terminal.types(CTRL_C);
        terminal.shows("interrupted");
        terminal.types(DOWN);
        terminal.until("keys", |screen| screen.contains("q: end"));
    }
    terminal.types("i");
    terminal.shows("7 bytes");
    terminal.types("d");
    terminal.shows("downloaded 1 object, 7 B");
    assert_eq!(std::fs::read(session.place("top.txt")).unwrap(), b"content");
    terminal.types("q");
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(0), "{screen}");
    let written = terminal.written();
    for (on, off) in [("\u{1b}[?1049h", "\u{1b}[?1049l"), ("\u{1b}[?25l", "\u{1b}[?25h")] {
        assert_eq!(written.matches(on).count(), written.matches(off).count(), "{written:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_shows_its_progress_and_ends_with_ctrl_c() {
    let session = Session::connected("copy", "bucket-copy").await;
    let file = session.place("reads.fastq");
    File::create(&file).unwrap().set_len(64 << 20).unwrap();
    let mut terminal = session.on_terminal(&["cp", "reads.fastq", "genomics:runs/"], 100);
    let screen = terminal.until("progress", |screen| screen.contains(" of 67.11 MB") && screen.contains(" left"));
    assert!(screen.lines().all(|line| line.chars().count() <= 100), "{screen}");
    terminal.types(CTRL_C);
    let (code, screen) = terminal.ends();
    assert_eq!(code, Some(130), "{screen}");
    // The terminal itself writes ^C behind the bar, which then stays; the messages are on lines of their own.
    assert!(screen.lines().any(|line| line.starts_with("bucketconnection: interrupted; ")), "{screen}");
    // The cursor is visible again.
    assert_eq!(terminal.written().matches("\u{1b}[?25l").count(), terminal.written().matches("\u{1b}[?25h").count());
}
