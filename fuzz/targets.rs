//! What the fuzzers call, once per input. Two drivers share it: `tests/fuzz` on stable Rust, and
//! cargo-fuzz with its coverage feedback.
//!
//! Beyond "does not panic", each target checks what must hold of any input. It returns a number that tells
//! kinds of outcome apart: the driver without coverage keeps inputs whose outcome is new.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use sentinel::config::{Source, load_sentinel};
use sentinel::resp::{
    Limits, Protocol, Value, decode_request, decode_value, encode_request, encode_value,
};
use sentinel::sentinel::core::{Hello, Info};
use sentinel::server::keyspace::Thresholds;
use sentinel::server::persist::dump::{read_payload, write_payload};
use sentinel::server::persist::rdb::CRC64;

/// A target by its name, which is also the name of its folder of seeds.
pub(crate) type Target = (&'static str, fn(&[u8]) -> u64);

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    ("request", request),
    ("reply", reply),
    ("hello", hello),
    ("info", info),
    ("config", config),
    ("yaml", yaml),
    ("restore", restore),
];

/// Small limits, so that a few bytes reach them.
const TIGHT: Limits = Limits {
    line_bytes_max: 64,
    bulk_bytes_max: 256,
    elements_max: 16,
    elements_total_max: 32,
    depth_max: 3,
};

fn kind_of(outcome: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    outcome.hash(&mut hasher);
    hasher.finish()
}

/// The request decoder: what a client sends.
pub(crate) fn request(data: &[u8]) -> u64 {
    let mut kinds = Vec::new();
    for limits in [&Limits::CLIENT, &Limits::UNAUTHENTICATED, &TIGHT] {
        let outcome = decode_request(data, limits);
        match &outcome {
            Ok(Some((words, used))) => {
                assert!(*used <= data.len());
                assert!(*used > 0, "no progress");
                assert!(words.len() <= limits.elements_max.max(data.len()));
                let alone = decode_request(&data[..*used], limits);
                assert_eq!(outcome, alone, "bytes behind a request change it");
                // As in Redis, an inline request longer than the limit is refused only while its end has
                // not come.
                if data.first() == Some(&b'*') || *used <= limits.line_bytes_max {
                    assert_is_incomplete(&data[..*used - 1], |part| {
                        decode_request(part, limits).is_ok_and(|found| found.is_none())
                    });
                }
                if !words.is_empty() {
                    let mut again = Vec::new();
                    encode_request(words, &mut again);
                    let (same, _) = decode_request(&again, &Limits::CLIENT)
                        .expect("we can read what we write")
                        .expect("it is complete");
                    assert_eq!(*words, same);
                }
                kinds.push(kind_of(&(
                    1,
                    words.len().min(4),
                    data.first() == Some(&b'*'),
                )));
            }
            Ok(None) => kinds.push(kind_of(&(2, data.first() == Some(&b'*')))),
            Err(error) => kinds.push(kind_of(&error.to_string())),
        }
    }
    kind_of(&kinds)
}

/// The reply decoder: what an instance sends.
pub(crate) fn reply(data: &[u8]) -> u64 {
    let mut kinds = Vec::new();
    for limits in [&Limits::INSTANCE, &TIGHT] {
        match decode_value(data, limits) {
            Ok(Some((value, used))) => {
                assert!(used <= data.len());
                assert!(used > 0, "no progress");
                assert_is_incomplete(&data[..used - 1], |part| {
                    decode_value(part, limits).is_ok_and(|found| found.is_none())
                });
                assert_survives_writing(&value);
                kinds.push(kind_of(&shape(&value, 3)));
            }
            Ok(None) => kinds.push(kind_of(&data.first())),
            Err(error) => kinds.push(kind_of(&error.to_string())),
        }
    }
    kind_of(&kinds)
}

/// One byte less than a whole message is no message and no error.
fn assert_is_incomplete(part: &[u8], is_incomplete: impl Fn(&[u8]) -> bool) {
    assert!(is_incomplete(part), "a cut message is not waited for");
}

/// What we read and write as RESP3 reads back as the same bytes.
fn assert_survives_writing(value: &Value) {
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    encode_value(value, Protocol::Resp3, &mut once);
    let (read, used) = decode_value(&once, &Limits::INSTANCE)
        .expect("we can read what we write")
        .expect("it is complete");
    assert_eq!(used, once.len());
    encode_value(&read, Protocol::Resp3, &mut twice);
    assert_eq!(once, twice);
    // RESP2 has fewer kinds; it must still be one whole value.
    let mut old = Vec::new();
    encode_value(value, Protocol::Resp2, &mut old);
    let read = decode_value(&old, &Limits::INSTANCE).expect("we can read what we write");
    assert_eq!(read.expect("it is complete").1, old.len());
}

