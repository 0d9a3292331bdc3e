//! Started as Debian's redis-sentinel unit starts its program: through its link name, with its command
//! line, told where to report readiness, and under the unit's system call filter, which kills. Scripts run
//! there too. Our own unit has the same filter.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::support::{
    Client, Kind, Port, Process, expect_that, secs, start_server, text, wait_for,
};

/// Set for [`under_the_filter`]: the program to become, and its arguments, one per line.
const PROGRAM: &str = "UNIT_TEST_PROGRAM";

/// The unit file that came with the real redis-sentinel.
fn unit() -> String {
    let program = Kind::Real.sentinel(Path::new("x"));
    let root = Path::new(program.get_program()).ancestors().nth(3);
    let unpacked = root.expect("root/usr/bin/redis-sentinel has three folders");
    let read =
        |root: &Path| fs::read_to_string(root.join("lib/systemd/system/redis-sentinel.service"));
    let unit = read(unpacked).or_else(|_| read(Path::new("/")));
    unit.unwrap_or_else(|error| panic!("redis-sentinel.service (package redis-sentinel): {error}"))
}

/// The value of a directive of the unit.
fn directive<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.collect()
}

/// The command line of the unit, with our binary under the name of its program, and `config` for its
/// configuration file.
fn command_line(unit: &str, folder: &Path, config: &Path) -> String {
    let [line] = directive(unit, "ExecStart")[..] else {
        panic!("one ExecStart is expected: {unit}");
    };
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let name = Path::new(&words[0]).file_name().expect("a program");
    let link = folder.join(name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sentinel"), &link).unwrap();
    words[0] = link.display().to_string();
    assert!(words[1].ends_with("/sentinel.conf"), "{line}");
    words[1] = config.display().to_string();
    words.join("\n")
}

#[test]
fn ready_and_watching_under_the_units_filter() {
    let unit = unit();
    // What the filter below stands for.
    assert_eq!(
        directive(&unit, "SystemCallFilter"),
        ["@system-service", "~ @privileged @resources"]
    );
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/sentinel.service");
    let ours = fs::read_to_string(ours).unwrap();
    assert_eq!(
        directive(&ours, "SystemCallFilter"),
        ["@system-service", "~@privileged @resources"]
    );
    assert_eq!(directive(&unit, "LimitNOFILE"), ["65535"]);
    assert_eq!(directive(&unit, "Type"), ["notify"]);

    let server = start_server(Kind::Real, "");
    let folder = tempfile::tempdir().unwrap();
    let (port, config) = (Port::reserve(), folder.path().join("sentinel.conf"));
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\necho \"$*\" >>\"$0.ran\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let lines = format!(
        "port {}\ndaemonize yes\npidfile {1}/the.pid\nlogfile {1}/the.log\ndir {1}\n\
         sentinel monitor m 127.0.0.1 {2} 1\nsentinel notification-script m {1}/script\n",
        port.number(),
        folder.path().display(),
        server.port()
    );
    fs::write(&config, lines).unwrap();
    let socket = folder.path().join("notify");
    let notified = UnixDatagram::bind(&socket).unwrap();
    notified.set_read_timeout(Some(secs(20))).unwrap();

    let mut helper = Command::new(std::env::current_exe().unwrap());
    let name = "debian_unit_starts_us::under_the_filter";
    helper.args(["--exact", name, "--ignored", "--nocapture"]);
    helper.env(PROGRAM, command_line(&unit, folder.path(), &config));
    helper.env("NOTIFY_SOCKET", &socket);
    let mut process = Process::start("unit", folder.path(), helper);

    let mut message = [0; 4096];
    let count = notified.recv(&mut message).unwrap_or_else(|error| {
        panic!("no word of readiness: {error}; {}", process.log());
    });
    let message = String::from_utf8_lossy(&message[..count]);
    assert!(message.lines().any(|line| line == "READY=1"), "{message}");
    let mut client = Client::to(port.number());
    wait_for("the master is watched", secs(10), || {
        let master = text(&client.call(&["SENTINEL", "MASTER", "m"]));
        expect_that(!master.contains("disconnected"), || master.clone())
    });
    wait_for("the notification script has run", secs(20), || {
        let said = fs::read_to_string(folder.path().join("script.ran"));
        let said = said.map_err(|error| format!("{error}: {}", process.log()))?;
        expect_that(said.contains("+monitor"), || said.clone())
    });
    assert_eq!(text(&client.call(&["SENTINEL", "FLUSHCONFIG"])), "OK");
    let saved = fs::read_to_string(&config).unwrap();
    assert!(saved.contains("sentinel myid "), "{saved}");
    let pid = fs::read_to_string(folder.path().join("the.pid")).unwrap();
    assert_eq!(
        pid.trim(),
        process.pid().to_string(),
        "not in the background"
    );
    assert_eq!(
        process.terminate(secs(10)).code(),
        Some(0),
        "{}",
        process.log()
    );
}

/// Becomes the program of [`PROGRAM`], under the limits of the unit.
#[test]
#[ignore = "run by the test above in a process of its own"]
fn under_the_filter() {
    // It proves nothing by itself, and may be run with all that is ignored.
    let Ok(program) = std::env::var(PROGRAM) else {
        return;
    };
    let mut words = program.lines();
    // As with LimitNOFILE: soft and hard limit are one, as high as this machine allows.
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let files = Rlimit {
        current: Some(hard.min(65_535)),
        maximum: Some(hard.min(65_535)),
    };
    setrlimit(Resource::Nofile, files).unwrap();
    let killed = SYSTEM_CALLS.iter().map(|call| (*call, Vec::new()));
    let filter = SeccompFilter::new(
        killed.collect::<BTreeMap<_, _>>(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&filter).unwrap();
    let path = PathBuf::from(words.next().unwrap());
    let error = Command::new(path).args(words).exec();
    panic!("{program}: {error}");
}

/// systemd's sets @privileged and @resources, and what @system-service leaves out.
const SYSTEM_CALLS: &[i64] = &[
    libc::SYS_ioprio_set,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_set_mempolicy,
    libc::SYS_setpriority,
    libc::SYS_setrlimit,
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_capset,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_setfsuid,
    libc::SYS_setgroups,
    libc::SYS_sethostname,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_settimeofday,
    libc::SYS_setuid,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
];
