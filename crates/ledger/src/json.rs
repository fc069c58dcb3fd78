//! JSON as the ledger allows it: one object on one line, no key twice, no null, whole numbers from 0 to 2^53 - 1 only.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The first whole number that not every JSON reader keeps exactly.
const INTEGER_LIMIT: u64 = 1 << 53;

/// Reads one line, without its LF, as an object. The message says what is wrong, and nothing of the content but key names.
pub(crate) fn read_object(line: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let framed = line.first() == Some(&b'{')
        && line.last() == Some(&b'}')
        && !line.contains(&b'\r')
        && !line.contains(&b'\n');
    if !framed {
        return Err(serde::de::Error::custom(
            "it must be one JSON object, from '{' to '}', on one line",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(serde::de::Error::custom("it must be a JSON object")),
    }
}

/// Builds a value and refuses what the format does not allow.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object, a list, a text, true, false, or a whole number from 0 to 2^53 - 1")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        if value < INTEGER_LIMIT {
            return Ok(Value::Number(Number::from(value)));
        }
        Err(E::invalid_value(serde::de::Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = sequence.next_element_seed(Strict)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(serde::de::Error::custom(format_args!(
                    "key {key:?} appears twice"
                )));
            }
            let value = access.next_value_seed(Strict)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::read_object;

    #[test]
    fn a_plain_object_is_read() {
        let map = read_object(br#"{"a":1,"b":["x",{"c":true}]}"#).unwrap();
        assert_eq!(map["a"], 1);
        assert_eq!(map["b"][1]["c"], true);
    }

    #[test]
    fn what_readers_may_understand_differently_is_refused() {
        for line in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"\u0061":2}}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":-1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e2}"#,
            r#"{"a":null}"#,
            r#"{"a":1} "#,
            r#" {"a":1}"#,
            "{\"a\":\r1}",
            "{\"a\":\n1}",
            r#"["a"]"#,
            r#"{"a":1}{"a":1}"#,
            r#"{"a":"\ud800"}"#,
            "",
            "{",
        ] {
            assert!(read_object(line.as_bytes()).is_err(), "{line}");
        }
        assert!(read_object(b"{\"a\":\"\xff\"}").is_err());
        assert!(read_object(br#"{"a":9007199254740991}"#).is_ok());
    }
}
