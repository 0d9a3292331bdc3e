//! Putting a file on the disk so that no crash leaves half of it.
//!
//! Normally: a new file beside the old one, written and synced, then renamed over it, then the folder
//! synced. Where a rename is impossible (a single file mounted into a container, a folder that we may not
//! write) the text goes into a complete copy in `dir` first, by the same steps, and then over the old file
//! in place; the copy is removed when that is synced. A copy that is found at start says that the last
//! write was cut: [`restore`] finishes it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The operations on the disk, so that tests can cut each of them.
pub(super) trait Disk: Send {
    /// Creates `path`, which must not exist, with the mode and owner of `like` (else mode 0600), and
    /// writes and syncs `bytes`.
    fn create(&mut self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()>;
    /// Renames over what is there.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in `folder` durable.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()>;
    /// Writes over an existing file in place, cuts it to the new length, and syncs it.
    fn overwrite(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// The real disk.
#[derive(Debug, Default)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&mut self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        if let Some(like) = like {
            let old = std::fs::metadata(like)?;
            let new = file.metadata()?;
            // Only root can give a file away; what anybody else rewrites becomes theirs, as with
            // redis-sentinel. It is not even tried: the system call filter of a unit kills for it.
            let differs = (old.uid(), old.gid()) != (new.uid(), new.gid());
            if differs && rustix::process::geteuid().is_root() {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))?;
        }
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        match File::open(folder)?.sync_all() {
            // Some file systems cannot sync a folder, and need not.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            done => done,
        }
    }

    fn overwrite(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// The first line of a file that is written in place: where to look when a write of it was cut.
const IN_PLACE_MARK: &str =
    "# Written in place by sentinel. While it is being written, all of it is in ";

/// One file that is replaced as a whole, again and again.
pub(super) struct Target {
    disk: Box<dyn Disk>,
    path: PathBuf,
    /// Where the copy goes while the file is written in place.
    copy: PathBuf,
    /// A rename has turned out to be impossible.
    in_place: bool,
}

impl Target {
    /// `path` may not exist yet. `dir` is the folder for the copy; where we may not write it, the copy
    /// goes beside the file.
    pub(super) fn new(disk: Box<dyn Disk>, path: &Path, dir: &Path) -> Target {
        let path = real_path(path);
        let dir = match is_writable(dir) {
            true => dir,
            false => folder_of(&path),
        };
        let copy = copy_path(&path, dir);
        Target {
            disk,
            path,
            copy,
            in_place: false,
        }
    }

    #[cfg(test)]
    pub(super) fn set_disk(&mut self, disk: Box<dyn Disk>) {
        self.disk = disk;
    }

    /// The file, with links followed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the text of the file. When it returns `Ok`, a crash leaves the new text.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bytes = without_mark(bytes);
        if !self.in_place {
            let renamed = self.write_beside(&self.path.clone(), bytes);
            match renamed {
                Err(error) if is_rename_impossible(&error) && self.path.exists() => {
                    tracing::warn!(
                        "{} cannot be replaced by a rename ({error}): it is written in place from now \
                         on, with a copy in {} while that lasts",
                        self.path.display(),
                        self.copy.display(),
                    );
                    self.in_place = true;
                }
                done => return done,
            }
        }
        let mut text = format!("{IN_PLACE_MARK}{}\n", self.copy.display()).into_bytes();
        text.extend_from_slice(bytes);
        self.write_beside(&self.copy.clone(), &text)?;
        self.disk.overwrite(&self.path, &text)?;
        // If the removal is lost in a crash, the copy is found to be the same as the file.
        self.disk.remove(&self.copy)
    }

    /// Creates or replaces `path` by a rename within its folder.
    fn write_beside(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = with_suffix(path, TEMPORARY);
        let folder = folder_of(path);
        // An earlier crash may have left one.
        match self.disk.remove(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let like = self.path.exists().then_some(self.path.as_path());
        let renamed = self
            .disk
            .create(&beside, bytes, like)
            .and_then(|()| self.disk.rename(&beside, path));
        if renamed.is_err() {
            // It is of no use, and not a reason to hide the first error.
            let _ = self.disk.remove(&beside);
        }
        renamed?;
        self.disk.sync_folder(folder)
    }
}

/// The end of the name of a file that is about to be renamed.
const TEMPORARY: &str = ".sentinel-tmp";

/// Errors that say that this file can never be replaced by a rename, rather than not now.
fn is_rename_impossible(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ResourceBusy
            | ErrorKind::CrossesDevices
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
    )
}

/// Finishes a write in place that was cut, if there was one: call it before `path` is read. `dirs` are
/// the folders that may hold the copy, beside the one that the file itself names.
///
/// # Errors
/// The file could not be restored; its copy still exists.
pub(super) fn restore(disk: &mut dyn Disk, path: &Path, dirs: &[PathBuf]) -> io::Result<()> {
    let path = real_path(path);
    let found = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let named = named_copy(&found).into_iter();
    let dirs = dirs.iter().map(PathBuf::as_path);
    let guessed = dirs
        .chain([folder_of(&path)])
        .map(|dir| copy_path(&path, dir));
    for copy in named.chain(guessed) {
        let whole = match std::fs::read(&copy) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            whole => whole?,
        };
        if whole != found {
            let kept = with_suffix(&copy, ".replaced");
            match disk.remove(&kept) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            disk.create(&kept, &found, None)?;
            disk.overwrite(&path, &whole)?;
            tracing::warn!(
                "the last write of {} was cut: it is restored from {}; what was there is in {}",
                path.display(),
                copy.display(),
                kept.display(),
            );
        }
        disk.remove(&copy)?;
        return Ok(());
    }
    Ok(())
}

/// The copy that the first line of a file names.
fn named_copy(text: &[u8]) -> Option<PathBuf> {
    let line = text.split(|b| *b == b'\n').next()?;
    let path = line.strip_prefix(IN_PLACE_MARK.as_bytes())?;
    let path = PathBuf::from(std::str::from_utf8(path).ok()?);
    path.is_absolute().then_some(path)
}

fn without_mark(text: &[u8]) -> &[u8] {
    if !text.starts_with(IN_PLACE_MARK.as_bytes()) {
        return text;
    }
    let end = text.iter().position(|b| *b == b'\n');
    &text[end.map_or(text.len(), |end| end + 1)..]
}

/// `path` with links followed, as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (folder_of(path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        (_, _) => path.to_owned(),
    }
}

fn is_writable(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The copy of `path` in `dir`: two files of one name in different folders have different copies.
fn copy_path(path: &Path, dir: &Path) -> PathBuf {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let [a, b, c, d, ..] = *digest.as_slice() else {
        unreachable!("a SHA-256 has 32 bytes")
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    dir.join(format!("{name}.{a:02x}{b:02x}{c:02x}{d:02x}.copy"))
}
