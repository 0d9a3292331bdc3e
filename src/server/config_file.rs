//! Writing the configuration file anew, so that a crash at any moment leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::config::{ConfigFile, ServerConfig, server_table};
use crate::config::{ConfigErrors, RewriteOf, Source, load};

/// Directives of which a line adds to those before it.
const ADDING: [&str; 2] = ["save", "user"];

/// Rewrites the file so that it gives `config`, with the operator's comments and order. A file that it includes is
/// copied into it where lines of that one cannot be undone by others.
///
/// # Errors
/// The file, or one that it includes, cannot be read, or the file not replaced; it is then as it was.
pub(super) fn rewrite(file: &ConfigFile, config: &ServerConfig, of: RewriteOf) -> io::Result<()> {
    let path = file.path.as_path();
    let old = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let source = match old.as_slice() {
        [] => Source::Stdin(Vec::new()),
        _ => Source::File(path.to_owned()),
    };
    let read = |is_copied: &dyn Fn(&[String]) -> bool| {
        let mut errors = ConfigErrors::default();
        let reading = load::read_from(file.read_in.clone(), &source, is_copied, &mut errors);
        let reading = reading.map_err(io::Error::other)?;
        errors.into_result(reading).map_err(io::Error::other)
    };
    let table = server_table();
    let changed = table.changed(config, &read(&|_| false)?.lines, of);
    let text = read(&|words| {
        let name = table.canonical(&words[0]);
        let name = name.filter(|name| changed.contains(name));
        name.is_some_and(|name| ADDING.contains(&name) || !table.has_line(name, config))
    })?;
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
