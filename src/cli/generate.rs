//! Shell completions and manual pages, from the definitions of the command line.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;
use super::print;

/// The whole command line, with the file of the daemon, which is parsed elsewhere.
fn described() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .help("The configuration of the sentinel daemon, a sentinel.conf or YAML; `-` for standard input");
    Cli::command().arg(file).version(super::VERSION)
}

pub(super) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut described(), "sentinel", &mut script);
    print(&String::from_utf8(script)?)
}

pub(super) fn man(dir: Option<&Path>) -> anyhow::Result<()> {
    match dir {
        None => {
            let page = page(described()).context("render the manual page")?;
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
        Ok((format!("{name}.1"), page(command.clone())?))
    };
    commands.map(file).collect()
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_and_is_completed() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut described(), "sentinel", &mut script);
        let script = String::from_utf8(script).unwrap();
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
            assert!(text.contains("Example"), "{name} has examples");
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
