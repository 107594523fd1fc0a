//! `[redis]`: where sessions live, and the ways there.

use std::fs;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Mistake;
use super::rules;
use super::section::Section;
use super::tree::Node;

/// `[redis]`
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Where it is, or how to enter if `way` says where.
    url: String,
    way: Way,
    /// Who signs certificates, as PEM; nothing: whom the system trusts.
    ca: Option<Vec<u8>>,
}

/// Where a store is, and how to enter.
#[derive(Clone, Debug)]
pub struct RedisPlace {
    /// Scheme, user, password and database; host and port if the way is direct.
    pub url: String,
    /// How to find it.
    pub way: Way,
    /// Who signs certificates, as PEM; nothing: whom the system trusts.
    pub ca: Option<Vec<u8>>,
}

/// How to find a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is where the URL says.
    Direct,
    /// Sentinels know.
    Sentinels {
        /// Where these are: `host:port`, or a URL.
        sentinels: Vec<String>,
        /// How they call it.
        master: String,
    },
    /// It is many; some of them, as `host:port`.
    Cluster(Vec<String>),
}

impl RedisConfig {
    /// Where sessions live by an identity's `redis`: at that URL, or if it is empty, at the usual place.
    pub fn place(&self, url: &str) -> RedisPlace {
        let ca = self.ca.clone();
        if url.is_empty() {
            RedisPlace { url: self.url.clone(), way: self.way.clone(), ca }
        } else {
            RedisPlace { url: url.to_owned(), way: Way::Direct, ca }
        }
    }
}

pub(super) fn read(node: Option<Node>, mistakes: &mut Vec<Mistake>) -> RedisConfig {
    let mut section = Section::new("redis", node, mistakes);
    let url = section.take_if("url", "redis://127.0.0.1:6379/0".to_owned(), rules::redis);
    let sentinels = section.take_if("sentinels", Vec::new(), rules::sentinels);
    let master = section.take("master", String::new());
    let cluster = section.take_if("cluster", Vec::new(), rules::hosts);
    let ca = section.take_if("ca_file", String::new(), |path: &str| authority(path).map(drop));
    section.later("prefix", "\"pregon:\"");
    let unix = ["unix:", "redis+unix:"].iter().any(|scheme| url.value.starts_with(scheme));
    if unix && !(sentinels.value.is_empty() && cluster.value.is_empty()) {
        let message =
            "a socket is one server; with sentinels or cluster write redis:// or rediss://";
        section.mistake(&url.source, "url", message);
    }
    if !cluster.value.is_empty() && rules::database(&url.value) != Some(0) {
        section.mistake(&url.source, "url", "a Cluster has only database 0");
    }
    if sentinels.value.is_empty() != master.value.is_empty() {
        let message = "sentinels and master go together: where the Sentinels are, and how they call the master";
        section.mistake(&master.source, "master", message);
    }
    if !sentinels.value.is_empty() && !cluster.value.is_empty() {
        let message = "either sentinels or cluster; a Cluster needs no Sentinels";
        section.mistake(&cluster.source, "cluster", message);
    }
    section.finish();
    let way = if !cluster.value.is_empty() {
        Way::Cluster(cluster.value)
    } else if !sentinels.value.is_empty() {
        Way::Sentinels { sentinels: sentinels.value, master: master.value }
    } else {
        Way::Direct
    };
    RedisConfig { url: url.value, way, ca: authority(&ca.value).unwrap_or_default() }
}

/// The bytes of a PEM file that has certificates; none if there is no path.
fn authority(path: &str) -> Result<Option<Vec<u8>>, String> {
    if path.is_empty() {
        return Ok(None);
    }
    let pem = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(some) if !some.is_empty() => Ok(Some(pem)),
        _ => Err(format!(
            "no certificate in {path}; it is the PEM file with BEGIN CERTIFICATE of whoever signed Redis's"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    fn redis(text: &str) -> Result<RedisConfig, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut tree = Tree::default();
        for line in text.lines() {
            tree.merge_set(&format!("redis.{line}"), &mut mistakes);
        }
        let config = read(tree.root.remove("redis"), &mut mistakes);
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(mistakes.iter().map(ToString::to_string).collect())
        }
    }

    #[test]
    fn identity_may_name_a_place_of_its_own() {
        let text = "url=\"redis://u:p@x/3\"\nsentinels=[\"a:1\",\"rediss://:s@b:2\"]\nmaster=\"m\"";
        let config = redis(text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let sentinels = vec!["a:1".to_owned(), "rediss://:s@b:2".to_owned()];
        let usual = config.place("");
        assert_eq!(usual.url, "redis://u:p@x/3");
        assert_eq!(usual.way, Way::Sentinels { sentinels, master: "m".to_owned() });
        let own = config.place("redis://other");
        assert_eq!((own.url.as_str(), own.way), ("redis://other", Way::Direct));
    }

    #[test]
    fn ways_that_lead_nowhere_are_mistakes() {
        let cases = [
            ("sentinels=[\"a:1\"]", "redis.master: sentinels and master go together"),
            ("master=\"m\"", "redis.master: sentinels and master go together"),
            (
                "sentinels=[\"a\"]\nmaster=\"m\"",
                "redis.sentinels: \"a\" is no server; write host:port",
            ),
            ("cluster=[\"a:0\"]", "redis.cluster: \"a:0\" is no server; write host:port"),
            ("cluster=[\"redis://a:1\"]", "redis.cluster: \"redis://a:1\" is no server"),
            ("url=\"redis://a/3\"\ncluster=[\"a:1\"]", "redis.url: a Cluster has only database 0"),
            (
                "sentinels=[\"a:1\"]\nmaster=\"m\"\ncluster=[\"a:1\"]",
                "redis.cluster: either sentinels or cluster",
            ),
            ("url=\"redis+unix:///s\"\ncluster=[\"a:1\"]", "redis.url: a socket is one server"),
            ("url=\"rediss://a/#insecure\"", "redis.url: \"#insecure\" would trust anybody"),
            ("ca_file=\"/none\"", "redis.ca_file: cannot read /none"),
            ("ca_file=\"/dev/null\"", "redis.ca_file: no certificate in /dev/null"),
        ];
        for (text, expected) in cases {
            let mistakes = redis(text).err().unwrap_or_default();
            assert!(mistakes.iter().any(|one| one.contains(expected)), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn servers_are_read_as_redis_writes_them() {
        let cases = [
            ("127.0.0.1:6379", Some(("127.0.0.1", 6379))),
            ("[::1]:1", Some(("::1", 1))),
            ("fe80::1:7000", Some(("fe80::1", 7000))),
            (":1", None),
            ("a:", None),
            ("a:99999", None),
        ];
        for (text, expected) in cases {
            let read = rules::host_and_port(text);
            assert_eq!(
                read.as_ref().map(|(host, port)| (host.as_str(), *port)),
                expected,
                "{text}"
            );
        }
    }
}
