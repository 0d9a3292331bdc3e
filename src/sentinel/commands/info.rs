//! `INFO` of the sentinel daemon.

use super::{Host, text};
use crate::front::{
    Call, DEFAULT_HZ, DataStats, InfoSections, Reply, clients_section, cpu_section, server_section,
    stats_section,
};

/// The sections, in the order in which they are shown.
const SECTIONS: [&str; 5] = ["server", "clients", "stats", "cpu", "sentinel"];

/// A plain bulk string also in RESP3, as from a real sentinel.
pub(super) fn info<H: Host>(host: &mut H, call: &Call<'_>, reply: &mut Reply) {
    let asked = InfoSections::parse(call.args().iter().map(|word| text(word)));
    let mut parts = Vec::new();
    for name in SECTIONS {
        if asked.wants(name, true) {
            parts.push(section(host, call, name));
        }
    }
    reply.bulk(parts.join("\r\n"));
}

fn section<H: Host>(host: &mut H, call: &Call<'_>, name: &str) -> String {
    match name {
        "server" => {
            let info = host.process_info();
            server_section(&info, H::MODE, DEFAULT_HZ, call.now)
        }
        "clients" => clients_section(host.front()),
        "stats" => stats_section(host.front(), &DataStats::default()),
        "cpu" => cpu_section(),
        _ => sentinel_section(host, call),
    }
}

fn sentinel_section<H: Host>(host: &mut H, call: &Call<'_>) -> String {
    let scripts = host.pending_scripts();
    let running = scripts.iter().filter(|script| script.is_running).count();
    let core = host.core();
    format!(
        "# Sentinel\r\n{}sentinel_running_scripts:{running}\r\nsentinel_scripts_queue_length:{}\r\n{}",
        core.info_head(call.now),
        scripts.len(),
        core.info_tail(),
    )
}
