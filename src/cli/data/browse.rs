//! `bucketconnection browse`.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use console::{Key, Term};
use futures::StreamExt;
use futures::stream::{BoxStream, iter};
use indicatif::DecimalBytes;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::ls::{How, failure, list};
use super::progress::Progress;
use super::transfer::{Side, count, job};
use super::{Where, stoppable};
use crate::cli::Failure;
use crate::cli::terminal::{FAINT, HEADING, painted};
use crate::data::{Engine, Fault, Filter, Item, Job, Store, folder, key_for, objects, pages};
use crate::render::printable;

/// Walk through the objects in a connection's bucket
///
/// Arrows move, Enter opens a folder, Backspace leaves it, d downloads into the current directory, i shows details, q ends. Where
/// there is no terminal, this is the same as ls.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection browse genomics
  bucketconnection browse genomics:42")]
pub(in crate::cli) struct Browse {
    /// NAME, NAME:path or NAME/path, with the name of a BucketConnection
    #[arg(value_name = "NAME[/PATH]")]
    address: String,

    #[command(flatten)]
    place: Where,
}

/// The most entries of one folder on the screen.
const MOST: usize = 10_000;
const OPEN: &str = "\u{1b}[?1049h";
const CLOSE: &str = "\u{1b}[?1049l";
const KEYS: &str = "arrows: move   enter: open   backspace: up   d: download   i: details   q: end";

impl Browse {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (store, path) = self.place.store(&self.address).await?;
        let screen = Term::stdout();
        if !screen.is_term() || !console::user_attended() {
            return list(&store, &path, &How::default()).await;
        }
        let start = folder(&key_for(&store.prefix, &path));
        let first = View::read(&store, start).await?;
        let screen = Screen::open(screen)?;
        walk(&store, &screen.0, first).await.map(|()| ExitCode::SUCCESS)
    }
}

/// The terminal while it shows another screen than that of the shell, however the command ends.
struct Screen(Term);

impl Screen {
    fn open(terminal: Term) -> io::Result<Self> {
        // From here on Ctrl-C ends no more than what listens for it.
        drop(signal(SignalKind::interrupt())?);
        terminal.write_str(OPEN)?;
        Ok(Self(terminal))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.write_str(CLOSE);
    }
}

/// A folder on the screen.
struct View {
    folder: String,
    entries: Vec<Entry>,
    cut: bool,
    at: usize,
    note: String,
}

/// A folder or object in it.
enum Entry {
    Folder(String),
    Object(Item),
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Open(String),
    Download,
    Details,
    End,
    Nothing,
}

impl View {
    async fn read(store: &Store, folder: String) -> Result<Self, Failure> {
        let (mut entries, mut cut) = (Vec::new(), false);
        let mut listed = pages(store, &folder, Some("/"));
        while let Some(page) = listed.next().await {
            let page = page.map_err(|fault| failure(store, &folder, &fault))?;
            entries.extend(page.folders.into_iter().map(Entry::Folder));
            // The marker of this folder is not in it.
            entries.extend(page.objects.into_iter().filter(|item| !item.name.is_empty()).map(Entry::Object));
            cut = entries.len() >= MOST;
            if cut {
                break;
            }
        }
        entries.sort_by_key(|entry| matches!(entry, Entry::Object(_)));
        Ok(Self { folder, entries, cut, at: 0, note: String::new() })
    }

    /// What a key does. `root` is the highest folder that the key of the connection can list.
    fn press(&mut self, key: &Key, height: usize, root: &str) -> Wish {
        let last = self.entries.len().saturating_sub(1);
        self.note.clear();
        match key {
            Key::ArrowUp | Key::Char('k') => self.at = self.at.saturating_sub(1),
            Key::ArrowDown | Key::Char('j') => self.at = (self.at + 1).min(last),
            Key::PageUp => self.at = self.at.saturating_sub(height),
            Key::PageDown => self.at = (self.at + height).min(last),
            Key::Home => self.at = 0,
            Key::End => self.at = last,
            Key::Enter | Key::ArrowRight => match self.entries.get(self.at) {
                Some(Entry::Folder(folder)) => return Wish::Open(folder.clone()),
                Some(Entry::Object(_)) => return Wish::Details,
                None => {}
            },
            Key::Backspace | Key::ArrowLeft if self.folder.len() > root.len() => {
                let name = self.folder.trim_end_matches('/');
                return Wish::Open(name.rfind('/').map_or(String::new(), |slash| name[..=slash].to_owned()));
            }
            Key::Backspace | Key::ArrowLeft => {
                self.note = "this is the prefix of the connection; its key reaches nothing above".to_owned()
            }
            Key::Char('d') => return Wish::Download,
            Key::Char('i') => return Wish::Details,
            Key::Char('q') | Key::Escape | Key::CtrlC => return Wish::End,
            _ => {}
        }
        Wish::Nothing
    }

    /// The lines of the screen.
    fn lines(&self, store: &Store, height: usize, width: usize) -> Vec<String> {
        let cut = |text: &str| printable(text).chars().take(width.saturating_sub(1)).collect::<String>();
        let title = format!("{}   s3://{}/{}", store.connection, store.bucket, self.folder);
        let mut lines = vec![painted(HEADING, cut(&title))];
        // The selected entry is always on the screen.
        let top = (self.at + 1).saturating_sub(height);
        for (place, entry) in self.entries.iter().enumerate().skip(top).take(height) {
            let line = cut(&entry.line(&self.folder));
            lines.push(if place == self.at { painted(anstyle::Style::new().invert(), line) } else { line });
        }
        if self.entries.is_empty() {
            lines.push("(empty)".to_owned());
        }
        let more = if self.cut { "only the first entries are shown; ls shows all" } else { "" };
        let note = [self.note.as_str(), more, KEYS].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        lines.push(painted(FAINT, cut(note)));
        lines
    }

