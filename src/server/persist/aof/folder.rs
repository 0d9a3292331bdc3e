//! The folder of the append-only file: its manifest, its files, and the step from a single-file AOF.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::manifest::{AofFile, Manifest, ManifestError};
use super::settings::AofConfig;
use crate::server::persist::disk::{present_dir, sync_all, sync_folder};

/// Where the files are, and how their names begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folder {
    /// `dir`, absolute: a later change of it moves nothing.
    dir: PathBuf,
    folder_name: String,
    file_name: String,
}

/// Why the manifest cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The disk says no.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is there and wrong.
    #[error("{0}: {1}")]
    Manifest(PathBuf, ManifestError),
}

impl Folder {
    /// The folder that the configuration names, below the present working directory.
    pub(crate) fn new(config: &AofConfig) -> io::Result<Folder> {
        Ok(Folder {
            dir: present_dir()?,
            folder_name: config.folder_name.clone(),
            file_name: config.file_name.clone(),
        })
    }

    /// How the names of its files begin.
    pub(crate) fn file_name(&self) -> &str {
        &self.file_name
    }

    fn path(&self) -> PathBuf {
        self.dir.join(&self.folder_name)
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The path of the manifest.
    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.file(&format!("{}.manifest", self.file_name))
    }

    /// The increment of a base that is still being written.
    pub(crate) fn temp_incr(&self) -> PathBuf {
        self.file(&format!("temp-{}.incr", self.file_name))
    }

    /// The single file of servers before 7.0, beside the folder.
    fn old_file(&self) -> PathBuf {
        self.dir.join(&self.file_name)
    }

