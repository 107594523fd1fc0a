//! The one cookie that matters, out of a Cookie header.

use crate::Reason;

/// The value of the cookie `name`, without quotes.
///
/// The same cookie twice is normal (repoze.who sets three, for three domains); the same name with two
/// values is not: which one the application would take, nobody can know.
///
/// # Errors
/// There is none, or there are two.
pub(crate) fn value<'a>(header: Option<&'a str>, name: &str) -> Result<&'a str, Reason> {
    let mut found = None;
    for pair in header.unwrap_or_default().split(';') {
        let Some((key, value)) = pair.split_once('=') else { continue };
        if key.trim() != name {
            continue;
        }
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        match found {
            None => found = Some(value),
            Some(first) if first == value => {}
            Some(_) => return Err(Reason::Ambiguous),
        }
    }
    found.ok_or(Reason::NoCookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_is_found_among_others() {
        let cases = [
            (None, Err(Reason::NoCookie)),
            (Some(""), Err(Reason::NoCookie)),
            (Some("ab=1; sida=2; b"), Err(Reason::NoCookie)),
            (Some("a=1; sid=x=y; c=3"), Ok("x=y")),
            (Some("sid=\"quoted\""), Ok("quoted")),
            (Some("sid=1;sid=1"), Ok("1")),
            (Some("sid=1; sid=2"), Err(Reason::Ambiguous)),
            (Some("sid="), Ok("")),
        ];
        for (header, expected) in cases {
            assert_eq!(value(header, "sid"), expected, "{header:?}");
        }
    }
}
