//! An unpacked session: a tree that is only ever followed along a path.

use serde_json::Value;

use crate::pickle::{Node, NodeId, Pickle};

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
    }

    /// The names in a list at the end of a path; what is no name is left out.
    pub fn names(&self, path: &[String]) -> Vec<String> {
        match self {
            Self::Pickle(pickle) => match follow(pickle, path).map(|id| pickle.node(id)) {
                Some(Node::List(items) | Node::Tuple(items, _) | Node::Set(items)) => {
                    items.iter().filter_map(|item| name(pickle, *item)).collect()
                }
                _ => Vec::new(),
            },
            Self::Json(value) => match follow_json(value, path) {
                Some(Value::Array(items)) => items.iter().filter_map(json_name).collect(),
                _ => Vec::new(),
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
}

fn follow(pickle: &Pickle, path: &[String]) -> Option<NodeId> {
    path.iter().try_fold(pickle.root(), |at, key| {
        let Node::Dict(pairs) = pickle.node(at) else { return None };
        // The last one counts, as in Python. Python 2 writes keys as bytes.
        let found = pairs.iter().rev().find(|(name, _)| match pickle.node(*name) {
            Node::Text(text) => text == key,
            Node::Bytes(bytes) => bytes == key.as_bytes(),
            _ => false,
        });
        found.map(|(_, value)| *value)
    })
}

fn name(pickle: &Pickle, id: NodeId) -> Option<String> {
    match pickle.node(id) {
        Node::Text(text) => Some(text.clone()),
        Node::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Node::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn follow_json<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |at, key| at.as_object()?.get(key))
}

fn json_name(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}
