//! A token out of what a client says with Socket.IO's `auth`: one field of a JSON object.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The token in the field of that name. Nothing there, or null: none is shown. What is there and is no
/// text is a token, too, if never a good one: whoever shows it wants to be judged by it.
pub fn token<'a>(auth: &'a str, field: &str) -> Option<Cow<'a, str>> {
    let mut reader = serde_json::Deserializer::from_str(auth);
    let found = Field(field).deserialize(&mut reader).ok()??;
    match serde_json::from_str::<Option<Text<'a>>>(found.get()) {
        Ok(text) => text.map(|Text(text)| text),
        Err(_) => Some("".into()),
    }
}

/// Reads that field alone, and keeps nothing of the others.
struct Field<'f>(&'f str);

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(name)) = map.next_key()? {
            if name == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_the_text_of_its_field() {
        let deep = format!(r#"{{"a":{}1{},"token":"t"}}"#, "[".repeat(100), "]".repeat(100));
        let cases = [
            (r#"{"token":"t"}"#, Some("t")),
            (r#"{"user":"7","token":"a\"\u00e9","more":[{"token":"x"}]}"#, Some("a\"é")),
            (r#"{"\u0074oken":"t"}"#, Some("t")),
            (r#"{"token":"first","token":"last"}"#, Some("last")),
            (r#"{"token":""}"#, Some("")),
            (&deep, Some("t")),
            // Shown, and no good.
            (r#"{"token":7}"#, Some("")),
            (r#"{"token":{"token":"t"}}"#, Some("")),
            // Not shown.
            (r#"{"token":null}"#, None),
            (r#"{"Token":"t"}"#, None),
            (r#"{"a":{"token":"t"}}"#, None),
            ("{}", None),
            ("[\"token\"]", None),
            ("\"token\"", None),
            ("", None),
        ];
        for (auth, expected) in cases {
            assert_eq!(token(auth, "token").as_deref(), expected, "{auth}");
        }
    }
}
