//! YAML scalars that are read from, and written as, their text.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserializer, Serializer};

/// A YAML scalar that is read from, and written as, its text.
///
/// A number in the file is read as its decimal digits, and a value whose text is a number is written as one.
pub(crate) trait Scalar: FromStr<Err: fmt::Display> + fmt::Display {
    /// What a valid value looks like; completes "expected ...".
    const EXPECTED: &'static str;
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|why| E::custom(format_args!("{why}, expected {}", T::EXPECTED)))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// Reads a [`Scalar`].
pub(crate) fn read_scalar<'de, T: Scalar, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(ScalarVisitor(PhantomData))
}

/// Writes a [`Scalar`].
pub(crate) fn write_scalar<T: Scalar, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    let text = value.to_string();
    match text.parse::<u64>() {
        Ok(number) if number.to_string() == text => to.serialize_u64(number),
        _ => to.serialize_str(&text),
    }
}

/// Gives each type its serde and JSON schema halves; `type` is the JSON type of what may be written.
macro_rules! scalars {
    ($($name:ident: $json_type:tt, $expected:literal;)*) => {$(
        impl $crate::config::values::scalar::Scalar for $name {
            const EXPECTED: &'static str = $expected;
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::config::values::scalar::read_scalar(from)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $crate::config::values::scalar::write_scalar(self, to)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": $json_type, "description": concat!("Written as ", $expected, ".") })
            }
        }
    )*};
}
pub(crate) use scalars;
