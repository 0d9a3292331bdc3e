//! One RESP value, owned.

use bytes::Bytes;

/// The protocol version that a client has chosen with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The default.
    #[default]
    Resp2,
    /// With maps, sets, doubles, booleans, push messages.
    Resp3,
}

/// A RESP value. The RESP3-only kinds are written to a RESP2 client as Redis writes them: a map as a
/// flat array, a set or push as an array, a double or big number or verbatim text as a bulk string, a
/// boolean as an integer, null as the null bulk.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+text`
    Simple(Bytes),
    /// `-text`, the code word included
    Error(Bytes),
    /// `:n`
    Integer(i64),
    /// `$len`
    Bulk(Bytes),
    /// `$-1`, or `_` in RESP3
    Null,
    /// `*-1`, or `_` in RESP3
    NullArray,
    /// `*n`
    Array(Vec<Value>),
    /// `%n`
    Map(Vec<(Value, Value)>),
    /// `~n`
    Set(Vec<Value>),
    /// `>n`
    Push(Vec<Value>),
    /// `,x`
    Double(f64),
    /// `#t` or `#f`
    Boolean(bool),
    /// `(digits`
    BigNumber(Bytes),
    /// `=len`, with its three-letter format
    Verbatim([u8; 3], Bytes),
}

impl Value {
    /// `+OK`.
    pub fn ok() -> Value {
        Value::Simple(Bytes::from_static(b"OK"))
    }

    /// An error reply. `text` begins with the code word: `ERR …`, `NOAUTH …`. Line breaks in it become
    /// spaces, as Redis does, so that text from outside cannot forge a reply.
    pub fn error(text: impl Into<String>) -> Value {
        let mut text = text.into();
        if text.contains(['\r', '\n']) {
            text = text.replace(['\r', '\n'], " ");
        }
        Value::Error(Bytes::from(text))
    }

    /// A bulk string copied from `bytes`.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Value {
        Value::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// A simple string copied from `text`.
    pub fn simple(text: &str) -> Value {
        Value::Simple(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The bytes of a simple, bulk or verbatim string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(text) | Value::Bulk(text) | Value::Verbatim(_, text) => Some(text),
            Value::Error(_)
            | Value::Integer(_)
            | Value::Null
            | Value::NullArray
            | Value::Array(_)
            | Value::Map(_)
            | Value::Set(_)
            | Value::Push(_)
            | Value::Double(_)
            | Value::Boolean(_)
            | Value::BigNumber(_) => None,
        }
    }

    /// True for an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}
