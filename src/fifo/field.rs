//! One field of FiFo's JSON, read without ever failing on its type.
//!
//! A field of the wrong type is kept as [`Field::Wrong`], so that a VM's every oddity can be told at once and no VM spoils
//! the list. Text is borrowed from the body where JSON allows it.

use crate::inventory::{BackupId, VmId};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// One field, as it was found.
#[derive(Debug, Default)]
pub(super) enum Field<T> {
    /// The key was not there.
    #[default]
    Missing,
    /// It has the right type.
    Read(T),
    /// It has another type, or a value that its type does not have.
    Wrong {
        /// What should have been there: `a text`.
        expected: &'static str,
        found: Cow<'static, str>,
    },
}

#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

/// Set by any value but `false`.
#[derive(Debug)]
pub(super) struct Flag(pub(super) bool);

/// A whole number that is not negative. FiFo may write it as `5`, `5.0` or `5e0`.
#[derive(Debug)]
pub(super) struct Number(pub(super) u64);

/// How many elements an array has.
#[derive(Debug)]
pub(super) struct Length(pub(super) usize);

/// An object of any content.
#[derive(Debug)]
pub(super) struct JsonObject(pub(super) serde_json::Map<String, serde_json::Value>);

/// An object's entries in the order they were written, repeated keys too. An empty Erlang map may be written `[]`.
#[derive(Debug)]
pub(super) struct Entries<'a, T>(pub(super) Vec<(Cow<'a, str>, Field<T>)>);

pub(super) type Found = Cow<'static, str>;

/// What a [`Field`] can hold. Each method reads one of JSON's types; those that do not fit say what was found instead.
pub(super) trait FromJson<'de>: Sized {
    const EXPECTED: &'static str;

    fn from_null() -> Result<Self, Found> {
        Err("null".into())
    }

    fn from_bool(value: bool) -> Result<Self, Found> {
        Err(if value { "true" } else { "false" }.into())
    }

    fn from_number(_value: f64) -> Result<Self, Found> {
        Err("a number".into())
    }

    /// Reads a number written without fraction, exponent or sign; [`FromJson::from_number`] gets all others.
    fn from_unsigned(_value: u64) -> Result<Self, Found> {
        Err("a number".into())
    }

    /// Reads a text. What was found must not show the text, unless it cannot be a secret.
    fn from_text(_text: Cow<'de, str>) -> Result<Self, Found> {
        Err("a string".into())
    }

    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Result<Self, Found>, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err("an array".into()))
    }

    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Result<Self, Found>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err("an object".into()))
    }
}

impl<'de, T: FromJson<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<T> FieldVisitor<T> {
    fn field<'de>(read: Result<T, Found>) -> Field<T>
    where
        T: FromJson<'de>,
    {
        match read {
            Ok(value) => Field::Read(value),
            Err(found) => Field::Wrong { expected: T::EXPECTED, found },
        }
    }
}