/// The kinds of a value's parts, down to a depth.
fn shape(value: &Value, depth: usize) -> String {
    let kind = format!("{:?}", std::mem::discriminant(value));
    match value {
        Value::Array(items) | Value::Set(items) | Value::Push(items) if depth > 0 => {
            let inner: Vec<String> = items
                .iter()
                .take(3)
                .map(|item| shape(item, depth - 1))
                .collect();
            kind + &inner.concat()
        }
        Value::Map(pairs) if depth > 0 => {
            let inner: Vec<String> = pairs
                .iter()
                .take(2)
                .map(|(_, value)| shape(value, depth - 1))
                .collect();
            kind + &inner.concat()
        }
        Value::Array(_)
        | Value::Set(_)
        | Value::Push(_)
        | Value::Map(_)
        | Value::Simple(_)
        | Value::Error(_)
        | Value::Integer(_)
        | Value::Bulk(_)
        | Value::Null
        | Value::NullArray
        | Value::Double(_)
        | Value::Boolean(_)
        | Value::BigNumber(_)
        | Value::Verbatim(..) => kind,
    }
}

/// What another sentinel publishes, or anyone else who can reach the data servers.
pub(crate) fn hello(data: &[u8]) -> u64 {
    match Hello::parse(data) {
        Ok(hello) => {
            assert!(hello.port > 0);
            assert!(hello.master_port > 0);
            assert!(hello.config_epoch <= hello.current_epoch);
            let text = format!(
                "{},{},{},{},{},{},{},{}",
                hello.host,
                hello.port,
                hello.id.as_str(),
                hello.current_epoch.0,
                hello.master,
                hello.master_host,
                hello.master_port,
                hello.config_epoch.0
            );
            // Nothing in a field can make two fields of it, or two lines of a log or file.
            assert!(!text.contains(['\r', '\n', '\0', ' ', '"']), "{text:?}");
            assert_eq!(Hello::parse(text.as_bytes()), Ok(hello.clone()));
            kind_of(&(
                hello.host.len().min(16),
                hello.current_epoch.0.checked_ilog2(),
            ))
        }
        Err(error) => kind_of(&error.to_string()),
    }
}

/// An INFO reply.
pub(crate) fn info(data: &[u8]) -> u64 {
    let info = Info::parse(data);
    assert_eq!(info, Info::parse(data), "the same bytes say the same");
    for replica in &info.replicas {
        let host = &replica.host;
        assert!(!host.is_empty());
        assert!(!host.contains([' ', '\r', '\n', '\0', '"']), "{host:?}");
        assert!(replica.port > 0);
    }
    if let Some(id) = &info.run_id {
        assert_eq!(id.len(), 40);
    }
    kind_of(&(
        info.replicas.len().min(4),
        info.run_id.is_some(),
        info.repl_id.is_some(),
        info.master_host.is_some(),
        info.link_up,
        info.priority.is_some(),
        info.repl_offset.is_some(),
        info.announced,
        info.incomplete,
    ))
}

/// The configuration in the Redis dialect.
pub(crate) fn config(data: &[u8]) -> u64 {
    // Lines that name other files would make the outcome depend on this machine.
    if data
        .windows(7)
        .any(|part| part.eq_ignore_ascii_case(b"include"))
    {
        return 0;
    }
    match load_sentinel(&Source::Stdin(data.to_vec()), &[]) {
        Ok(config) => kind_of(&(
            config.durable.masters.len().min(4),
            config.durable.id.is_some(),
        )),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty(), "a refusal says why");
            // The kinds of mistakes, without the values that are quoted in them.
            let kinds: Vec<&str> = text.split(['\'', '"', '`']).step_by(2).take(6).collect();
            kind_of(&kinds)
        }
    }
}

/// The configuration in YAML.
pub(crate) fn yaml(data: &[u8]) -> u64 {
    let mut errors = sentinel::config::ConfigErrors::default();
    let lines = sentinel::config::yaml::lines("fuzz.yaml".as_ref(), data, &mut errors);
    kind_of(&(lines.len().min(8), errors.mistakes().len().min(8)))
}

/// The payload of `RESTORE`: what a client says is a value. The input is taken as it is, and again with the
/// trailer that it would need.
pub(crate) fn restore(data: &[u8]) -> u64 {
    const STRING_BYTES_MAX: u64 = 1 << 20;
    let read =
        |payload: &[u8]| read_payload(payload, &Thresholds::default(), STRING_BYTES_MAX, true);
    let mut signed = [data, &[10, 0]].concat();
    signed.extend(CRC64.checksum(&signed).to_le_bytes());
    let mut kinds = Vec::new();
    for payload in [data, &signed] {
        match read(payload) {
            Ok(value) => {
                assert!(value.elements() > 0, "an empty collection");
                for compress in [false, true] {
                    let again = read(&write_payload(&value, compress));
                    assert_eq!(again.as_ref(), Ok(&value), "it changes on its way");
                }
                let size = value.elements().ilog2();
                kinds.push(kind_of(&(value.type_name(), value.encoding(), size)));
            }
            Err(error) => kinds.push(kind_of(&(error.to_string(), data.first()))),
        }
    }
    kind_of(&kinds)
}
