//! An `[[identity]]` as it was written, so that the files that it names can be read again while the hub
//! runs: these files alone, for what the settings themselves say stays as it was at the start. It
//! does not know when, nor what becomes of the result: `app/identities.rs` does.

use std::{fmt, fs};

use sha2::{Digest as _, Sha256};

use super::Mistake;
use super::identity::{Identity, SessionIdentity, identity};
use super::section::Section;
use super::tree::{Node, Value};

/// `Debug` shows the files only: secrets may be written beside them.
#[derive(Clone)]
pub struct Written {
    table: Node,
    files: Vec<String>,
    digest: [u8; 32],
}

impl Written {
    /// Looks at the files, too: to be called before they are read. Then what is changed in between
    /// counts as a change.
    pub(super) fn new(table: Node) -> Self {
        let mut files = Vec::new();
        if let Value::Table(keys) = &table.value {
            let named = keys.iter().filter(|(key, _)| key.ends_with("_file"));
            files.extend(named.filter_map(|(_, node)| match &node.value {
                Value::Text(file) if !file.is_empty() => Some(file.clone()),
                _ => None,
            }));
        }
        let digest = digest(&files);
        Self { table, files, digest }
    }

    /// The files that it names.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The identity as it was written, with what is in the files now; nothing if that is the same.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read_again(&self) -> Result<Option<SessionIdentity>, Vec<Mistake>> {
        if digest(&self.files) == self.digest {
            return Ok(None);
        }
        let mut mistakes = Vec::new();
        let section = Section::new("identity", Some(self.table.clone()), &mut mistakes);
        match identity(section).value {
            Identity::Session(session) if mistakes.is_empty() => Ok(Some(*session)),
            _ => Err(mistakes),
        }
    }
}

fn digest(files: &[String]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for file in files {
        // One that cannot be read is told as that when it is read in earnest.
        match fs::read(file) {
            Ok(bytes) => hash.update(Sha256::digest(bytes)),
            Err(error) => hash.update(error.to_string()),
        }
    }
    hash.finalize().into()
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("files", &self.files).finish_non_exhaustive()
    }
}
