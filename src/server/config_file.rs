//! Writing the configuration file anew, so that a crash at any moment leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::config::{ConfigFile, ServerConfig, server_table};
use crate::config::{ConfigErrors, RewriteOf, Source, load};

/// Directives of which a line adds to those before it, or is not undone by one behind it.
const ADDING: [&str; 3] = ["replicaof", "save", "user"];

/// Rewrites the file so that it gives `config`, with the operator's comments and order. A file that it includes is
/// copied into it where lines of that one stand in the way.
///
/// # Errors
/// The file cannot be read or replaced; it is then as it was.
pub(super) fn rewrite(file: &ConfigFile, config: &ServerConfig, of: RewriteOf) -> io::Result<()> {
    let path = file.path.as_path();
    let old = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let read = |is_copied: &dyn Fn(&[String]) -> bool| {
        let source = Source::File(path.to_owned());
        // What is wrong with a line keeps the next start from it, not a rewrite.
        let mut errors = ConfigErrors::default();
        load::read_from(file.read_in.clone(), &source, is_copied, &mut errors).unwrap_or_default()
    };
    let table = server_table();
    let changed = table.changed(config, &read(&|_| false).lines, of);
    let text = read(&|words| {
        let name = table.canonical(&words[0]);
        name.is_some_and(|name| changed.contains(name) && ADDING.contains(&name))
    });
    let new = table.rewrite(config, &text.text, &changed);
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
