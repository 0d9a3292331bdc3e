//! The ACL file: one `user <name> <rules>` line per user.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Acl, AclError, RuleError, User, is_plain, join_selectors};

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

    /// The users of a file's lines. Words are what single spaces part, without quotes, as in redis-server.
    fn parse_file(&self, path: &Path, content: &[u8]) -> Result<BTreeMap<Vec<u8>, User>, AclError> {
        let mut loaded = BTreeMap::new();
        let mut mistakes = String::new();
        for (number, line) in (1..).zip(content.split(|b| *b == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let place = format!("{}:{number}", path.display());
            let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
            let [b"user", name, rules @ ..] = words.as_slice() else {
                mistakes.push_str(&format!(
                    "{place} should start with user keyword followed by the username. "
                ));
                continue;
            };
            let shown = String::from_utf8_lossy(name);
            if !is_plain(name) {
                mistakes.push_str(&format!(
                    "'{place}: username '{shown}' contains invalid characters. "
                ));
            } else if loaded.contains_key(*name) {
                mistakes.push_str(&format!(
                    "WARNING: Duplicate user '{shown}' found on line {number}. "
                ));
            } else {
                let mut user = User::new(name, &self.base);
                self.apply_line(&mut user, rules, &place, &mut mistakes);
                loaded.insert(name.to_vec(), user);
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

    /// Applies the rules of a line. All unknown names are told, and the first mistake of another kind: it may have
    /// caused those after it.
    fn apply_line(&self, user: &mut User, rules: &[&[u8]], place: &str, mistakes: &mut String) {
        let Ok(rules) = join_selectors(rules) else {
            mistakes.push_str(&format!(
                "{place}: Unmatched parenthesis in selector definition."
            ));
            return;
        };
        let mut is_told = false;
        for rule in &rules {
            let rule = rule.trim_ascii();
            match user.apply(rule, &self.base) {
                Ok(()) => {}
                Err(error @ RuleError::UnknownCommand) => {
                    let rule = String::from_utf8_lossy(rule);
                    mistakes.push_str(&format!(
                        "{place}: Error in applying operation '{rule}': {error}. "
                    ));
                }
                Err(error) => {
                    if !is_told {
                        mistakes.push_str(&format!("{place}: {error}. "));
                    }
                    is_told = true;
                }
            }
        }
    }

    fn replace_users(&mut self, loaded: BTreeMap<Vec<u8>, User>) {
        if !loaded.contains_key(b"default".as_slice()) {
            *self.default.borrow_mut() = User::default_user(&self.base);
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
        let mut text = self.file_lines().join(&b'\n');
        text.push(b'\n');
        let write = || -> std::io::Result<()> {
            let folder = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&text)?;
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
