//! YAML that a stranger has written.
//!
//! An alias (`*NAME`) repeats what its anchor (`&NAME`) marks, and `serde_yaml` follows a hundred of them for each part
//! of a document: a megabyte becomes gigabytes. A document is measured first, without keeping any of it, and refused if
//! it is longer than its own text.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// The longest text, in bytes: each may take a hundred bytes of memory.
pub const LONGEST: usize = 1 << 20;
/// More brackets and braces than any real document has. The parser compares each token with every open one.
const MOST_BRACKETS: usize = 1000;

/// Parses a document whose aliases, if any, repeat little: with them it may be twice as long as its text.
///
/// # Errors
/// Fails if the text is longer than [`LONGEST`], has thousands of brackets, grows by its aliases, or is no `T`.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_yaml::Error> {
    if text.len() > LONGEST {
        return Err(Error::custom(format!("it is longer than {LONGEST} bytes")));
    }
    if text.iter().filter(|byte| b"[{".contains(byte)).count() > MOST_BRACKETS {
        return Err(Error::custom(format!("it has more than {MOST_BRACKETS} brackets")));
    }
    // A node without any text, such as the value in `{a}`, counts as a byte.
    let left = Cell::new(2 * text.len() + 16);
    DocumentMeasure { left: &left }.deserialize(serde_yaml::Deserializer::from_slice(text))?;
    serde_yaml::from_slice(text)
}

/// Visits all of a document and counts its nodes and the bytes of its scalars.
#[derive(Clone, Copy)]
struct DocumentMeasure<'a> {
    left: &'a Cell<usize>,
}

impl DocumentMeasure<'_> {
    fn count<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(bytes.saturating_add(1));
        self.left.set(left.ok_or_else(|| E::custom("its aliases (*NAME) make it many times longer"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for DocumentMeasure<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DocumentMeasure<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.count(1)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.count(1)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.count(1)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.count(1)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.count(1)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.count(1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.count(text.len())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.count(0)
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.count(0)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.count(1)?;
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.count(1)?;
        while entries.next_entry_seed(self, self)?.is_some() {}
        Ok(())
    }

    /// Counts a value with a tag, such as `!name value`.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let ((), value) = tagged.variant_seed(self)?;
        value.newtype_variant_seed(self)
    }
}
