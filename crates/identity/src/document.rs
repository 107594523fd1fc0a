//! An unpacked session: a tree that is only ever followed along a path.

use std::borrow::Cow;
use std::iter;

use serde_json::Value;

use crate::pickle::{Node, NodeId, Pickle};
use crate::{Reason, when};

/// What the layers came to.
#[derive(Clone, Debug)]
pub enum Document {
    /// A pickled object.
    Pickle(Pickle),
    /// A JSON value.
    Json(Value),
}

impl Document {
    /// A name at the end of a path: text, bytes that are UTF-8, or a whole number. `77` and `"77"`
    /// are the same user.
    pub fn name(&self, path: &[String]) -> Option<String> {
        match self {
            Self::Pickle(pickle) => name(pickle, follow(pickle, path)?),
            Self::Json(value) => json_name(follow_json(value, path)?),
        }
        .map(Cow::into_owned)
    }

    /// The names in a list at the end of a path; what is no name is left out. They are borrowed: many
    /// references to one long text are little in a pickle, and as many texts would be gigabytes.
    pub fn names<'a>(&'a self, path: &[String]) -> Box<dyn Iterator<Item = Cow<'a, str>> + 'a> {
        match self {
            Self::Pickle(pickle) => match follow(pickle, path).map(|id| pickle.node(id)) {
                Some(
                    Node::List(items)
                    | Node::Tuple(items, _)
                    | Node::Set(items)
                    | Node::FrozenSet(items),
                ) => Box::new(items.iter().filter_map(|item| name(pickle, *item))),
                _ => Box::new(iter::empty()),
            },
            Self::Json(value) => match follow_json(value, path) {
                Some(Value::Array(items)) => Box::new(items.iter().filter_map(json_name)),
                _ => Box::new(iter::empty()),
            },
        }
    }

    /// A number at the end of a path.
    pub fn number(&self, path: &[String]) -> Option<f64> {
        match self {
            Self::Pickle(pickle) => match pickle.node(follow(pickle, path)?) {
                Node::Float(number) => Some(*number),
                #[expect(clippy::cast_precision_loss, reason = "a time in seconds")]
                Node::Integer(number) => Some(*number as f64),
                _ => None,
            },
            Self::Json(value) => follow_json(value, path)?.as_f64(),
        }
    }

    /// A time at the end of a path, in seconds since 1970: such a number, or text in ISO 8601. Nothing
    /// there, null or false: there is no such time.
    ///
    /// # Errors
    /// What is there is no time.
    pub fn time(&self, path: &[String]) -> Result<Option<f64>, Reason> {
        match self {
            Self::Pickle(pickle) => match follow(pickle, path).map(|id| pickle.node(id)) {
                None | Some(Node::None | Node::Boolean(false)) => return Ok(None),
                Some(_) => (),
            },
            Self::Json(value) => match follow_json(value, path) {
                None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
                Some(_) => (),
            },
        }
        let time = match self.number(path) {
            // JavaScript counts milliseconds; as seconds, that would be after the year 5000.
            Some(number) if number >= 1e11 => Some(number / 1_000.0),
            Some(number) => Some(number),
            None => self.name(path).and_then(|text| when::iso(&text)),
        };
        time.filter(|time| time.is_finite()).map(Some).ok_or(Reason::Corrupt)
    }

    /// How many keys of a path lead to something.
    pub fn reach(&self, path: &[String]) -> usize {
        let there = |length: &usize| {
            let part = path.get(..*length).unwrap_or_default();
            match self {
                Self::Pickle(pickle) => follow(pickle, part).is_some(),
                Self::Json(value) => follow_json(value, part).is_some(),
            }
        };
        (1..=path.len()).take_while(there).count()
    }
}

fn follow(pickle: &Pickle, path: &[String]) -> Option<NodeId> {
    path.iter().try_fold(pickle.root(), |at, key| {
        let Node::Dict(pairs) = pickle.node(at) else { return None };
        // The last one counts, as in Python. Python 2 writes keys as bytes; to Python 3 the two are
        // different keys, and the application asks for the text.
        let mut pairs = pairs.iter().rev();
        let text = pairs
            .clone()
            .find(|(name, _)| matches!(pickle.node(*name), Node::Text(text) if text == key));
        let found = text.or_else(|| {
            pairs.find(|(name, _)| {
                matches!(pickle.node(*name), Node::Bytes(bytes) if bytes == key.as_bytes())
            })
        });
        found.map(|(_, value)| *value)
    })
}

fn name(pickle: &Pickle, id: NodeId) -> Option<Cow<'_, str>> {
    match pickle.node(id) {
        Node::Text(text) => Some(text.into()),
        Node::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Cow::from),
        Node::Integer(number) => Some(number.to_string().into()),
        _ => None,
    }
}

fn follow_json<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |at, key| at.as_object()?.get(key))
}

fn json_name(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_are_of_any_kind() {
        let cases: [&[u8]; 5] = [
            b"](U\x01aK\x07Ne.",
            b"(U\x01aK\x07Nt.",
            b"\x8f(U\x01aK\x07N\x90.",
            b"(U\x01aK\x07N\x91.",
            b"(U\x01aK\x07Nl.",
        ];
        for pickle in cases {
            let document = Document::Pickle(crate::pickle::read(pickle).unwrap());
            let names: Vec<_> = document.names(&[]).collect();
            assert_eq!(names, ["a", "7"], "{}", pickle.escape_ascii());
        }
    }

    #[test]
    fn last_of_a_key_counts_and_text_before_bytes() {
        let cases: [(&[u8], &str); 5] = [
            (b"}(U\x04userK\x01u.", "1"),
            (b"}(\x8c\x04userK\x01\x8c\x04userK\x02u.", "2"),
            (b"}(U\x04userK\x01U\x04userK\x02u.", "2"),
            (b"}(\x8c\x04userK\x01U\x04userK\x02u.", "1"),
            (b"}(U\x04userK\x01\x8c\x04userK\x02u.", "2"),
        ];
        for (pickle, user) in cases {
            let document = Document::Pickle(crate::pickle::read(pickle).unwrap());
            let found = document.name(&["user".to_owned()]);
            assert_eq!(found.as_deref(), Some(user), "{}", pickle.escape_ascii());
        }
    }
}
