//! What makes files and names durable: the one place where persistence asks the disk for it, so that a test can put a
//! disk behind it that loses power (`aof/power.rs`).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Makes what was written to a file durable.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    let noted = observed::begin(file)?;
    file.sync_data()?;
    #[cfg(test)]
    noted.complete();
    Ok(())
}

/// Makes a file durable, with all that is known of it.
pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(test)]
    let noted = observed::begin(file)?;
    file.sync_all()?;
    #[cfg(test)]
    noted.complete();
    Ok(())
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    sync_all(&File::open(path)?)
}

/// The folder in which we are, absolute.
pub(crate) fn present_dir() -> io::Result<PathBuf> {
    #[cfg(test)]
    if let Some(dir) = observed::present_dir() {
        return Ok(dir);
    }
    std::env::current_dir()
}

/// Where tests look on.
#[cfg(test)]
pub(crate) mod observed {
    use std::cell::RefCell;
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    /// Who looks on at the syncs below a folder, of whatever thread.
    pub(crate) trait Observer: Send + Sync {
        /// A sync begins; an error is its result.
        fn begin(&self, file: &File) -> io::Result<Found>;
        /// It has succeeded.
        fn complete(&self, found: Found);
    }

    /// What a sync found when it began.
    #[derive(Debug)]
    pub(crate) struct Found {
        pub(crate) inode: u64,
        pub(crate) content: super::super::aof::power::Content,
    }

    /// A sync in progress.
    pub(super) struct Noted(Option<(Arc<dyn Observer>, Found)>);

    impl Noted {
        pub(super) fn complete(self) {
            if let Some((observer, found)) = self.0 {
                observer.complete(found);
            }
        }
    }

    static OBSERVERS: Mutex<Vec<(PathBuf, Arc<dyn Observer>)>> = Mutex::new(Vec::new());

    thread_local! {
        static PRESENT: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
    }

    /// From now on somebody looks on below this folder.
    pub(crate) fn observe(root: PathBuf, observer: Arc<dyn Observer>) {
        OBSERVERS.lock().unwrap().push((root, observer));
    }

    /// Nobody does any more.
    pub(crate) fn forget(root: &std::path::Path) {
        OBSERVERS.lock().unwrap().retain(|(known, _)| known != root);
    }

    /// Has this thread, as far as persistence is concerned, be in another folder.
    pub(crate) fn enter(dir: PathBuf) {
        PRESENT.set(Some(dir));
    }

    pub(super) fn present_dir() -> Option<PathBuf> {
        PRESENT.with_borrow(Clone::clone)
    }

    pub(super) fn begin(file: &File) -> io::Result<Noted> {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let observer = {
            let observers = OBSERVERS.lock().unwrap();
            let found = observers.iter().find(|(root, _)| path.starts_with(root));
            found.map(|(_, observer)| Arc::clone(observer))
        };
        let Some(observer) = observer else {
            return Ok(Noted(None));
        };
        let found = observer.begin(file)?;
        Ok(Noted(Some((observer, found))))
    }
}
