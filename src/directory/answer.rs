//! What a directory answers, read and checked. Nothing is started here.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::config::{
    NotifierConfig, Subscribe, Transport, check_endpoint, check_name, check_prefixes,
};

/// The largest answer, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Entries of an answer.
const MAX_ENTRIES: usize = 1_000;

/// Characters of a name that log and status show.
const MAX_SHOWN: usize = 64;

/// An answer that was understood.
#[derive(Debug)]
pub(super) struct Answer {
    /// How long it says that it holds.
    pub(super) ttl: Option<Duration>,
    /// In its order; every name once.
    pub(super) entries: Vec<Entry>,
}

/// A notifier of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name, or else where it is in the list.
    pub(super) name: String,
    /// What to start, or why not.
    pub(super) wanted: Result<NotifierConfig, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Table { v: u64, ttl: Option<u64>, notifiers: Vec<Value> },
    Endpoints(Vec<Value>),
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    sub: String,
    key: Option<String>,
    subscribe: Option<String>,
    codec: Option<String>,
    allow: Option<Vec<String>>,
}

/// Reads an answer. `max_message`: the largest that a notifier may send, whatever its default.
///
/// # Errors
/// It makes no sense as a whole; what is wrong, and what would be right.
pub(super) fn read(bytes: &[u8], max_message: usize) -> Result<Answer, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("the answer has {} bytes; at most {MAX_BYTES}", bytes.len()));
    }
    if bytes.first() == Some(&0x80) {
        return Err("the answer is a pickle, which is not available yet; answer JSON".to_owned());
    }
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let (ttl, items, plain) = match Form::deserialize(value) {
        Ok(Form::Table { v: 1, ttl, notifiers }) => (ttl, notifiers, false),
        Ok(Form::Table { v, .. }) => {
            return Err(format!("the answer's v is {v}; this hub reads 1"));
        }
        Ok(Form::Endpoints(items)) => (None, items, true),
        // The parser's own words would be about serde's forms.
        Err(_) => {
            let message =
                "the answer is neither {\"v\":1,\"notifiers\":[…]} nor a list of endpoints";
            return Err(message.to_owned());
        }
    };
    if items.len() > MAX_ENTRIES {
        return Err(format!("the answer lists {} notifiers; at most {MAX_ENTRIES}", items.len()));
    }
    let mut names = HashSet::new();
    let mut entries = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        let mut entry = if plain { from_endpoint(&item, place) } else { from_table(item, place) };
        if let Ok(wanted) = &mut entry.wanted {
            wanted.max_message = wanted.max_message.min(max_message);
        }
        if !names.insert(entry.name.clone()) {
            entry.name = format!("{} (#{})", entry.name, place + 1);
            entry.wanted = Err("its name is listed twice; rename one of them".to_owned());
        }
        entries.push(entry);
    }
    Ok(Answer { ttl: ttl.map(Duration::from_secs), entries })
}

fn from_table(item: Value, place: usize) -> Entry {
    let named = item.get("name").and_then(Value::as_str);
    let name = named.map_or_else(|| format!("#{}", place + 1), shown);
    let wanted = Listed::deserialize(item)
        .map_err(|error| format!("{error}; list {{\"name\":…,\"sub\":\"tcp://host:port\"}}"))
        .and_then(wanted);
    Entry { name, wanted }
}

fn wanted(listed: Listed) -> Result<NotifierConfig, String> {
    check_name(&listed.name)?;
    if listed.key.is_some_and(|key| !key.is_empty()) {
        return Err("key: CURVE is not available yet; list it without a key".to_owned());
    }
    match listed.codec.as_deref() {
        None | Some("json") => {}
        Some(codec) => return Err(format!("codec: {codec:?} is not available; use \"json\"")),
    }
    let subscribe = match listed.subscribe.as_deref() {
        None | Some("all") => Subscribe::All,
        Some("each") => Subscribe::Each,
        Some(other) => return Err(format!("subscribe: {other:?} is none of each, all")),
    };
    let mut config = sub(&listed.name, listed.sub, subscribe)?;
    if let Some(allow) = listed.allow {
        check_prefixes(&allow).map_err(|error| format!("allow: {error}"))?;
        config.allow = allow;
    }
    Ok(config)
}

fn from_endpoint(item: &Value, place: usize) -> Entry {
    let Some(endpoint) = item.as_str() else {
        let message = "it is no string; list endpoints, as \"tcp://host:port\"".to_owned();
        return Entry { name: format!("#{}", place + 1), wanted: Err(message) };
    };
    match sub(&name_of(endpoint), endpoint.to_owned(), Subscribe::Each) {
        Ok(config) => Entry { name: config.name.clone(), wanted: Ok(config) },
        Err(message) => Entry { name: shown(endpoint), wanted: Err(message) },
    }
}

