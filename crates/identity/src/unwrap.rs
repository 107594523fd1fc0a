//! The layers around a session's value, peeled one by one, each bounded.

use std::borrow::Cow;
use std::fmt;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use serde_json::Value;

use crate::Reason;
use crate::beaker::{self, BeakerKeys};
use crate::document::Document;
use crate::msgpack;
use crate::pickle::{self, Node};

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Python's pickle. If another layer follows, the pickled object is bytes or text.
    Pickle,
    /// Standard base64.
    Base64,
    /// zlib.
    Zlib,
    /// JSON.
    Json,
    /// MessagePack.
    Msgpack,
    /// Beaker's encryption, with the library `cryptography`.
    BeakerAesGcm(BeakerKeys),
}

impl Layer {
    /// A layer by its name in the configuration; without keys, `beaker_aes_gcm` is none.
    pub fn parse(name: &str, keys: Option<&BeakerKeys>) -> Option<Self> {
        match name {
            "pickle" => Some(Self::Pickle),
            "base64" => Some(Self::Base64),
            "zlib" => Some(Self::Zlib),
            "json" => Some(Self::Json),
            "msgpack" => Some(Self::Msgpack),
            "beaker_aes_gcm" => keys.cloned().map(Self::BeakerAesGcm),
            _ => None,
        }
    }
}

/// Its name, as in the configuration.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pickle => "pickle",
            Self::Base64 => "base64",
            Self::Zlib => "zlib",
            Self::Json => "json",
            Self::Msgpack => "msgpack",
            Self::BeakerAesGcm(_) => "beaker_aes_gcm",
        })
    }
}

enum Peeled<'a> {
    Bytes(Cow<'a, [u8]>),
    Document(Document),
}

/// Peels all layers. Neither the value nor what one of them comes to may be more than `max_bytes`.
///
/// # Errors
/// One of them is not what it should be.
pub(crate) fn unwrap(value: &[u8], layers: &[Layer], max_bytes: usize) -> Result<Document, Reason> {
    let mut peeled = Peeled::Bytes(value.into());
    for layer in layers {
        peeled = peel(peeled, layer, max_bytes)?;
    }
    match peeled {
        Peeled::Document(document) => Ok(document),
        Peeled::Bytes(_) => Err(Reason::Corrupt),
    }
}

/// How many of the layers can be peeled.
pub(crate) fn peelable(value: &[u8], layers: &[Layer], max_bytes: usize) -> usize {
    let mut peeled = Some(Peeled::Bytes(value.into()));
    let can_be = |layer: &&Layer| {
        peeled = peeled.take().and_then(|peeled| peel(peeled, layer, max_bytes).ok());
        peeled.is_some()
    };
    layers.iter().take_while(can_be).count()
}

fn peel<'a>(peeled: Peeled<'a>, layer: &Layer, max_bytes: usize) -> Result<Peeled<'a>, Reason> {
    let bytes = bytes(peeled)?;
    if bytes.len() > max_bytes {
        return Err(Reason::TooLarge);
    }
    Ok(match layer {
        Layer::Pickle => Peeled::Document(Document::Pickle(pickle::read(&bytes)?)),
        Layer::Msgpack => Peeled::Document(Document::Pickle(msgpack::read(&bytes)?)),
        Layer::Json => Peeled::Document(Document::Json(json(&bytes)?)),
        Layer::Base64 => {
            let decoded = STANDARD.decode(bytes.trim_ascii()).map_err(|_| Reason::Corrupt)?;
            Peeled::Bytes(decoded.into())
        }
        Layer::Zlib => Peeled::Bytes(inflate(&bytes, max_bytes)?.into()),
        Layer::BeakerAesGcm(keys) => Peeled::Bytes(beaker::decrypt(&bytes, keys)?.into()),
    })
}

/// A JSON value. What fails and nests deeper than is read fails for that.
pub(crate) fn json(bytes: &[u8]) -> Result<Value, Reason> {
    serde_json::from_slice(bytes).map_err(|_| match deepest(bytes) {
        0..=DEPTH => Reason::Corrupt,
        _ => Reason::TooDeep,
    })
}

