//! `sentinel convert`: a sentinel.conf as YAML.

use anyhow::{Context, bail};

use super::args::ConvertArgs;
use super::{complain, daemon, print};
use crate::config::convert::{Converted, to_yaml};
use crate::config::load_sentinel;
use crate::config::sentinel::is_yaml;
use crate::sentinel::state::export;

pub(super) fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    if is_yaml(&args.file) {
        bail!("{} is YAML already", args.file.display());
    }
    let source = daemon::source(&args.file)?;
    let config = load_sentinel(&source, &[])?;
    let Converted { yaml, learned } = to_yaml(&source)?;
    match (&args.state, &config.state_file) {
        (Some(_), Some(file)) => bail!(
            "what was learned is in {} already, and the YAML names that file: leave out --state",
            file.display()
        ),
        (Some(path), None) => {
            export(&config, path)
                .with_context(|| format!("write the state to {}", path.display()))?;
        }
        (None, None) if learned > 0 => complain(&format!(
            "sentinel: {learned} lines with what was learned (epochs, replicas, other sentinels, pauses) are not in \
             the YAML\n--state FILE writes them into a state file; `sentinel convert --help` says where it belongs"
        )),
        (None, _) => {}
    }
    print(&yaml)
}
