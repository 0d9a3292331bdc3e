//! The ACL file: one `user <name> <rules>` line per user.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Acl, AclError, User};
use crate::resp::split_words;

/// The largest ACL file that is read. Bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Acl {
    /// `aclfile`: where [`Acl::load_file`] and [`Acl::save_file`] find it.
    pub fn set_file(&mut self, path: Option<PathBuf>) {
        self.file = path;
    }

    /// Replaces all users by those of the file; on an error nothing changes. A missing `default` is
    /// open, as without a file.
    ///
    /// # Errors
    /// No file is configured, it cannot be read, or a line is wrong.
    pub fn load_file(&mut self) -> Result<(), AclError> {
        let path = self.file.clone().ok_or(AclError::NoFile)?;
        let unreadable = |error: std::io::Error| {
            AclError::File(format!(
                "Error loading ACLs, opening file '{}': {error}",
                path.display()
            ))
        };
        let size = fs::metadata(&path).map_err(unreadable)?.len();
        if size > FILE_BYTES_MAX {
            return Err(AclError::File(format!(
                "{}: larger than {FILE_BYTES_MAX} bytes",
                path.display()
            )));
        }
        let content = fs::read(&path).map_err(unreadable)?;
        let loaded = self.parse_file(&path, &content)?;
        self.replace_users(loaded);
        Ok(())
    }

    fn parse_file(&self, path: &Path, content: &[u8]) -> Result<BTreeMap<Vec<u8>, User>, AclError> {
        let mut loaded = BTreeMap::new();
        let mut mistakes = String::new();
        for (number, line) in content.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let mut mistake = |text: String| {
                let number = number + 1;
                mistakes.push_str(&format!("{}:{number}: {text} ", path.display()));
            };
            let words = split_words(line).unwrap_or_default();
            let [user, name, rules @ ..] = words.as_slice() else {
                mistake("line should start with user keyword and a name.".to_owned());
                continue;
            };
            if user != b"user" {
                mistake("line should start with user keyword.".to_owned());
                continue;
            }
            match self.build_user(None, name, rules) {
                Ok(user) => {
                    if loaded.insert(name.clone(), user).is_some() {
                        let name = String::from_utf8_lossy(name);
                        mistake(format!("user '{name}' is defined twice."));
                    }
                }
                Err(error) => mistake(format!("{error}.")),
            }
        }
        if mistakes.is_empty() {
            Ok(loaded)
        } else {
            mistakes.push_str(
                "WARNING: ACL errors detected, no change to the previously active ACL rules was \
                 performed",
            );
            Err(AclError::File(mistakes))
        }
    }

    fn replace_users(&mut self, loaded: BTreeMap<Vec<u8>, User>) {
        let catalog = Rc::clone(&self.catalog);
        if !loaded.contains_key(b"default".as_slice()) {
            *self.default.borrow_mut() = User::default_user(&catalog);
        }
        self.users
            .retain(|name, _| name == b"default" || loaded.contains_key(name));
        for (name, user) in loaded {
            self.put(name, user);
        }
    }

    /// Writes all users to the file: a complete new file takes its place.
    ///
    /// # Errors
    /// No file is configured, or it cannot be written.
    pub fn save_file(&self) -> Result<(), AclError> {
        let path = self.file.as_ref().ok_or(AclError::NoFile)?;
        let mut text = self.user_lines().join("\n");
        text.push('\n');
        let write = || -> std::io::Result<()> {
            let folder = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            fs::File::open(folder)?.sync_all()
        };
        write().map_err(|error| {
            AclError::File(format!(
                "There was an error trying to save the ACLs. {}: {error}",
                path.display()
            ))
        })
    }
}
