//! A script gets the standard descriptors and nothing else: not our sockets, and not what a careless
//! parent has left open for us.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use rustix::io::{FdFlags, fcntl_setfd};

use crate::support::{Kind, secs, start_sentinel, wait_for};

#[test]
fn a_script_sees_none_of_our_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let leak = File::create(folder.path().join("left-open-by-the-parent")).unwrap();
    fcntl_setfd(&leak, FdFlags::empty()).unwrap();
    let result = folder.path().join("result");
    let script = folder.path().join("script");
    let text = format!(
        "#!/bin/sh\nfor fd in /proc/$$/fd/*; do echo \"${{fd##*/}} $(readlink $fd)\"; done >{0}.new\n\
         echo \"args $*\" >>{0}.new\nmv {0}.new {0}\n",
        result.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();

    let monitor = format!(
        "sentinel monitor m 127.0.0.1 1 1\nsentinel notification-script m {}\n",
        script.display()
    );
    let node = start_sentinel(Kind::Ours, &monitor, "");
    let seen = wait_for("the script has run", secs(20), || {
        fs::read_to_string(&result).map_err(|error| format!("{error}: {}", node.process.log()))
    });
    drop(leak);
    let args = "args +monitor master m 127.0.0.1 1 quorum 1";
    assert!(seen.contains(args), "{seen}");
    // What the shell itself opens are files and pipes.
    let ours = ["socket:", "anon_inode:", "left-open-by-the-parent"];
    let leaked: Vec<&str> = seen
        .lines()
        .filter(|line| ours.iter().any(|kind| line.contains(kind)))
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    for standard in ["0 ", "1 ", "2 "] {
        assert!(
            seen.lines().any(|line| line.starts_with(standard)),
            "{seen}"
        );
    }
}
