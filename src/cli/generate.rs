//! Shell completions and manual pages, from the definitions of the command line.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::{Cli, EXIT_STATUS};
use super::print;
use crate::topology::NO_COLOR;

/// The whole command line, with the file of the daemon, which is parsed elsewhere.
fn described() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .help("The configuration of the sentinel daemon, a sentinel.conf or YAML; `-` for standard input");
    Cli::command().arg(file).version(super::VERSION)
}

pub(super) fn completions(shell: Shell) -> anyhow::Result<()> {
    print(&String::from_utf8(script(shell))?)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut described(), "sentinel", &mut script);
    script
}

pub(super) fn man(dir: Option<&Path>) -> anyhow::Result<()> {
    match dir {
        None => {
            let page = page(&described()).context("render the manual page")?;
            print(&String::from_utf8(page)?)
        }
        Some(dir) => {
            for (name, page) in pages().context("render the manual pages")? {
                let path = dir.join(name);
                fs::write(&path, page).with_context(|| format!("write {}", path.display()))?;
            }
            Ok(())
        }
    }
}

/// All pages with their file names.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut main = described().disable_help_subcommand(true);
    main.build();
    let commands = std::iter::once(&main).chain(main.get_subcommands());
    let file = |command: &Command| {
        let name = command.get_display_name().unwrap_or(command.get_name());
        Ok((format!("{name}.1"), page(command)?))
    };
    commands.map(file).collect()
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).source(format!("sentinel {}", super::VERSION));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let below = command.get_after_help().map(ToString::to_string);
    let below = below.unwrap_or_default();
    let (statuses, examples): (Vec<&str>, Vec<&str>) =
        below.split("\n\n").partition(|part| is_status(part));
    page.extend(exit_status(statuses.first().unwrap_or(&EXIT_STATUS)).into_bytes());
    page.extend(environment(command).into_bytes());
    page.extend(section_of_examples(&examples.join("\n\n")).into_bytes());
    Ok(page)
}

/// Whether a paragraph below a help text tells what the command ends with.
fn is_status(paragraph: &str) -> bool {
    paragraph.starts_with("Exit status")
}

/// `Exit status[ of what]: NUMBER meaning; …` as a section.
fn exit_status(paragraph: &str) -> String {
    let line = paragraph.split_ascii_whitespace().collect::<Vec<_>>();
    let line = line.join(" ");
    let (about, statuses) = line.split_once(": ").unwrap_or(("", &line));
    let mut section = Roff::new();
    section.control("SH", ["EXIT STATUS"]);
    if about != "Exit status" {
        section.text([roman(format!("{about}:"))]);
    }
    for status in statuses.trim_end_matches('.').split("; ") {
        let (number, meaning) = status.split_once(' ').unwrap_or((status, ""));
        section.control("TP", []).text([bold(number)]);
        section.text([roman(meaning)]);
    }
    section.to_roff()
}

/// The variables that stand for options, and what else is looked at; empty: none.
fn environment(command: &Command) -> String {
    let variables = command.get_arguments().filter_map(|arg| {
        let option = format!("--{}", arg.get_long()?);
        let env = arg.get_env().map(|name| {
            let name = name.to_string_lossy().into_owned();
            (name, format!("as {option}, where that is not given"))
        });
        let color = (option == "--color").then(|| {
            let text = "not empty: no colours, unless --color always is given".to_owned();
            (NO_COLOR.to_owned(), text)
        });
        env.or(color)
    });
    let mut section = Roff::new();
    let mut is_empty = true;
    for (name, meaning) in variables {
        if is_empty {
            section.control("SH", ["ENVIRONMENT"]);
            is_empty = false;
        }
        section.control("TP", []).text([bold(name)]);
        section.text([roman(meaning)]);
    }
    if is_empty {
        String::new()
    } else {
        section.to_roff()
    }
}

