//! Where a secret goes: a file that only its owner can read, or the clipboard. Never an argument of a program.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use k8s_openapi::ByteString;
use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::cli::terminal::warn;

/// Writes a new file with mode 0600. With `replace`, a file or symbolic link of that name is replaced as a whole: nothing is ever
/// written to what exists, or to where a link leads.
pub(super) fn to_file(file: &Path, text: &str, replace: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure(format!("{}: the file exists; name another one, or add --force", file.display())),
        _ => Failure(format!("{}: {error}", file.display())),
    };
    if !replace {
        let mut new = create(file).map_err(failed)?;
        return new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).map_err(failed);
    }
    if file.is_dir() {
        return Err(Failure(format!("{}: a directory; name a file", file.display())));
    }
    // Not a device, a socket or a pipe: other programs use it by this name.
    if fs::symlink_metadata(file).is_ok_and(|found| !(found.is_file() || found.is_symlink())) {
        return Err(Failure(format!("{}: not a regular file; name another one", file.display())));
    }
    let name = file.file_name().ok_or_else(|| Failure(format!("{}: not the name of a file", file.display())))?;
    let next = file.with_file_name(format!(".{}.{:016x}", name.to_string_lossy(), fastrand::u64(..)));
    let mut new = create(&next).map_err(failed)?;
    let written = new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).and_then(|()| fs::rename(&next, file));
    written.map_err(|error| {
        let _ = fs::remove_file(&next);
        failed(error)
    })
}

fn create(file: &Path) -> std::io::Result<File> {
    // `create_new` is O_EXCL: it does not follow a symbolic link either.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

/// Copies `text` to the clipboard; returns by which means.
pub(super) fn to_clipboard(text: &str) -> Result<&'static str, Failure> {
    let has = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let programs: [(bool, &'static str, &[&str]); 3] = [
        (cfg!(target_os = "macos"), "pbcopy", &[]),
        (has("WAYLAND_DISPLAY"), "wl-copy", &[]),
        (has("DISPLAY"), "xclip", &["-selection", "clipboard"]),
    ];
    for (_, program, arguments) in programs.into_iter().filter(|(fits, ..)| *fits) {
        if copy(program, arguments, text).is_ok() {
            return Ok(program);
        }
    }
    // OSC 52: the terminal itself copies, also over SSH. https://invisible-island.net/xterm/ctlseqs/ctlseqs.html
    let terminal = OpenOptions::new().write(true).open("/dev/tty");
    let hint = "install wl-copy or xclip, run it on a terminal that knows OSC 52, or use -o FILE";
    let mut terminal = terminal.map_err(|_| Failure(format!("no clipboard: {hint}")))?;
    let encoded = Zeroizing::new(base64(text));
    terminal.write_all(&Zeroizing::new(format!("\x1b]52;c;{}\x07", encoded.as_str()).into_bytes()))?;
    warn(&format!("if it is not in the clipboard, the terminal does not allow OSC 52: {hint}"));
    Ok("by the terminal, OSC 52")
}

fn copy(program: &str, arguments: &[&str], text: &str) -> std::io::Result<()> {
    let mut command = Command::new(program);
    // They stay in the background to serve the clipboard: with its output open, a pipe of this command would not end.
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    let status = child.wait()?;
    written?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other("the program failed")) }
}

/// The text in base64, as Kubernetes writes bytes.
fn base64(text: &str) -> String {
    let bytes = ByteString(text.as_bytes().to_vec());
    serde_json::to_value(bytes).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("bucketconnection-{name}-{}", fastrand::u64(..)));
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn a_file_is_new_and_its_owners_alone() {
        let folder = folder("new");
        let file = folder.join("key");
        to_file(&file, "first", false).ok().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let Err(Failure(text)) = to_file(&file, "second", false) else { panic!("it was overwritten") };
        assert!(text.ends_with("key: the file exists; name another one, or add --force"), "{text}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "first");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_replaced_file_gets_the_mode_and_a_link_is_not_followed() {
        let folder = folder("replaced");
        let (file, link, target) = (folder.join("key"), folder.join("link"), folder.join("target"));
        fs::write(&file, "open to all").unwrap();
        fs::write(&target, "of someone else").unwrap();
        symlink(&target, &link).unwrap();
        assert!(to_file(&link, "secret", false).is_err());
        for place in [&file, &link] {
            to_file(place, "secret", true).ok().unwrap();
            let written = fs::symlink_metadata(place).unwrap();
            assert!(written.is_file() && written.mode() & 0o777 == 0o600, "{}", place.display());
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "of someone else");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "nothing is left behind");
        let socket = folder.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let Err(Failure(text)) = to_file(&socket, "secret", true) else { panic!("the socket was replaced") };
        assert!(text.ends_with("socket: not a regular file; name another one"), "{text}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_clipboard_gets_base64_from_a_terminal() {
        assert_eq!(base64("a/b+c"), "YS9iK2M=");
    }
}
