//! `[directory]`: where to ask for notifiers. What it answers is not read here.

use std::time::Duration;

use super::Mistake;
use super::rules;
use super::section::Section;
use super::tree::Node;

/// `[directory]`
#[derive(Clone, Debug)]
pub struct DirectoryConfig {
    /// Whom to ask; nothing: nobody.
    pub connect: Option<String>,
    /// Between two questions.
    pub refresh: Duration,
}

pub(super) fn read(node: Option<Node>, mistakes: &mut Vec<Mistake>) -> DirectoryConfig {
    let mut section = Section::new("directory", node, mistakes);
    let connect = section.take_if("connect", String::new(), address).value;
    let refresh = section.take_if("refresh", Duration::from_secs(30), rules::positive).value;
    section.finish();
    DirectoryConfig { connect: Some(connect).filter(|connect| !connect.is_empty()), refresh }
}

fn address(connect: &str) -> Result<(), String> {
    if connect.is_empty() { Ok(()) } else { rules::endpoint(connect) }
}
