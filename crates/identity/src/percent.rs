//! Percent-encoding, as cookies hold it.

use std::borrow::Cow;

/// What an encoded text says; nothing, if an escape is broken or what comes out is not UTF-8.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut one = [0];
            hex::decode_to_slice([bytes.next()?, bytes.next()?], &mut one).ok()?;
            decoded.extend(one);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes_of_utf_8() {
        let cases = [
            ("", Some("")),
            ("a+b", Some("a+b")),
            ("%41%c3%A9%2525", Some("Aé%25")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%+1", None),
            ("%ff", None),
            ("%é0", None),
            ("%61%2fb %C3%A9", Some("a/b é")),
            ("%%41", None),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text).as_deref(), expected, "{text}");
        }
    }
}