/// What serde_json reads.
const DEPTH: usize = 127;

/// How deep brackets nest, those in texts aside.
fn deepest(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn bytes(peeled: Peeled<'_>) -> Result<Cow<'_, [u8]>, Reason> {
    match peeled {
        Peeled::Bytes(bytes) => Ok(bytes),
        Peeled::Document(Document::Pickle(pickle)) => match pickle.node(pickle.root()) {
            Node::Bytes(bytes) => Ok(bytes.clone().into()),
            Node::Text(text) => Ok(text.clone().into_bytes().into()),
            _ => Err(Reason::Corrupt),
        },
        Peeled::Document(Document::Json(_)) => Err(Reason::Corrupt),
    }
}

/// A few hundred kilobytes can inflate to gigabytes: reading stops at the bound.
fn inflate(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, Reason> {
    let mut inflated = Vec::new();
    let bound = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    ZlibDecoder::new(bytes).take(bound).read_to_end(&mut inflated).map_err(|_| Reason::Corrupt)?;
    if inflated.len() > max_bytes { Err(Reason::TooLarge) } else { Ok(inflated) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    const MAX: usize = 1_000;

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn user(value: &[u8], layers: &[Layer]) -> Result<Option<String>, Reason> {
        Ok(unwrap(value, layers, MAX)?.name(&["user".to_owned()]))
    }

    #[test]
    fn zlib_ends_where_its_stream_does() {
        let layers = [Layer::Zlib, Layer::Json];
        let [one, two] = [r#"{"user": 1}"#, r#"{"user": 2}"#].map(|json| deflate(json.as_bytes()));
        assert_eq!(user(&one, &layers), Ok(Some("1".to_owned())));
        // What follows is not looked at, as in Python.
        assert_eq!(user(&[&one[..], &two].concat(), &layers), Ok(Some("1".to_owned())));
        // The last four bytes are the checksum.
        for cut in 1..one.len() {
            assert_eq!(user(&one[..one.len() - cut], &layers), Err(Reason::Corrupt), "{cut}");
        }
    }

    #[test]
    fn nothing_becomes_larger_than_the_bound() {
        let layers = [Layer::Zlib, Layer::Json];
        let json = |spaces: usize| format!("{{\"user\": 1}}{}", " ".repeat(spaces)).into_bytes();
        let most = MAX - json(0).len();
        assert!(user(&deflate(&json(most)), &layers).is_ok());
        for spaces in [most + 1, 10_000_000] {
            assert_eq!(user(&deflate(&json(spaces)), &layers), Err(Reason::TooLarge), "{spaces}");
        }
        assert!(user(&json(most), &[Layer::Json]).is_ok());
        assert_eq!(user(&json(most + 1), &[Layer::Json]), Err(Reason::TooLarge));
    }

    #[test]
    fn json_is_bounded_in_depth_and_its_last_key_counts() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(user(&nested(127), &[Layer::Json]).is_ok());
        assert_eq!(user(&nested(128), &[Layer::Json]), Err(Reason::TooDeep));
        assert_eq!(user(&b"{\"a\":".repeat(200), &[Layer::Json]), Err(Reason::TooDeep));
        let text = [&b"{\"a\\\"\":\""[..], &b"[".repeat(200), b"\",}"].concat();
        assert_eq!(user(&text, &[Layer::Json]), Err(Reason::Corrupt));
        let twice = br#"{"user": 1, "user": 2}"#;
        assert_eq!(user(twice, &[Layer::Json]), Ok(Some("2".to_owned())));
    }

    #[test]
    fn base64_is_strict_but_for_blanks_around_it() {
        let layers = [Layer::Base64, Layer::Json];
        assert_eq!(user(b" eyJ1c2VyIjoxfQ==\n", &layers), Ok(Some("1".to_owned())));
        for value in [
            &b"eyJ1c2VyIjoxfQ"[..],
            b"eyJ1c2Vy\nIjoxfQ==",
            b"eyJ1c2VyIjoxfR==",
            b"eyJ1c2VyIjoxfQ==!",
        ] {
            assert_eq!(user(value, &layers), Err(Reason::Corrupt), "{}", value.escape_ascii());
        }
    }
}
