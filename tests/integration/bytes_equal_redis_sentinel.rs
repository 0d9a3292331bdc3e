//! What no well-behaved client sends is answered with the same bytes as by a redis-sentinel 7.0, and ends
//! the connection at the same point.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::support::{Kind, NAME, Port, secs, start_sentinel};

/// Sent behind each case; its reply is the end of what is compared, unless the connection ends before.
const MARK: &[u8] = b"\r\nPING the-end\r\n";
const MARK_REPLY: &[u8] = b"$7\r\nthe-end\r\n";

const CASES: &[&[u8]] = &[
    // Lengths and types
    b"*1\r\n:1\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n\n4\r\nPING\r\n",
    b"*1\r\n\r4\r\nPING\r\n",
    b"*a\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"*1 \r\n",
    b"*2147483648\r\n",
    b"*1\r\n$a\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$536870913\r\n",
    // What is skipped
    b"\r\n\r\nPING\r\n",
    b"*0\r\nPING\r\n",
    b"*-1\r\nPING\r\n",
    b"*1\r\n$4\r\nPINGxxPING\r\n",
    b"$4\r\nPING\r\n",
    // Inline requests
    b"PING\nPING\n",
    b"PING \"a\r\n",
    b"PING 'a'b\r\n",
    b"'PING'\r\n",
    b"\"\\x50ING\" 'a\\'b'\r\n",
    b"\"\\x50ING\" \"\\n\\r\\t\\\\ \\q\"\r\n",
    // Empty and binary words
    b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n",
    b"*1\r\n$0\r\n\r\n",
    b"*2\r\n$0\r\n\r\n$1\r\na\r\n",
    b"SET \xff\xfe\x01 b\r\n",
    b"*2\r\n$3\r\nF\r\n\r\n$3\r\na\r\n\r\n",
    b"CLIENT \xff\r\n",
    b"SENTINEL \xff\r\n",
    b"HELLO 3 SETNAME \xff\r\n",
    // A browser that was tricked
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    // Pipelines whose replies depend on each other
    b"HELLO\r\n",
    b"HELLO 3 SETNAME a AUTH default x\r\nCLIENT GETNAME\r\n",
    b"HELLO 3 AUTH nobody x more\r\n",
    b"HELLO 3 SETNAME a AUTH nobody x\r\nCLIENT GETNAME\r\n",
    b"HELLO 3 SETNAME a more\r\nCLIENT GETNAME\r\n",
    b"HELLO 3\r\nHELLO\r\nHELLO 2\r\n",
    b"HELLO 3\r\nCLIENT LIST TYPE replica\r\n",
    b"CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\nPING\r\n",
    b"CLIENT REPLY SKIP\r\nSENTINEL DEBUG info-period 10000\r\nPING\r\n",
    b"CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\n",
    b"SUBSCRIBE a\r\nGET a\r\nROLE\r\nPING\r\nUNSUBSCRIBE a\r\nPING\r\n",
    b"SUBSCRIBE a\r\nSENTINEL RESET *\r\nRESET\r\n",
    b"SUBSCRIBE a a\r\nPSUBSCRIBE a\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE\r\n",
    b"HELLO 3\r\nSUBSCRIBE a\r\nROLE\r\nUNSUBSCRIBE\r\n",
    b"PSUBSCRIBE a\r\nCLIENT KILL TYPE pubsub\r\nPUNSUBSCRIBE\r\n",
    b"CLIENT KILL TYPE normal SKIPME no\r\nPING\r\n",
    // Too many words
    b"ACL WHOAMI x\r\n",
    b"ACL CAT a b\r\n",
    b"ACL LOG a b\r\n",
    b"ACL GENPASS 1 2\r\n",
    b"CLIENT ID x\r\n",
    b"CLIENT UNBLOCK 1 TIMEOUT x\r\n",
    b"CLIENT PAUSE 1 ALL x\r\n",
    b"CLIENT REPLY ON x\r\n",
    b"sEnTiNeL mYiD x\r\n",
];

#[test]
fn bytes_equal_redis_sentinel() {
    let nowhere = Port::reserve();
    let monitor = format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", nowhere.number());
    let real = start_sentinel(Kind::Real, &monitor, "");
    let ours = start_sentinel(Kind::Ours, &monitor, "");
    let long_line = [&[b'x'; 200_000][..], b"\r\n"].concat();
    let long_count = [&b"*"[..], &[b'1'; 200_000], b"\r\n"].concat();
    let long_length = [&b"*1\r\n$"[..], &[b'1'; 200_000], b"\r\n"].concat();
    let long = [&long_line[..], &long_count, &long_length];
    for case in CASES.iter().copied().chain(long) {
        let shown = case[..case.len().min(80)].escape_ascii();
        let (wanted, got) = (answer(real.port(), case), answer(ours.port(), case));
        assert_eq!(got, wanted, "{shown}");
    }
}

/// All that is answered, up to the mark or the end of the connection.
fn answer(port: u16, case: &[u8]) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(secs(5))).unwrap();
    // The other side may close, and even reset, while the rest is still being sent.
    let _ = stream.write_all(case).and_then(|()| stream.write_all(MARK));
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while !heard.ends_with(MARK_REPLY) {
        match stream.read(&mut chunk) {
            Ok(0) => {
                heard.extend_from_slice(b"(closed)");
                break;
            }
            Ok(n) => heard.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                heard.extend_from_slice(b"(closed)");
                break;
            }
            Err(error) => panic!("{}: {error}", case.escape_ascii()),
        }
    }
    without_ids(&heard.escape_ascii().to_string())
}

/// The number of the connection, which HELLO shows.
fn without_ids(shown: &str) -> String {
    let mut parts = shown.split("id\\r\\n:");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str("id\\r\\n:*");
        masked.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    masked
}
