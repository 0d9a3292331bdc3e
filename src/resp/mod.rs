//! RESP2 and RESP3: values, encoding, decoding and their limits. No sockets here.

mod decode;
mod double;
mod encode;
mod integer;
mod line;
mod request;
mod value;
mod word;

pub use decode::{Limits, ProtocolError, decode_request, decode_value, split_words};
pub use double::{double_text, parse_double};
pub use encode::{encode_request, encode_value};
pub use integer::canonical_integer;
pub use line::take_line;
pub use request::{OWN_BUFFER_MIN, RequestDecoder, RequestSource};
pub use value::{Protocol, Value};
pub use word::Word;
