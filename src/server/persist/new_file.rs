//! A file that is made under another name and takes its own when it is complete, unless it has been cancelled.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::sync_folder;

/// One such file. Its clones are of the same file: one thread makes it, another may cancel it.
#[derive(Clone, Debug)]
pub(crate) struct NewFile {
    temp: PathBuf,
    path: PathBuf,
    fate: Arc<Mutex<Fate>>,
}

/// What has been decided about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    /// It has its name.
    Named,
    /// It never gets it.
    Cancelled,
}

impl NewFile {
    /// A file that is `temp` until it is complete, and `path` from then on. Nothing is done yet.
    pub(crate) fn new(temp: PathBuf, path: PathBuf) -> NewFile {
        let fate = Arc::new(Mutex::new(Fate::Open));
        NewFile { temp, path, fate }
    }

    /// Its name when it is complete.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, empty and under the other name.
    ///
    /// # Errors
    /// It cannot be made, or it has been cancelled: then nothing is left behind.
    pub(super) fn create(&self) -> io::Result<File> {
        // Under the lock: whoever cancels it afterwards finds the file and removes it.
        let _fate = self.open_fate()?;
        File::create(&self.temp)
    }

    /// Gives the complete file its name, durably.
    ///
    /// # Errors
    /// It cannot be renamed, or it has been cancelled: what was under that name is untouched.
    pub(super) fn take_name(&self) -> io::Result<()> {
        {
            // Held until it has its name: once `cancel` has returned, nothing takes the name any more.
            let mut fate = self.open_fate()?;
            fs::rename(&self.temp, &self.path)?;
            *fate = Fate::Named;
        }
        let folder = self.path.parent();
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))
    }

    /// Sees to it that the file never takes its name, however far its thread is, and removes it. False: it has its
    /// name already, and keeps it.
    pub(crate) fn cancel(&self) -> bool {
        let mut fate = self.lock();
        if *fate == Fate::Named {
            return false;
        }
        *fate = Fate::Cancelled;
        self.remove_temp();
        true
    }

    /// Removes what has been made so far.
    pub(super) fn remove_temp(&self) {
        drop(fs::remove_file(&self.temp));
    }

    fn open_fate(&self) -> io::Result<MutexGuard<'_, Fate>> {
        let fate = self.lock();
        if *fate == Fate::Cancelled {
            return Err(io::Error::other("cancelled"));
        }
        Ok(fate)
    }

    fn lock(&self) -> MutexGuard<'_, Fate> {
        // Nothing that could panic runs under the lock.
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_or_cancelled_whichever_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let [temp, path] = ["temp", "file"].map(|name| folder.path().join(name));
        fs::write(&path, "old").unwrap();
        let new = || NewFile::new(temp.clone(), path.clone());
        for is_made in [false, true] {
            let file = new();
            if is_made {
                file.create().unwrap();
            }
            assert!(file.cancel());
            assert!(!temp.exists());
            assert!(file.create().is_err());
            // As if somebody else had made one of that name.
            fs::write(&temp, "stale").unwrap();
            assert!(file.take_name().is_err());
            assert_eq!(fs::read(&path).unwrap(), b"old");
        }
        let file = new();
        file.create().unwrap();
        file.take_name().unwrap();
        assert!(!file.cancel());
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