    fn details(&self) -> String {
        match self.entries.get(self.at) {
            Some(Entry::Object(item)) => {
                let etag = item.head().and_then(|head| head.etag).unwrap_or_default();
                let modified = Timestamp::from_second(item.modified).map(|at| at.to_string()).unwrap_or_default();
                format!("{} bytes   modified {modified}   ETag {etag}", item.size)
            }
            Some(Entry::Folder(_)) => "a folder; du sums what is in it".to_owned(),
            None => String::new(),
        }
    }
}

impl Entry {
    fn line(&self, folder: &str) -> String {
        match self {
            Self::Folder(key) => format!("{:>12}  {}", "folder", key.strip_prefix(folder).unwrap_or(key)),
            Self::Object(item) => format!("{:>12}  {}", DecimalBytes(item.size).to_string(), item.name),
        }
    }
}

async fn walk(store: &Arc<Store>, screen: &Term, mut view: View) -> Result<(), Failure> {
    loop {
        let (rows, columns) = screen.size();
        let height = usize::from(rows).saturating_sub(2).max(1);
        screen.clear_screen()?;
        screen.write_str(&view.lines(store, height, usize::from(columns)).join("\r\n"))?;
        let key = tokio::task::block_in_place(|| screen.read_key_raw())?;
        match view.press(&key, height, &store.prefix) {
            Wish::End => return Ok(()),
            Wish::Nothing => {}
            Wish::Details => view.note = view.details(),
            Wish::Download => {
                screen.clear_screen()?;
                view.note = download(store, &view).await;
            }
            // A folder that cannot be read is reported, and the view stays. Ctrl-C ends only the reading.
            Wish::Open(folder) => tokio::select! {
                next = View::read(store, folder) => match next {
                    Ok(next) => view = next,
                    Err(Failure(text)) => view.note = text,
                },
                _ = tokio::signal::ctrl_c() => view.note = "interrupted".to_owned(),
            },
        }
    }
}

/// Downloads the selected entry into the current directory, until it is complete or Ctrl-C ends it. Returns what to say.
async fn download(store: &Arc<Store>, view: &View) -> String {
    let (from, to) = (Side::Remote(store.clone(), String::new()), Side::Local(".".into()));
    let jobs: BoxStream<'_, Result<Job, (String, Fault)>> = match view.entries.get(view.at) {
        None => return "nothing is selected".to_owned(),
        Some(Entry::Object(item)) => iter(job(&from, item.clone(), &to, &item.name).transpose()).boxed(),
        Some(Entry::Folder(key)) => {
            let name = key.strip_prefix(&view.folder).unwrap_or(key).to_owned();
            let (from, to) = (&from, &to);
            let each = move |listed: crate::data::Listed| {
                let below = listed.as_ref().map(|item| format!("{name}{}", item.name)).unwrap_or_default();
                std::future::ready(listed.and_then(|item| job(from, item, to, &below)).transpose())
            };
            objects(store.clone(), &format!("/{key}"), Filter { raw: true, ..Filter::default() }).filter_map(each).boxed()
        }
    };
    let progress = Progress::start(false);
    let engine = stoppable(Engine::new(16, false, progress.clone()));
    let summary = engine.run(jobs).await;
    progress.end();
    match summary.ended {
        Some(Fault::Stopped) if engine.keeps_parts() => "interrupted; d continues the download".to_owned(),
        Some(Fault::Stopped) => "interrupted".to_owned(),
        Some(fault) => format!("stopped: {fault}"),
        None if summary.failed > 0 => format!("{} failed; cp -r shows why", count(summary.failed)),
        None => format!("downloaded {}, {} into the current directory", count(summary.objects), DecimalBytes(summary.bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(entries: &[&str]) -> View {
        let entry = |name: &&str| Entry::Folder((*name).to_owned());
        let entries = entries.iter().map(entry).collect();
        View { folder: "runs/42/".into(), entries, cut: false, at: 0, note: String::new() }
    }

    #[test]
    fn keys_move_within_the_entries() {
        let mut view = view(&["runs/42/a/", "runs/42/b/", "runs/42/c/"]);
        for (key, at) in
            [(Key::ArrowUp, 0), (Key::ArrowDown, 1), (Key::PageDown, 2), (Key::ArrowDown, 2), (Key::PageUp, 0), (Key::End, 2)]
        {
            assert_eq!((view.press(&key, 10, "runs/"), view.at), (Wish::Nothing, at), "{key:?}");
        }
        assert_eq!(view.press(&Key::Enter, 10, "runs/"), Wish::Open("runs/42/c/".into()));
        assert_eq!(view.press(&Key::CtrlC, 10, "runs/"), Wish::End);
    }

    #[test]
    fn nothing_above_the_prefix_is_opened() {
        let mut below = view(&[]);
        assert_eq!(below.press(&Key::Backspace, 10, "runs/"), Wish::Open("runs/".into()));
        assert_eq!(below.press(&Key::Enter, 10, "runs/"), Wish::Nothing);
        assert_eq!(below.press(&Key::Backspace, 10, "runs/42/"), Wish::Nothing);
        assert!(below.note.contains("prefix of the connection"));
    }
}
