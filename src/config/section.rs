//! One table of the settings while it is read: each key is taken once, each mistake noted, and what is
//! left over at the end is unknown.

use std::borrow::Borrow;

use super::Mistake;
use super::tree::{Node, Source, Table, Tree, Value};
use super::value::Setting;

pub(super) struct Section<'a> {
    name: String,
    /// Where the table begins; for what is missing from it.
    source: Source,
    /// As it was written.
    whole: Table,
    left: Table,
    known: Vec<&'static str>,
    mistakes: &'a mut Vec<Mistake>,
}

/// A value and where it was written, for rules that look at several.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) source: Source,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: &str, node: Option<Node>, mistakes: &'a mut Vec<Mistake>) -> Self {
        let (left, source) = match node {
            None => (Table::new(), Source::Default),
            Some(Node { value: Value::Table(table), source }) => (table, source),
            Some(Node { value, source }) => {
                let message = format!("expected a table, found {}", value.kind());
                mistakes.push(source.mistake(name, message));
                (Table::new(), source)
            }
        };
        let whole = left.clone();
        Self { name: name.to_owned(), source, whole, left, known: Vec::new(), mistakes }
    }

    /// A setting, or its default.
    pub(super) fn take<T: Setting>(&mut self, key: &'static str, default: T) -> Placed<T> {
        self.take_if(key, default, |_: &T| Ok(()))
    }

    /// A setting that must pass a test, or its default.
    pub(super) fn take_if<T: Setting + Borrow<B>, B: ?Sized>(
        &mut self,
        key: &'static str,
        default: T,
        test: impl Fn(&B) -> Result<(), String>,
    ) -> Placed<T> {
        let Some(node) = self.remove(key) else {
            return Placed { value: default, source: self.source.clone() };
        };
        match T::read(&node).and_then(|value| test(value.borrow()).map(|()| value)) {
            Ok(value) => Placed { value, source: node.source },
            Err(message) => {
                self.mistake(&node.source, key, message);
                Placed { value: default, source: node.source }
            }
        }
    }

    /// A setting that is one of a few words.
    pub(super) fn choose<T: Clone>(
        &mut self,
        key: &'static str,
        default: T,
        words: &[(&str, Option<T>)],
    ) -> Placed<T> {
        let Some(node) = self.remove(key) else {
            return Placed { value: default, source: self.source.clone() };
        };
        let all = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let message = match String::read(&node) {
            Err(message) => message,
            Ok(text) => match words.iter().find(|(word, _)| *word == text) {
                Some((_, Some(value))) => {
                    return Placed { value: value.clone(), source: node.source };
                }
                Some((word, None)) => format!("{word:?} is not available yet"),
                None => format!("{text:?} is none of {}", all()),
            },
        };
        self.mistake(&node.source, key, message);
        Placed { value: default, source: node.source }
    }

    /// A setting of a part that does not exist yet: known, and refused unless it says what holds
    /// anyway, written as TOML.
    pub(super) fn later(&mut self, key: &'static str, default: &str) {
        let message = format!("not available yet; leave it out (it is {default})");
        self.refuse_unless(key, default, &message);
    }

    /// A setting that means nothing here: refused unless it says nothing.
    pub(super) fn unused(&mut self, key: &'static str, nothing: &str, why: &str) {
        self.refuse_unless(key, nothing, why);
    }

    /// A table inside this one.
    pub(super) fn inner(&mut self, key: &'static str) -> Section<'_> {
        let name = format!("{}.{key}", self.name);
        let node = self.remove(key);
        Section::new(&name, node, self.mistakes)
    }

    /// Whether the key is written at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// The whole table as it was written.
    pub(super) fn written(&self) -> Node {
        Node { value: Value::Table(self.whole.clone()), source: self.source.clone() }
    }

    /// The text of a key that is taken later; nothing, if it has none.
    pub(super) fn peek(&self, key: &str) -> String {
        self.left.get(key).and_then(|node| String::read(node).ok()).unwrap_or_default()
    }

    /// Where the table begins.
    pub(super) fn source(&self) -> Source {
        self.source.clone()
    }

    /// Notes a mistake in the value of `key`.
    pub(super) fn mistake(&mut self, source: &Source, key: &str, message: impl Into<String>) {
        self.mistakes.push(source.mistake(format!("{}.{key}", self.name), message));
    }

    /// Everything has been taken: what is left is unknown.
    pub(super) fn finish(self) {
        for (key, node) in &self.left {
            let near = self
                .known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, key), known))
                .filter(|(distance, _)| *distance <= 2)
                .min();
            let message = match near {
                Some((_, known)) => format!("unknown key; did you mean {known:?}?"),
                None => format!("unknown key; [{}] has {}", self.name, self.known.join(", ")),
            };
            self.mistakes.push(node.source.mistake(format!("{}.{key}", self.name), message));
        }
    }

    fn refuse_unless(&mut self, key: &'static str, usual: &str, message: &str) {
        let Some(node) = self.remove(key) else { return };
        let mut tree = Tree::default();
        tree.merge_set(&format!("usual={usual}"), self.mistakes);
        if tree.root.get("usual") != Some(&node) {
            self.mistake(&node.source, key, message);
        }
    }

    fn remove(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.left.remove(key)
    }
}
