//! TLS: our sentinel over real redis-servers that take replication and sentinels by TLS alone, and for
//! our own clients.

use std::net::TcpStream;
use std::path::Path;

use crate::support::{
    Kind, NAME, Port, expect_that, fields, redis_cli, secs, start_sentinel, start_server, text,
    wait_for,
};

/// Writes an authority and one certificate for everybody, as `ca.crt`, `node.crt` and `node.key`;
/// the directives that use them.
pub(crate) fn certificates(folder: &Path) -> String {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate whose issuer has its own name for one that signed itself.
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "the authority");
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    // As the certificates of most installations, it does not bear the servers' addresses.
    let params = CertificateParams::new(vec!["redis.example".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    format!(
        "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-replication yes\n",
        write("node.crt", cert.pem()),
        write("node.key", key.serialize_pem()),
        write("ca.crt", authority.pem()),
    )
}

#[test]
fn a_failover_with_every_link_in_tls() {
    let folder = tempfile::tempdir().unwrap();
    let tls = certificates(folder.path());
    let (master_port, replica_port) = (Port::reserve(), Port::reserve());
    let lines = |port: &Port| format!("{tls}tls-port {}\n", port.number());
    let mut master = start_server(Kind::Real, &lines(&master_port));
    let follow = format!("replicaof 127.0.0.1 {}\n", master_port.number());
    let replica = start_server(Kind::Real, &(lines(&replica_port) + &follow));
    wait_for("the replica is in sync", secs(20), || {
        let status = replica.info("master_link_status");
        expect_that(status.as_deref() == Some("up"), || format!("{status:?}"))
    });

    let client_port = Port::reserve();
    let monitor = format!(
        "sentinel monitor {NAME} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {NAME} 1000\n",
        master_port.number()
    );
    let node = start_sentinel(Kind::Ours, &monitor, &lines(&client_port));
    let mut client = node.client();
    wait_for("both servers are known over TLS", secs(20), || {
        let master = fields(&client.call(&["SENTINEL", "MASTER", NAME]));
        expect_that(
            master["flags"] == "master" && !master["runid"].is_empty(),
            || format!("{master:?}"),
        )?;
        expect_that(master["num-slaves"] == "1", || format!("{master:?}"))
    });

    master.kill();
    wait_for("the replica's TLS port is the master", secs(20), || {
        let addr = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let text = text(&addr);
        expect_that(text.contains(&replica_port.number().to_string()), || text)
    });
    wait_for("the replica is a master", secs(10), || {
        let role = replica.info("role");
        expect_that(role.as_deref() == Some("master"), || format!("{role:?}"))
    });

    let over_tls = |with_certificate: bool| {
        let mut command = redis_cli();
        command.args(["--tls", "-p", &client_port.number().to_string(), "--cacert"]);
        command.arg(folder.path().join("ca.crt"));
        if with_certificate {
            command.arg("--cert").arg(folder.path().join("node.crt"));
            command.arg("--key").arg(folder.path().join("node.key"));
        }
        let output = command.arg("PING").output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(over_tls(true), "PONG");
    assert_ne!(over_tls(false), "PONG", "a client without a certificate");
}

#[test]
fn whoever_begins_no_handshake_has_the_place_of_a_client() {
    let folder = tempfile::tempdir().unwrap();
    let lines = certificates(folder.path()) + "maxclients 20\n";
    for kind in [Kind::Real, Kind::Ours] {
        let port = Port::reserve();
        let server = start_server(kind, &format!("{lines}tls-port {}\n", port.number()));
        let mut client = server.client();
        let mut wait = |what: &str, counts: &[&str]| {
            wait_for(what, secs(10), || {
                let info = text(&client.call(&["INFO"]));
                let has = |count: &&str| info.contains(&format!("\r\n{count}\r\n"));
                expect_that(counts.iter().all(has), || format!("{kind:?}: {info}"))
            });
        };
        wait("nobody else is there", &["connected_clients:1"]);
        let silent: Vec<TcpStream> = (0..50)
            .map(|_| TcpStream::connect(("127.0.0.1", port.number())).unwrap())
            .collect();
        wait(
            "the others are turned away",
            &["connected_clients:20", "rejected_connections:31"],
        );
        drop(silent);
        wait("they leave room", &["connected_clients:1"]);
    }
}

#[test]
fn a_data_server_takes_new_certificates_without_a_restart() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = Port::reserve();
    let lines = certificates(old.path()) + "tls-auth-clients no\n";
    let server = start_server(Kind::Ours, &format!("{lines}tls-port {}\n", port.number()));
    let ping = |authority: &Path| {
        let output = redis_cli()
            .args(["--tls", "-p", &port.number().to_string(), "--cacert"])
            .arg(authority.join("ca.crt"))
            .arg("PING")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(ping(old.path()), "PONG");
    certificates(new.path());
    let file = |folder: &Path, name: &str| folder.join(name).display().to_string();
    let mut client = server.client();
    let refused = text(&client.call(&["CONFIG", "SET", "tls-cert-file", "/nonexistent"]));
    assert!(
        refused.contains("Unable to update TLS configuration"),
        "{refused}"
    );
    assert_eq!(ping(old.path()), "PONG", "what was refused changes nothing");
    let reply = client.call(&[
        "CONFIG",
        "SET",
        "tls-cert-file",
        &file(new.path(), "node.crt"),
        "tls-key-file",
        &file(new.path(), "node.key"),
        "tls-ca-cert-file",
        &file(new.path(), "ca.crt"),
    ]);
    assert_eq!(text(&reply), "OK");
    assert_eq!(ping(new.path()), "PONG");
    assert_ne!(
        ping(old.path()),
        "PONG",
        "the old authority does not know the new certificate"
    );
}

#[test]
fn clients_get_the_ciphers_that_are_configured() {
    /// A protocol, the directive of its ciphers, redis-cli's option for them, ciphers, and lists to set in turn.
    type Case = (
        &'static str,
        &'static str,
        &'static str,
        [&'static str; 3],
        &'static [&'static str],
    );
    const CASES: [Case; 2] = [
        (
            "TLSv1.2",
            "tls-ciphers",
            "--tls-ciphers",
            [
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ],
            &[
                "",
                "DEFAULT:!AES256",
                "NOSUCH",
                "ECDHE+CHACHA20",
                "NOSUCH:ECDHE-ECDSA-AES128-GCM-SHA256",
            ],
        ),
        (
            "TLSv1.3",
            "tls-ciphersuites",
            "--tls-ciphersuites",
            [
                "TLS_AES_128_GCM_SHA256",
                "TLS_AES_256_GCM_SHA384",
                "TLS_CHACHA20_POLY1305_SHA256",
            ],
            &[
                "",
                "TLS_CHACHA20_POLY1305_SHA256:NOSUCH",
                "NOSUCH",
                "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
            ],
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let lines = certificates(folder.path()) + "tls-auth-clients no\n";
    let [real, ours] = [Kind::Real, Kind::Ours].map(|kind| {
        let port = Port::reserve();
        let server = start_server(kind, &format!("{lines}tls-port {}\n", port.number()));
        let mut client = server.client();
        let mut found = Vec::new();
        for (protocol, directive, option, ciphers, lists) in CASES {
            client.call(&["CONFIG", "SET", "tls-protocols", protocol]);
            for list in lists {
                found.push(text(&client.call(&["CONFIG", "SET", directive, list])));
                for cipher in ciphers {
                    let output = redis_cli()
                        .args(["--tls", "-p", &port.number().to_string(), option, cipher])
                        .arg("--cacert")
                        .arg(folder.path().join("ca.crt"))
                        .arg("PING")
                        .output()
                        .unwrap();
                    let said = String::from_utf8_lossy(&output.stdout);
                    let is_met = said.trim() == "PONG";
                    found.push(format!("{protocol} '{list}' {cipher}: {is_met}"));
                }
            }
        }
        found
    });
    assert_eq!(real, ours);
    let met = real.iter().filter(|line| line.ends_with("true")).count();
    assert!((8..20).contains(&met), "{real:#?}");
}

#[test]
fn a_replica_connects_again_with_the_certificates_that_it_has() {
    for kind in [Kind::Real, Kind::Ours] {
        let folder = tempfile::tempdir().unwrap();
        let tls = certificates(folder.path());
        let port = Port::reserve();
        let master = start_server(Kind::Real, &format!("{tls}tls-port {}\n", port.number()));
        let follow = format!("replicaof 127.0.0.1 {}\n", port.number());
        let replica = start_server(kind, &(tls + &follow));
        let wait_for_link = |connections: usize| {
            wait_for("the link is up", secs(20), || {
                let status = replica.info("master_link_status");
                expect_that(status.as_deref() == Some("up"), || format!("{status:?}"))?;
                let resyncs = ["sync_full", "sync_partial_ok"].map(|name| master.info(name));
                let count = |found: &Option<String>| found.as_ref()?.parse::<usize>().ok();
                let sum: usize = resyncs.iter().filter_map(count).sum();
                expect_that(sum == connections, || format!("{resyncs:?}"))
            });
        };
        wait_for_link(1);
        for name in ["node.crt", "node.key", "ca.crt"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        for again in 2..4 {
            master.client().call(&["CLIENT", "KILL", "TYPE", "replica"]);
            wait_for_link(again);
        }
    }
}
