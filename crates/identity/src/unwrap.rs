//! The layers around a session's value, peeled one by one, each bounded.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;

use crate::Reason;
use crate::document::Document;
use crate::pickle::{self, Node};

/// One layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Python's pickle. If another layer follows, the pickled object is bytes or text.
    Pickle,
    /// Standard base64.
    Base64,
    /// zlib.
    Zlib,
    /// JSON.
    Json,
}

impl Layer {
    /// A layer by its name in the configuration.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "pickle" => Some(Self::Pickle),
            "base64" => Some(Self::Base64),
            "zlib" => Some(Self::Zlib),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

enum Peeled {
    Bytes(Vec<u8>),
    Document(Document),
}

/// Peels all layers. None of them may come to more than `max_bytes`.
///
/// # Errors
/// One of them is not what it should be.
pub(crate) fn unwrap(value: &[u8], layers: &[Layer], max_bytes: usize) -> Result<Document, Reason> {
    let mut peeled = Peeled::Bytes(value.to_vec());
    for layer in layers {
        let bytes = bytes(peeled)?;
        if bytes.len() > max_bytes {
            return Err(Reason::TooLarge);
        }
        peeled = match layer {
            Layer::Pickle => Peeled::Document(Document::Pickle(pickle::read(&bytes)?)),
            Layer::Json => {
                let value = serde_json::from_slice(&bytes).map_err(|_| Reason::Corrupt)?;
                Peeled::Document(Document::Json(value))
            }
            Layer::Base64 => {
                Peeled::Bytes(STANDARD.decode(bytes.trim_ascii()).map_err(|_| Reason::Corrupt)?)
            }
            Layer::Zlib => Peeled::Bytes(inflate(&bytes, max_bytes)?),
        };
    }
    match peeled {
        Peeled::Document(document) => Ok(document),
        Peeled::Bytes(_) => Err(Reason::Corrupt),
    }
}

fn bytes(peeled: Peeled) -> Result<Vec<u8>, Reason> {
    match peeled {
        Peeled::Bytes(bytes) => Ok(bytes),
        Peeled::Document(Document::Pickle(pickle)) => match pickle.node(pickle.root()) {
            Node::Bytes(bytes) => Ok(bytes.clone()),
            Node::Text(text) => Ok(text.clone().into_bytes()),
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
