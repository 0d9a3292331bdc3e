//! A rewrite after `CONFIG SET dir`: the append-only file moves to the new folder.
//!
//! The old folder counts until the new one is complete, so a crash at any moment loses nothing: units go to the old
//! increment while the new base is written. Then that increment is copied behind the base. For the last of it, and
//! until the new manifest is in force, writes are held and with them their replies. The old files stay where they
//! are, as in redis-server, for whoever owns that folder.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use super::folder::Folder;
use super::rewrite::{Plan, on_another_thread, replace};
use super::writer::hold_writes;
use crate::server::Server;
use crate::server::persist::disk::sync_all;

/// An increment and its copy.
struct Copy {
    from: File,
    to: File,
}

impl Copy {
    fn begin(from: &Path, to: &Path) -> io::Result<Copy> {
        Ok(Copy {
            from: File::open(from)?,
            to: Folder::open(to, true)?,
        })
    }

    /// Makes the copy as long as the file is now, and durable. What was copied may since have been taken back
    /// because its write had failed; what is written in its place begins in the same way.
    fn catch_up(&mut self) -> io::Result<()> {
        let len = self.from.metadata()?.len();
        let copied = self.to.metadata()?.len();
        if copied > len {
            self.to.set_len(len)?;
        }
        self.from.seek(SeekFrom::Start(copied.min(len)))?;
        io::copy(&mut self.from, &mut self.to)?;
        sync_all(&self.to)
    }
}

/// Makes the files in the new folder the ones that count; false if that may not be durable. On an error the old ones
/// still do.
pub(super) async fn move_over(
    server: &Rc<RefCell<Server>>,
    plan: Plan,
) -> io::Result<(Plan, bool)> {
    let (plan, mut copy) = on_another_thread(move || {
        let copy = begin_copy(&plan).inspect_err(|_| plan.discard())?;
        Ok((plan, copy))
    })
    .await?;
    hold_writes(server).await;
    let moved = on_another_thread(move || {
        copy.catch_up().inspect_err(|_| plan.discard())?;
        let is_durable = replace(&plan)?;
        Ok((plan, copy.to, is_durable))
    })
    .await;
    let server = &mut *server.borrow_mut();
    let moved = moved.map(|(plan, copy, is_durable)| {
        server.aof.writer.move_to(copy, plan.start);
        let folder = plan.folder.file("");
        tracing::info!(
            "The append-only file is in {} from now on",
            folder.display()
        );
        (plan, is_durable)
    });
    server.release_writes();
    moved
}

/// Copies what there is by now; the rest is little.
fn begin_copy(plan: &Plan) -> io::Result<Copy> {
    let (from, to) = plan.copy.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let mut copy = Copy::begin(from, to)?;
    copy.catch_up()?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_copy_catches_up_with_what_was_added_and_taken_back() {
        let dir = tempfile::TempDir::new().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        let mut file = Folder::open(&from, true).unwrap();
        file.write_all(b"one").unwrap();
        let mut copy = Copy::begin(&from, &to).unwrap();
        let mut check = |want: &str| {
            copy.catch_up().unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), want);
        };
        check("one");
        check("one");
        file.write_all(b" two").unwrap();
        check("one two");
        file.set_len(3).unwrap();
        check("one");
        file.write_all(b" two, three").unwrap();
        check("one two, three");
    }
}
