//! Writing the configuration file anew, so that a crash at any moment leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::config::{ServerConfig, server_table};
use crate::config::RewriteOf;

/// Rewrites the file so that it gives `config`, with the operator's comments and order.
///
/// # Errors
/// The file cannot be read or replaced; it is then as it was.
pub(super) fn rewrite(path: &Path, config: &ServerConfig, of: RewriteOf) -> io::Result<()> {
    let old = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let new = server_table().rewrite(config, &old, of);
    if new == old {
        return Ok(());
    }
    // A link is followed: what it points to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut temp = tempfile::NamedTempFile::new_in(folder)?;
    temp.write_all(&new)?;
    if let Ok(found) = fs::metadata(&path) {
        temp.as_file().set_permissions(found.permissions())?;
    }
    temp.as_file().sync_all()?;
    temp.persist(&path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
