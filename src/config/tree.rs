//! The layers of settings as one tree, each value with its source.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// File and line.
    File(String, usize),
    /// The environment variable.
    Environment(String),
    /// `--set`, and its key.
    Set(String),
    /// Nowhere: a value is missing.
    Default,
}

impl Source {
    pub(super) fn mistake(&self, key: impl Into<String>, message: impl Into<String>) -> Mistake {
        let (place, line) = match self {
            Self::File(path, line) => (format!("{path}:{line}"), *line),
            Self::Environment(name) => (format!("environment {name}"), usize::MAX),
            Self::Set(pair) => (format!("--set {pair}"), usize::MAX),
            Self::Default => ("configuration".to_owned(), 0),
        };
        Mistake { place, line, key: key.into(), message: message.into() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) source: Source,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A date or a fraction: nothing here wants one.
    Other(&'static str),
}

pub(super) type Table = BTreeMap<String, Node>;

/// Where it was written does not matter.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Value {
    /// What it is, for a reader.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) root: Table,
}

impl Tree {
    pub(super) fn merge_file(&mut self, path: &Path, text: &str, mistakes: &mut Vec<Mistake>) {
        let path = path.display().to_string();
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            let source = Source::File(path.clone(), line(text, at));
            mistakes.push(source.mistake("", error.message()));
        }
        let from = File { path: &path, text };
        self.root = from.table(table.into_inner());
    }

    /// `PREGON__SERVER__LISTEN` sets `server.listen`.
    pub(super) fn merge_environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
        mistakes: &mut Vec<Mistake>,
    ) {
        let ours = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let mut ours: Vec<_> = ours.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        ours.sort();
        for (name, value) in ours {
            let Ok(value) = value.into_string() else {
                let source = Source::Environment(name);
                mistakes.push(source.mistake("", "its value is not UTF-8"));
                continue;
            };
            let key = name.trim_start_matches(PREFIX).to_ascii_lowercase();
            let path: Vec<&str> = key.split("__").collect();
            self.set(&path, &value, &Source::Environment(name.clone()), mistakes);
        }
    }

    pub(super) fn merge_set(&mut self, pair: &str, mistakes: &mut Vec<Mistake>) {
        // The value may be a secret: it is not repeated.
        let source = Source::Set(pair.split('=').next().unwrap_or_default().to_owned());
        match pair.split_once('=') {
            Some((key, value)) => {
                let path: Vec<&str> = key.trim().split('.').collect();
                self.set(&path, value.trim(), &source, mistakes);
            }
            None => mistakes.push(source.mistake("", "write it as table.key=value")),
        }
    }

    fn set(&mut self, path: &[&str], value: &str, source: &Source, mistakes: &mut Vec<Mistake>) {
        let [tables @ .., key] = path else { return };
        let mut at = &mut self.root;
        for table in tables {
            let node = at.entry((*table).to_owned()).or_insert_with(|| Node {
                value: Value::Table(Table::new()),
                source: source.clone(),
            });
            match &mut node.value {
                Value::Table(inner) => at = inner,
                _ => {
                    let message =
                        format!("{table} is no table; it cannot be set from outside the file");
                    return mistakes.push(source.mistake(path.join("."), message));
                }
            }
        }
        at.insert(
            (*key).to_owned(),
            Node { value: literal(value, source), source: source.clone() },
        );
    }
}

const PREFIX: &str = "PREGON__";

/// A TOML literal, or else the text itself: `--set log.level=debug` needs no quotes.
fn literal(text: &str, source: &Source) -> Value {
    match DeValue::parse(text) {
        Ok(value) => convert(value.into_inner(), &|_| source.clone()),
        Err(_) => Value::Text(text.to_owned()),
    }
}

struct File<'a> {
    path: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn table(&self, table: DeTable<'_>) -> Table {
        let source = |at| Source::File(self.path.to_owned(), line(self.text, at));
        match convert(DeValue::Table(table), &source) {
            Value::Table(table) => table,
            _ => Table::new(),
        }
    }
}

fn convert(value: DeValue<'_>, source: &dyn Fn(usize) -> Source) -> Value {
    let node = |at: usize, value: Spanned<DeValue<'_>>| Node {
        value: convert(value.into_inner(), source),
        source: source(at),
    };
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number beyond 64 bits"), Value::Integer),
        DeValue::Array(items) => {
            Value::Array(items.into_iter().map(|item| node(item.span().start, item)).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let at = key.span().start;
                    (key.into_inner().into_owned(), node(at, value))
                })
                .collect(),
        ),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
    }
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