    /// The manifest; empty where there is none.
    pub(crate) fn read_manifest(&self) -> Result<Manifest, FolderError> {
        let path = self.manifest_path();
        match fs::read(&path) {
            Ok(text) => Manifest::parse(&text).map_err(|error| FolderError::Manifest(path, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
            Err(error) => Err(FolderError::Io(path, error)),
        }
    }

    /// Takes over a single-file AOF, where there is one and no manifest that says otherwise. A crash between the
    /// two steps leaves a manifest of that file alone, which this completes.
    pub(crate) fn upgrade(&self, manifest: Manifest) -> Result<Manifest, FolderError> {
        let (old, new) = (self.old_file(), self.file(&self.file_name));
        let of_old = Manifest::of_old_file(&self.file_name);
        let is_wanted = manifest == Manifest::default() && !self.manifest_path().exists()
            || manifest == of_old && !new.exists();
        if !is_wanted || !old.exists() {
            return Ok(manifest);
        }
        let upgrade = || -> io::Result<()> {
            self.write_manifest(&of_old)?;
            fs::rename(&old, &new)?;
            sync_folder(&self.path())?;
            sync_folder(&self.dir)
        };
        upgrade().map_err(|error| FolderError::Io(old.clone(), error))?;
        tracing::info!(
            "Successfully migrated an old-style AOF configuration ({}) into the new-style AOF ({}).",
            self.file_name,
            self.manifest_path().display()
        );
        Ok(of_old)
    }

    /// Replaces the manifest; a crash at any moment leaves the old one or the new one.
    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        self.create()?;
        let temp = self.file(&format!("temp-{}.manifest", self.file_name));
        let mut file = File::create(&temp)?;
        file.write_all(manifest.text().as_bytes())?;
        sync_all(&file)?;
        fs::rename(&temp, self.manifest_path())?;
        sync_folder(&self.path())
    }

    /// Makes sure that the folder is there.
    pub(crate) fn create(&self) -> io::Result<()> {
        match fs::create_dir(self.path()) {
            Ok(()) => sync_folder(&self.dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Opens a file to append to it. One that is new takes the place of whatever lies there: bytes that still wait
    /// for the file of a rewrite that was given up never reach it.
    pub(crate) fn open(path: &Path, is_new: bool) -> io::Result<File> {
        if is_new {
            remove(path)?;
        }
        OpenOptions::new().create(true).append(true).open(path)
    }

    /// Deletes what is history and writes a manifest without it. What cannot be deleted harms nobody and stays
    /// history, for the next time.
    pub(crate) fn remove_history(&self, manifest: &mut Manifest) -> io::Result<()> {
        if manifest.history.is_empty() {
            return Ok(());
        }
        for AofFile { name, seq } in std::mem::take(&mut manifest.history) {
            if manifest.live().any(|file| file.name == name) {
                continue;
            }
            tracing::info!("Removing the history file {name} in the background");
            if let Err(error) = remove(&self.file(&name)) {
                tracing::warn!(%error, name, "cannot remove a file of the append-only file that is not needed any more");
                manifest.history.push(AofFile { name, seq });
            }
        }
        self.write_manifest(manifest)
    }

    /// Bytes of the files to be loaded. A file that is missing counts nothing here.
    pub(crate) fn size(&self, manifest: &Manifest) -> u64 {
        manifest.live().map(|file| self.size_of(file)).sum()
    }

    /// Whether a file is there and holds nothing.
    pub(crate) fn is_empty_file(&self, file: &AofFile) -> bool {
        fs::metadata(self.file(&file.name)).is_ok_and(|found| found.len() == 0)
    }

    /// Bytes of one file.
    pub(crate) fn size_of(&self, file: &AofFile) -> u64 {
        fs::metadata(self.file(&file.name)).map_or(0, |found| found.len())
    }
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_in(dir: &Path) -> Folder {
        Folder {
            dir: dir.to_owned(),
            folder_name: "d".to_owned(),
            file_name: "a.aof".to_owned(),
        }
    }

    #[test]
    fn a_manifest_is_replaced_as_a_whole() {
        let dir = tempfile::TempDir::new().unwrap();
        let folder = folder_in(dir.path());
        assert_eq!(folder.read_manifest().unwrap(), Manifest::default());
        let mut manifest = Manifest::default();
        manifest.add_base("a.aof", true);
        folder.write_manifest(&manifest).unwrap();
        manifest.add_incr("a.aof");
        folder.write_manifest(&manifest).unwrap();
        assert_eq!(folder.read_manifest().unwrap(), manifest);
        fs::write(folder.manifest_path(), "file a seq 1").unwrap();
        let error = folder.read_manifest().unwrap_err().to_string();
        assert!(error.contains("a.aof.manifest: line 1"), "{error}");
    }

    #[test]
    fn history_is_removed_from_disk_and_manifest() {
        let dir = tempfile::TempDir::new().unwrap();
        let folder = folder_in(dir.path());
        let mut manifest = Manifest::default();
        let old = manifest.add_base("a.aof", true);
        let new = manifest.add_base("a.aof", true);
        folder.create().unwrap();
        for name in [&old, &new] {
            fs::write(folder.file(name), "x").unwrap();
        }
        folder.write_manifest(&manifest).unwrap();
        folder.remove_history(&mut manifest).unwrap();
        assert!(!folder.file(&old).exists());
        assert_eq!(folder.size(&manifest), 1);
        assert_eq!(folder.read_manifest().unwrap().history, []);
    }

    #[test]
    fn history_that_cannot_be_removed_stays_history() {
        let dir = tempfile::TempDir::new().unwrap();
        let folder = folder_in(dir.path());
        let mut manifest = Manifest::default();
        let names = [(); 3].map(|()| manifest.add_base("a.aof", true));
        folder.create().unwrap();
        fs::create_dir(folder.file(&names[1])).unwrap();
        fs::write(folder.file(&names[0]), "x").unwrap();
        folder.remove_history(&mut manifest).unwrap();
        assert!(!folder.file(&names[0]).exists());
        let left = folder.read_manifest().unwrap().history;
        assert_eq!(left.len(), 1);
        assert_eq!((&left[0].name, left[0].seq), (&names[1], 2));
    }

    #[test]
    fn what_waits_for_a_former_file_never_reaches_a_new_one() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("temp.incr");
        let mut given_up = Folder::open(&path, true).unwrap();
        let mut new = Folder::open(&path, true).unwrap();
        new.write_all(b"new").unwrap();
        given_up.write_all(b"old").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mut again = Folder::open(&path, false).unwrap();
        again.write_all(b"er").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
    }

    #[test]
    fn an_old_file_is_taken_over_once() {
        let dir = tempfile::TempDir::new().unwrap();
        let folder = folder_in(dir.path());
        let old = dir.path().join("a.aof");
        assert_eq!(
            folder.upgrade(Manifest::default()).unwrap(),
            Manifest::default()
        );
        fs::write(&old, "old").unwrap();
        // As if it had been interrupted between its steps.
        folder
            .write_manifest(&Manifest::of_old_file("a.aof"))
            .unwrap();
        let manifest = folder.upgrade(folder.read_manifest().unwrap()).unwrap();
        assert_eq!(manifest.text(), "file a.aof seq 1 type b\n");
        assert!(!old.exists());
        assert_eq!(fs::read(folder.file("a.aof")).unwrap(), b"old");
        // A file that lies beside a complete set is nobody's.
        fs::write(&old, "other").unwrap();
        folder.upgrade(manifest).unwrap();
        assert!(old.exists());
    }
}
