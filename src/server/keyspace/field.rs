//! A field of a large hash with its value: one allocation where both are short.

use super::dense::Keyed;
use super::held;
use super::key::Key;
use super::text::{Element, SHORT_BYTES_MAX, Text};

/// A field and its value.
#[derive(Clone, Debug)]
pub struct Field(Form);

#[derive(Clone, Debug)]
enum Form {
    /// The length of the name, the name, the value; nothing at all where both are empty from the beginning.
    Together(Box<[u8]>),
    /// A longer one: a snapshot that is still writing it out shares what is long.
    Apart(Box<(Key, Text)>),
}

/// An empty name with an empty value.
impl Default for Field {
    fn default() -> Field {
        Field(Form::Together(Box::default()))
    }
}

impl Field {
    /// A copy of both.
    pub fn new(name: &[u8], value: &[u8]) -> Field {
        match u8::try_from(name.len()) {
            Ok(len) if fits_together(name, value) => {
                let mut bytes = Vec::with_capacity(1 + name.len() + value.len());
                bytes.push(len);
                bytes.extend_from_slice(name);
                bytes.extend_from_slice(value);
                Field(Form::Together(bytes.into()))
            }
            _ => Field(Form::Apart(Box::new((
                Key::from(name),
                Text::from_bytes(value),
            )))),
        }
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        match &self.0 {
            Form::Together(bytes) => parts(bytes).0,
            Form::Apart(both) => &both.0,
        }
    }

    /// The value.
    pub fn value(&self) -> Element<'_> {
        match &self.0 {
            Form::Together(bytes) => Element::Bytes(parts(bytes).1),
            Form::Apart(both) => both.1.element(),
        }
    }

    /// Gives it another value, in the room of the one it had if both are equally long.
    pub fn set(&mut self, value: &[u8]) {
        match &mut self.0 {
            Form::Together(bytes) => {
                let own = parts(bytes).1.len();
                if own == value.len() {
                    let start = bytes.len() - own;
                    bytes[start..].copy_from_slice(value);
                } else {
                    *self = Field::new(self.name(), value);
                }
            }
            Form::Apart(both) if !fits_together(&both.0, value) => both.1.assign(value),
            Form::Apart(both) => {
                held::leave(both.1.common_bytes(1));
                *self = Field::new(self.name(), value);
            }
        }
    }

    /// Bytes of memory beyond those of the `Field` itself.
    pub fn heap_bytes(&self) -> usize {
        self.copied_bytes() + self.common_bytes(0)
    }
}

/// The name and the value of two that are together.
fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.split_first() {
        Some((len, both)) => both.split_at(usize::from(*len)),
        None => (&[], &[]),
    }
}

fn fits_together(name: &[u8], value: &[u8]) -> bool {
    name.len() <= usize::from(u8::MAX) && value.len() <= SHORT_BYTES_MAX
}

impl Keyed for Field {
    fn key(&self) -> &[u8] {
        self.name()
    }

    fn touch(&self) -> usize {
        match &self.0 {
            Form::Together(bytes) => bytes.first().map_or(0, |byte| usize::from(*byte)),
            Form::Apart(both) => both.1.touch(),
        }
    }

    fn copied_bytes(&self) -> usize {
        match &self.0 {
            Form::Together(bytes) => bytes.len(),
            Form::Apart(both) => {
                let (_, value) = &**both;
                size_of::<(Key, Text)>() + value.heap_bytes() - value.common_bytes(0)
            }
        }
    }

    fn common_bytes(&self, owners: usize) -> usize {
        match &self.0 {
            Form::Together(_) => 0,
            Form::Apart(both) => both.0.common_bytes(owners) + both.1.common_bytes(owners),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_of_both_is_kept() {
        assert_eq!(size_of::<Field>(), 16);
        let lengths = [0, 1, 22, 255, 256, SHORT_BYTES_MAX, SHORT_BYTES_MAX + 1];
        for name_len in lengths {
            let name = vec![b'n'; name_len];
            for before in lengths {
                let mut field = Field::new(&name, &vec![b'b'; before]);
                assert_eq!(field.value(), Element::Bytes(&vec![b'b'; before]));
                for after in lengths {
                    let value = vec![b'a'; after];
                    field.set(&value);
                    assert_eq!(field.name(), name);
                    assert_eq!(field.value(), Element::Bytes(&value));
                    assert!(field.heap_bytes() >= after);
                }
            }
        }
        let mut field = Field::default();
        assert_eq!((field.name(), field.value().len()), (&b""[..], 0));
        field.set(b"v");
        assert_eq!(field.value(), Element::Bytes(b"v"));
        let mut field = Field::new(b"n", b"7");
        assert_eq!(field.value().as_integer(), Some(7));
        field.set(b"-12");
        assert_eq!(field.value().as_integer(), Some(-12));
    }

    #[test]
    fn a_snapshot_shares_what_is_long() {
        let mut field = Field::new(b"n", &[b'v'; SHORT_BYTES_MAX + 1]);
        let image = field.clone();
        let start = |field: &Field| match field.value() {
            Element::Bytes(bytes) => bytes.as_ptr(),
            Element::Integer(_) => unreachable!("long ones are bytes"),
        };
        assert_eq!(start(&field), start(&image));
        field.set(b"short");
        assert_eq!(image.value().len(), SHORT_BYTES_MAX + 1);
    }
}
