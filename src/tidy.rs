//! Reads the sources and keeps true what nobody can see in a single file: which parts never touch a
//! socket, a disk or a clock, in which direction they know each other, and that the tests and files which
//! the documents name exist.

use std::fs;
use std::path::{Path, PathBuf};

/// What a pure part must not mention outside its tests.
const IMPURE: &[&str] = &[
    "tokio",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::io::stdin",
    "std::process",
    "std::thread",
    "std::env",
    "rand::rng(",
    "async ",
];

/// What knows neither HTTP nor the command line.
const INNER: [&str; 6] = [
    "src/sentinel",
    "src/server",
    "src/front",
    "src/config",
    "src/net",
    "src/resp",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the package, or the file itself.
fn rust_files(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            folders.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    assert!(!found.is_empty(), "no sources in {below}");
    found
}

/// The code of a file without comments and without its tests, which stand last.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().enumerate();
    lines
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("").to_owned()))
        .collect()
}

#[track_caller]
fn check_absent(below: &str, words: &[&str]) {
    check_absent_but(&[], below, words);
}

/// The same, but for these files.
#[track_caller]
fn check_absent_but(edges: &[&str], below: &str, words: &[&str]) {
    let mut found = Vec::new();
    let is_edge = |path: &PathBuf| edges.iter().any(|edge| path.ends_with(edge));
    for path in rust_files(below).into_iter().filter(|path| !is_edge(path)) {
        for (number, line) in code(&path) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "not allowed in {below}:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_pure_parts_never_touch_the_world() {
    for part in [
        "src/sentinel/core",
        "src/server/keyspace",
        "src/resp",
        "src/ids.rs",
    ] {
        check_absent(part, IMPURE);
    }
}

#[test]
fn arrows_point_one_way() {
    let outer = ["crate::cli", "crate::topology", "crate::http"];
    for part in INNER {
        check_absent(part, &outer);
    }
    let programs = [
        "crate::server",
        "crate::sentinel",
        "crate::front",
        "crate::config",
        "crate::net",
    ];
    check_absent("src/resp", &programs);
    let around_core = [
        "crate::server",
        "crate::front",
        "crate::config",
        "crate::net",
        "super::super",
    ];
    check_absent("src/sentinel/core", &around_core);
    check_absent("src/server", &["crate::sentinel"]);
    check_absent("src/topology", &["crate::cli"]);
}

#[test]
fn only_the_edge_knows_json() {
    for part in INNER {
        // The file of decisions is for people and their tools.
        check_absent_but(&["src/sentinel/history.rs"], part, &["serde_json"]);
    }
}

/// The files that belong to the sources, from the root of them; `None`: they did not come by git.
fn tracked() -> Option<Vec<String>> {
    let mut git = std::process::Command::new("git");
    let listed = git.args(["ls-files", "-z"]).current_dir(root()).output();
    let listed = listed.ok().filter(|listed| listed.status.success())?;
    let names = String::from_utf8_lossy(&listed.stdout);
    let names: Vec<String> = names.split_terminator('\0').map(str::to_owned).collect();
    (!names.is_empty()).then_some(names)
}

/// `path`, which may begin with `../`, as seen from the folder of `document`.
fn beside(document: &str, path: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn what_the_documents_link_to_exists() {
    let tracked = tracked();
    // What only lies about here is not there for others.
    let exists = |path: &str| match &tracked {
        Some(names) => names.iter().any(|name| {
            let rest = name.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }),
        None => root().join(path).exists(),
    };
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "config/README.md",
        "deploy/prometheus/README.md",
    ] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let path = link.split('#').next().unwrap_or_default();
            assert!(exists(&beside(document, path)), "{document}: no {path}");
        }
    }
}

/// The rows of ARCHITECTURE.md that begin with a number like W4, and the test names in their last cell:
/// those in backquotes.
fn weaknesses(text: &str) -> Vec<(String, Vec<String>)> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| W"));
    let row = |row: &str| {
        let number = row.split([' ', '|']).next().unwrap_or_default();
        let last_cell = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let tests = last_cell.split('`').skip(1).step_by(2);
        (format!("W{number}"), tests.map(str::to_owned).collect())
    };
    rows.map(row).collect()
}

#[test]
fn the_tests_that_architecture_md_names_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = weaknesses(&text);
    let sources: String = ["src", "tests"]
        .iter()
        .flat_map(|below| rust_files(below))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for number in (1..=30).map(|number| format!("W{number}")) {
        assert!(
            rows.iter().any(|(found, _)| *found == number),
            "{number} has no row"
        );
    }
    for (number, tests) in rows {
        for test in tests {
            let is_test = sources.contains(&format!("fn {test}("));
            let is_file = |file: String| root().join("tests/simulation").join(file).exists();
            let is_property = is_file(format!("properties/{test}.rs"));
            let is_script = is_file(format!("scripts/{test}.txt"));
            assert!(
                is_test || is_property || is_script,
                "{number}: no test {test}"
            );
        }
    }
}

#[test]
fn rows_are_read() {
    let text = "| # | x |\n| W4 | `timers.rs` | `a_test`, `other` |\n| W11 | none | – |\n";
    let expected = [
        (
            "W4".to_owned(),
            vec!["a_test".to_owned(), "other".to_owned()],
        ),
        ("W11".to_owned(), vec![]),
    ];
    assert_eq!(weaknesses(text), expected);
}
