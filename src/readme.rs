//! Parts of the README files that are made from the code, so that they cannot go stale.

use std::path::Path;
use std::sync::Mutex;

/// Asserts that `file`, named from the root of the sources, holds `want` between the marks of the part `name`; with
/// `UPDATE_README` in the environment, writes it there instead.
pub(crate) fn check_part(file: &str, name: &str, want: &str) {
    // Parts are written by tests that run at the same time.
    static FILES: Mutex<()> = Mutex::new(());
    let _files = FILES
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let begin =
        format!("<!-- {name}: UPDATE_README=1 cargo test readme writes what is between -->\n");
    let end = format!("<!-- {name} end -->");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let readme = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = readme.split_once(&begin).expect("the mark before the part");
    let (part, tail) = rest.split_once(&end).expect("the mark behind the part");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(path, [head, &begin, want, &end, tail].concat()).unwrap();
    } else {
        assert_eq!(part, want, "UPDATE_README=1 cargo test readme");
    }
}