impl<'de, T: FromJson<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Self::field(T::from_null()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field<T>, E> {
        Ok(Self::field(T::from_bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field<T>, E> {
        Ok(Self::field(T::from_unsigned(value)))
    }

    #[expect(clippy::cast_precision_loss, reason = "a negative number is only ever shown")]
    fn visit_i64<E>(self, value: i64) -> Result<Field<T>, E> {
        Ok(Self::field(T::from_number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Field<T>, E> {
        Ok(Self::field(T::from_number(value)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<T>, E> {
        Ok(Self::field(T::from_text(Cow::Owned(text.to_owned()))))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<T>, E> {
        Ok(Self::field(T::from_text(Cow::Borrowed(text))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Field<T>, A::Error> {
        Ok(Self::field(T::from_array(array)?))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Field<T>, A::Error> {
        Ok(Self::field(T::from_object(object)?))
    }
}

impl<'de: 'a, 'a> FromJson<'de> for Text<'a> {
    const EXPECTED: &'static str = "a string";

    fn from_text(text: Cow<'de, str>) -> Result<Self, Found> {
        Ok(Self(text))
    }
}

impl<'de> FromJson<'de> for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_bool(value: bool) -> Result<Self, Found> {
        Ok(value)
    }
}

impl<'de> FromJson<'de> for Flag {
    const EXPECTED: &'static str = "true or false";

    fn from_null() -> Result<Self, Found> {
        Ok(Self(true))
    }

    fn from_bool(value: bool) -> Result<Self, Found> {
        Ok(Self(value))
    }

    fn from_number(_value: f64) -> Result<Self, Found> {
        Ok(Self(true))
    }

    fn from_unsigned(_value: u64) -> Result<Self, Found> {
        Ok(Self(true))
    }

    fn from_text(_text: Cow<'de, str>) -> Result<Self, Found> {
        Ok(Self(true))
    }

    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Result<Self, Found>, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Ok(Self(true)))
    }

    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Result<Self, Found>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Ok(Self(true)))
    }
}

impl<'de> FromJson<'de> for Number {
    const EXPECTED: &'static str = "a whole number, 0 or more";

    fn from_unsigned(value: u64) -> Result<Self, Found> {
        Ok(Self(value))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    fn from_number(value: f64) -> Result<Self, Found> {
        /// Up to here a float tells every whole number from the next.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
            Ok(Self(value as u64))
        } else {
            Err(format!("the number {value}").into())
        }
    }
}

impl<'de> FromJson<'de> for Length {
    const EXPECTED: &'static str = "an array";

    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Result<Self, Found>, A::Error> {
        let mut length = 0;
        while array.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Ok(Self(length)))
    }
}

macro_rules! from_json_for_id {
    ($id:ty) => {
        impl<'de> FromJson<'de> for $id {
            const EXPECTED: &'static str = "a UUID";

            fn from_text(text: Cow<'de, str>) -> Result<Self, Found> {
                /// A little more than a UUID has.
                const SHOWN_CHARS: usize = 40;
                text.parse().map_err(|_| {
                    format!("the string {:?}", text.chars().take(SHOWN_CHARS).collect::<String>()).into()
                })
            }
        }
    };
}

from_json_for_id!(VmId);
from_json_for_id!(BackupId);

/// Reads an array that stands for an empty object.
pub(super) fn only_empty<'de, A: SeqAccess<'de>, T>(
    mut array: A,
    empty: T,
) -> Result<Result<T, Found>, A::Error> {
    let mut length = 0;
    while array.next_element::<IgnoredAny>()?.is_some() {
        length += 1;
    }
    Ok(if length == 0 { Ok(empty) } else { Err("an array that is not empty".into()) })
}

impl<'de> FromJson<'de> for JsonObject {
    const EXPECTED: &'static str = "an object";

    fn from_array<A: SeqAccess<'de>>(array: A) -> Result<Result<Self, Found>, A::Error> {
        only_empty(array, Self(serde_json::Map::new()))
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Result<Self, Found>, A::Error> {
        Ok(Ok(Self(Deserialize::deserialize(MapAccessDeserializer::new(object))?)))
    }
}

impl<'de: 'a, 'a, T: FromJson<'de>> FromJson<'de> for Entries<'a, T> {
    const EXPECTED: &'static str = "an object";

    fn from_array<A: SeqAccess<'de>>(array: A) -> Result<Result<Self, Found>, A::Error> {
        only_empty(array, Self(Vec::new()))
    }

    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Result<Self, Found>, A::Error> {
        Self::of(object).map(Ok)
    }
}

impl<'a, T> Entries<'a, T> {
    pub(super) fn of<'de: 'a, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error>
    where
        T: FromJson<'de>,
    {
        let mut entries = Vec::new();
        while let Some((Key(key), value)) = object.next_entry()? {
            entries.push((key, value));
        }
        Ok(Self(entries))
    }
}

/// An object's key, borrowed where it has no escapes in it.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}
