//! Writing RESP.

use super::{Protocol, Value, double_text};

/// Appends `value` to `out` in the given protocol.
pub fn encode_value(value: &Value, protocol: Protocol, out: &mut Vec<u8>) {
    let resp3 = protocol == Protocol::Resp3;
    match value {
        Value::Simple(text) => line(b'+', text, out),
        Value::Error(text) => line(b'-', text, out),
        Value::Integer(n) => header(b':', *n, out),
        Value::Bulk(bytes) => bulk(bytes, out),
        Value::Null if resp3 => out.extend_from_slice(b"_\r\n"),
        Value::Null => out.extend_from_slice(b"$-1\r\n"),
        Value::NullArray if resp3 => out.extend_from_slice(b"_\r\n"),
        Value::NullArray => out.extend_from_slice(b"*-1\r\n"),
        Value::Array(items) => list(b'*', items, protocol, out),
        Value::Set(items) => list(if resp3 { b'~' } else { b'*' }, items, protocol, out),
        Value::Push(items) => list(if resp3 { b'>' } else { b'*' }, items, protocol, out),
        Value::Map(pairs) => {
            let (mark, count) = if resp3 {
                (b'%', pairs.len())
            } else {
                (b'*', pairs.len() * 2)
            };
            header(mark, len(count), out);
            for (key, value) in pairs {
                encode_value(key, protocol, out);
                encode_value(value, protocol, out);
            }
        }
        Value::Double(x) if resp3 => line(b',', double_text(*x).as_bytes(), out),
        Value::Double(x) => bulk(double_text(*x).as_bytes(), out),
        Value::Boolean(b) if resp3 => out.extend_from_slice(if *b { b"#t\r\n" } else { b"#f\r\n" }),
        Value::Boolean(b) => header(b':', i64::from(*b), out),
        Value::BigNumber(digits) if resp3 => line(b'(', digits, out),
        Value::BigNumber(digits) => bulk(digits, out),
        Value::Verbatim(format, text) if resp3 => {
            header(b'=', len(text.len() + 4), out);
            out.extend_from_slice(format);
            out.push(b':');
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Value::Verbatim(_, text) => bulk(text, out),
    }
}

/// Appends a request: an array of bulk strings.
pub fn encode_request<A: AsRef<[u8]>>(words: &[A], out: &mut Vec<u8>) {
    header(b'*', len(words.len()), out);
    for word in words {
        bulk(word.as_ref(), out);
    }
}

fn list(mark: u8, items: &[Value], protocol: Protocol, out: &mut Vec<u8>) {
    header(mark, len(items.len()), out);
    for item in items {
        encode_value(item, protocol, out);
    }
}

fn line(mark: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(mark);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    header(b'$', len(bytes.len()), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn header(mark: u8, n: i64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    line(mark, digits.format(n).as_bytes(), out);
}

fn len(n: usize) -> i64 {
    i64::try_from(n).expect("a length in memory fits 63 bits")
}

/// A double as RESP3 writes it.
#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &Value, resp2: &str, resp3: &str) {
        for (protocol, want) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut out = Vec::new();
            encode_value(value, protocol, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want, "{protocol:?}");
        }
    }

    #[test]
    fn each_kind_in_both_protocols() {
        check(&Value::ok(), "+OK\r\n", "+OK\r\n");
        check(
            &Value::error("ERR a\r\nb"),
            "-ERR a  b\r\n",
            "-ERR a  b\r\n",
        );
        check(&Value::Integer(-7), ":-7\r\n", ":-7\r\n");
        check(&Value::bulk("ab"), "$2\r\nab\r\n", "$2\r\nab\r\n");
        check(&Value::Null, "$-1\r\n", "_\r\n");
        check(&Value::NullArray, "*-1\r\n", "_\r\n");
        let map = Value::Map(vec![(Value::bulk("k"), Value::Integer(1))]);
        check(&map, "*2\r\n$1\r\nk\r\n:1\r\n", "%1\r\n$1\r\nk\r\n:1\r\n");
        check(&Value::Push(vec![]), "*0\r\n", ">0\r\n");
        check(&Value::Boolean(true), ":1\r\n", "#t\r\n");
        check(&Value::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(
            &Value::Verbatim(*b"txt", "hi".into()),
            "$2\r\nhi\r\n",
            "=6\r\ntxt:hi\r\n",
        );
    }

    #[test]
    fn a_request_is_an_array_of_bulks() {
        let mut out = Vec::new();
        encode_request(&["PING", "x"], &mut out);
        assert_eq!(out, b"*2\r\n$4\r\nPING\r\n$1\r\nx\r\n");
    }
}