/// What stands below a help text, as it stands there: its columns are not to be filled up.
fn section_of_examples(text: &str) -> String {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in text.lines().filter(|line| !line.starts_with("Example")) {
        section.text([roman(line)]);
    }
    section.control("fi", []).to_roff()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_subcommand_has_a_page_and_is_completed() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        let script = String::from_utf8(script(Shell::Bash)).unwrap();
        for command in Cli::command().get_subcommands() {
            let page = format!("sentinel-{}.1", command.get_name());
            assert!(names.contains(&page.as_str()), "{page}");
            assert!(
                script.contains(command.get_name()),
                "{}",
                command.get_name()
            );
        }
        for (name, page) in &pages {
            let text = String::from_utf8_lossy(page);
            assert!(text.contains(".SH EXAMPLES"), "{name} has examples");
            let statuses = text.split(".SH \"EXIT STATUS\"").nth(1).unwrap_or_default();
            // A daemon cannot start with wrong arguments, as its original.
            let status = if name == "sentinel-server.1" {
                "\\fB1\\fR\nit cannot start, or cannot go on\n"
            } else {
                "\\fB64\\fR\nwrong arguments\n"
            };
            assert!(statuses.contains(status), "{name}: {text}");
        }
        let status = pages.iter().find(|(name, _)| name == "sentinel-status.1");
        let status = String::from_utf8_lossy(&status.unwrap().1).into_owned();
        for part in [
            "\\fB2\\fR\nno master: it is down, no sentinel knows it, or no sentinel answers\n",
            ".SH ENVIRONMENT\n.TP\n\\fBSENTINEL_ADDR\\fR\nas \\-\\-sentinel, where",
            "\\fBNO_COLOR\\fR\n",
        ] {
            assert!(status.contains(part), "{part}\n{status}");
        }
    }

    /// The Debian package takes them from files, since nothing of ours runs while it is packed.
    #[test]
    fn the_files_of_the_package_are_what_the_program_prints() {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let pages = pages().unwrap().into_iter();
        let mut wanted: BTreeMap<PathBuf, Vec<u8>> = pages
            .map(|(name, page)| (deploy.join("man").join(name), page))
            .collect();
        let scripts = [
            (Shell::Bash, "sentinel.bash"),
            (Shell::Zsh, "_sentinel"),
            (Shell::Fish, "sentinel.fish"),
        ];
        for (shell, name) in scripts {
            wanted.insert(deploy.join("completions").join(name), script(shell));
        }
        if std::env::var_os("UPDATE_DEPLOY").is_some() {
            for folder in ["man", "completions"].map(|name| deploy.join(name)) {
                // Not there the first time.
                let _ = fs::remove_dir_all(&folder);
                fs::create_dir(&folder).unwrap();
            }
            wanted
                .iter()
                .for_each(|(path, text)| fs::write(path, text).unwrap());
        }
        let files = ["man", "completions"]
            .into_iter()
            .flat_map(|folder| fs::read_dir(deploy.join(folder)).unwrap())
            .map(|entry| entry.unwrap().path());
        let found: BTreeMap<PathBuf, Vec<u8>> = files
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        let names: Vec<&PathBuf> = found.keys().collect();
        assert!(
            names.iter().eq(&wanted.keys().collect::<Vec<_>>()),
            "{names:?}"
        );
        for (path, text) in &wanted {
            let is_same = found[path] == *text;
            assert!(
                is_same,
                "{}: UPDATE_DEPLOY=1 cargo test the_files_of_the_package",
                path.display()
            );
        }
    }

    /// The subcommands as a table, for README.
    #[test]
    fn readme_lists_the_subcommands() {
        let mut table = String::from("| command | what it does |\n| --- | --- |\n");
        for command in Cli::command().get_subcommands() {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            table.push_str(&format!(
                "| `sentinel {}` | {about} |\n",
                command.get_name()
            ));
        }
        crate::readme::check_part("README.md", "subcommands", &table);
    }
}
