//! How single values stand in a profile: as text, read by the rules of the value itself. serde's own readers would take a
//! relative path, an empty one, `null` for "not said", and the last of two variables of one name.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shown::shown;

/// A value that is one scalar in YAML.
pub(crate) trait YamlScalar: Sized {
    /// What is expected.
    const WHAT: &'static str;
    /// Whether a number, which YAML tells from text, is meant as its digits.
    const NUMBER: bool = false;
    /// The value of a text without NUL; else what is wrong with it.
    fn from_text(text: &str) -> Result<Self, String>;
    /// The text of the value.
    fn text(&self) -> Cow<'_, OsStr>;
}

impl YamlScalar for PathBuf {
    const WHAT: &'static str = "an absolute path";

    fn from_text(text: &str) -> Result<Self, String> {
        let path = Self::from(text);
        if path.is_absolute() {
            return Ok(path);
        }
        Err(format!(
            "{} is a relative path, which a profile cannot hold: begin it with a slash",
            shown(&path)
        ))
    }

    fn text(&self) -> Cow<'_, OsStr> {
        self.as_os_str().into()
    }
}

impl YamlScalar for OsString {
    const WHAT: &'static str = "text (a number or true stands in quotes)";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn text(&self) -> Cow<'_, OsStr> {
        self.as_os_str().into()
    }
}

/// Reads one.
struct YamlReader<T>(PhantomData<T>);

impl<T: YamlScalar> Visitor<'_> for YamlReader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        if text.contains('\0') {
            return Err(E::custom("there is a NUL in it, which no value can hold"));
        }
        T::from_text(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        if T::NUMBER {
            return self.visit_str(&number.to_string());
        }
        Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        if T::NUMBER {
            return self.visit_str(&number.to_string());
        }
        Err(E::invalid_type(serde::de::Unexpected::Float(number), &self))
    }
}

impl<'de, T: YamlScalar> DeserializeSeed<'de> for YamlReader<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_any(self)
    }
}

/// Writes one.
struct YamlWriter<'a, T>(&'a T);

impl<T: YamlScalar> Serialize for YamlWriter<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = self.0.text();
        let odd = || S::Error::custom(format!("{} is not UTF-8, and a profile is", shown(Path::new(&text))));
        to.serialize_str(text.to_str().ok_or_else(odd)?)
    }
}

/// `#[serde(with = "yaml::one")]`: a value that must be there.
pub(crate) mod one {
    use super::{
        DeserializeSeed, Deserializer, PhantomData, Serialize, Serializer, YamlReader, YamlScalar, YamlWriter,
    };

    pub(crate) fn deserialize<'de, T: YamlScalar, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        YamlReader(PhantomData).deserialize(from)
    }

    pub(crate) fn serialize<T: YamlScalar, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        YamlWriter(value).serialize(to)
    }
}

/// `#[serde(with = "yaml::said")]`: a value that may be left out, but not be left empty.
pub(crate) mod said {
    use super::{Deserializer, Serialize, Serializer, YamlScalar, YamlWriter, one};

    pub(crate) fn deserialize<'de, T: YamlScalar, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        one::deserialize(from).map(Some)
    }

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<T: YamlScalar, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(YamlWriter).serialize(to)
    }
}

/// `#[serde(with = "yaml::list")]`: any number of values.
pub(crate) mod list {
    use super::{Deserialize, Deserializer, Serializer, YamlScalar, YamlWriter, one};

    pub(crate) fn deserialize<'de, T: YamlScalar, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent, bound = "")]
        struct YamlItem<T: YamlScalar>(#[serde(with = "one")] T);
        let items: Vec<YamlItem<T>> = Vec::deserialize(from)?;
        Ok(items.into_iter().map(|item| item.0).collect())
    }

    pub(crate) fn serialize<T: YamlScalar, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(YamlWriter))
    }
}

/// `#[serde(with = "yaml::variables")]`: names and values; a name stands there once.
pub(crate) mod variables {
    use super::{
        BTreeSet, DeserializeSeed, Deserializer, Error, MapAccess, OsString, PhantomData, Serializer,
        Visitor, YamlReader, YamlScalar, YamlWriter, fmt, shown,
    };
    use std::collections::BTreeMap;

    type Variables = Vec<(OsString, OsString)>;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Variables, D::Error> {
        from.deserialize_map(YamlMap)
    }

    /// Where a name was given more than once, its last value is the one that holds.
    pub(crate) fn serialize<S: Serializer>(variables: &Variables, to: S) -> Result<S::Ok, S::Error> {
        let last: BTreeMap<_, _> = variables.iter().map(|(name, value)| (name, value)).collect();
        to.collect_map(last.into_iter().map(|(name, value)| (YamlWriter(name), YamlWriter(value))))
    }

    struct YamlMap;

    impl<'de> Visitor<'de> for YamlMap {
        type Value = Variables;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("names and values")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Variables, A::Error> {
            let mut variables = Vec::new();
            let mut names = BTreeSet::new();
            while let Some(name) = map.next_key_seed(StrictName(&mut names))? {
                variables.push((name, map.next_value_seed(YamlReader(PhantomData))?));
            }
            Ok(variables)
        }
    }

    /// Refuses a bad name where it stands, so that the error can say the line.
    struct StrictName<'a>(&'a mut BTreeSet<String>);

    impl<'de> DeserializeSeed<'de> for StrictName<'_> {
        type Value = OsString;

        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<OsString, D::Error> {
            from.deserialize_any(self)
        }
    }

    impl Visitor<'_> for StrictName<'_> {
        type Value = OsString;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("the name of a variable")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<OsString, E> {
            if text.is_empty() || text.contains(['=', '\0']) {
                return Err(E::custom(format!("{} is no name of a variable", shown(text.as_ref()))));
            }
            if !self.0.insert(text.to_owned()) {
                return Err(E::custom(format!("there are two variables {}", shown(text.as_ref()))));
            }
            OsString::from_text(text).map_err(E::custom)
        }
    }
}