fn sub(name: &str, endpoint: String, subscribe: Subscribe) -> Result<NotifierConfig, String> {
    check_endpoint(&endpoint).map_err(|error| format!("sub: {error}"))?;
    if endpoint.ends_with(":*") {
        return Err(format!("sub: {endpoint:?} has no port to connect to"));
    }
    Ok(NotifierConfig {
        transport: Transport::Sub,
        connect: vec![endpoint],
        subscribe,
        ..NotifierConfig::pull(name)
    })
}

/// A name made of an endpoint: `10.0.0.1-5556` of `tcp://10.0.0.1:5556`.
fn name_of(endpoint: &str) -> String {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let valid = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = rest.trim_start_matches(['/', '[', ':']).chars().map(valid).collect();
    // Ends tell endpoints apart better than beginnings.
    let end = name.get(name.len().saturating_sub(MAX_SHOWN)..).unwrap_or_default();
    if end.is_empty() { "-".to_owned() } else { end.to_owned() }
}

/// As much of a word as log and status show.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(answer: &Answer) -> Vec<(&str, bool)> {
        answer.entries.iter().map(|one| (&*one.name, one.wanted.is_ok())).collect()
    }

    #[test]
    fn table_is_read_with_its_defaults() {
        let text = r#"{"v":1,"ttl":7,"new":true,"notifiers":[
            {"name":"news","sub":"tcp://10.0.0.1:5556","replay":"tcp://10.0.0.1:5557"},
            {"name":"more","sub":"ipc:///tmp/x","subscribe":"each","codec":"json","key":null,"allow":["u/"]}]}"#;
        let answer = read(text.as_bytes(), 4096).unwrap();
        assert_eq!(answer.ttl, Some(Duration::from_secs(7)));
        let [news, more] = &answer.entries[..] else { panic!("{answer:?}") };
        let expected = NotifierConfig {
            transport: Transport::Sub,
            connect: vec!["tcp://10.0.0.1:5556".to_owned()],
            max_message: 4096,
            ..NotifierConfig::pull("news")
        };
        assert_eq!(news.wanted, Ok(expected));
        let more = more.wanted.as_ref().unwrap();
        assert_eq!((more.subscribe, &*more.allow), (Subscribe::Each, &["u/".to_owned()][..]));
    }

    #[test]
    fn plain_list_makes_names_of_endpoints() {
        let long = format!("ipc:///{}", "x/".repeat(100));
        let list = serde_json::json!([
            "tcp://10.0.0.1:5556",
            "tcp://[::1]:1",
            "ipc:///tmp/a b",
            long,
            5,
            "x"
        ]);
        let answer = read(list.to_string().as_bytes(), 1 << 20).unwrap();
        let end = "x-".repeat(32);
        let expected = [
            ("10.0.0.1-5556", true),
            ("1--1", true),
            ("tmp-a-b", true),
            (&*end, true),
            ("#5", false),
            ("x", false),
        ];
        assert_eq!(names(&answer), expected);
        for config in answer.entries.iter().filter_map(|entry| entry.wanted.as_ref().ok()) {
            assert_eq!((check_name(&config.name), config.subscribe), (Ok(()), Subscribe::Each));
        }
    }

    #[test]
    fn entries_that_cannot_be_served_do_not_harm_the_others() {
        let text = r#"{"v":1,"notifiers":[
            {"name":"secret","sub":"tcp://h:1","key":"abc"},
            {"name":"pickled","sub":"tcp://h:1","codec":"pickle"},
            {"name":"a b","sub":"tcp://h:1"},
            {"name":"http","sub":"http://h"},
            {"name":"star","sub":"tcp://h:*"},
            {"name":"some","sub":"tcp://h:1","subscribe":"some"},
            {"name":"x","sub":"tcp://h:1","allow":["x/"]},
            {"sub":"tcp://h:1"},
            5,
            {"name":"good","sub":"tcp://h:1"},
            {"name":"good","sub":"tcp://h:2"}]}"#;
        let answer = read(text.as_bytes(), 1 << 20).unwrap();
        let served: Vec<_> = names(&answer).into_iter().filter(|(_, served)| *served).collect();
        assert_eq!(served, [("good", true)]);
        assert_eq!(answer.entries[7].name, "#8");
        assert_eq!(answer.entries[10].name, "good (#11)");
    }

    #[test]
    fn what_makes_no_sense_is_a_failure() {
        let many = format!("[{}]", vec!["\"tcp://h:1\""; 1001].join(","));
        let deep = "[".repeat(100_000);
        let large = format!("[{}]", " ".repeat(MAX_BYTES));
        let cases =
            ["", "no", "{}", "5", "{\"v\":2,\"notifiers\":[]}", "{\"v\":1}", &many, &deep, &large];
        for text in cases {
            assert!(read(text.as_bytes(), 1 << 20).is_err(), "{}", shown(text));
        }
        assert!(read(b"\x80\x04]", 1 << 20).unwrap_err().contains("pickle"));
    }
}
