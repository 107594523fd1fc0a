//! What the demo announces: small news of a small office, one after the other.

/// Goes round and round.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    turn: usize,
}

/// The page's code for it, the number in its sentence, the sentence. The page has its own sentences, in
/// the reader's language; other listeners take this one.
const NEWS: [(&str, u32, &str); 6] = [
    ("coffee", 5, "Coffee will be ready in 5 minutes."),
    ("backup", 1204, "The backup is done: 1,204 files are safe."),
    ("weather", 20, "Rain is coming in 20 minutes."),
    ("deploy", 42, "Version 42 is live."),
    ("library", 3, "3 books came back to the library."),
    ("queue", 17, "17 jobs are waiting in the queue."),
];

impl Announcer {
    /// The next message, as a notifier sends it.
    pub(super) fn next(&mut self) -> String {
        let news = NEWS.iter().cycle().nth(self.turn % NEWS.len());
        self.turn += 1;
        let (code, n, text) = news.unwrap_or(&("deploy", 1, "Version 1 is live."));
        serde_json::json!({ "to": "all/", "data": { "code": code, "n": n, "text": text } })
            .to_string()
    }
}
