//! Compiles the stock Socket.IO client into the hub, if npm has installed it: plain, and gzipped once
//! here instead of at each request. Without it the hub builds all the same, and says so where the
//! scripts would be.

#![expect(clippy::unwrap_used, reason = "a build fails by panicking")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

const NAMES: [&str; 4] =
    ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];

fn main() {
    let package =
        Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("node_modules/socket.io-client");
    // While it is missing, cargo asks at each build: so it is noticed as soon as npm has installed it.
    let watched = "node_modules/socket.io-client/package.json";
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={watched}");
    println!("cargo:rerun-if-env-changed=PREGON_CLIENT");
    let version = fs::read_to_string(package.join("package.json"))
        .ok()
        .and_then(|text| text.split("\"version\": \"").nth(1)?.split('"').next().map(str::to_owned))
        .unwrap_or_default();
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let mut code = format!(
        "const CLIENT_VERSION: &str = {version:?};\nconst NAMES: [&str; {}] = {NAMES:?};\n\
         const BUNDLES: &[(&str, &[u8], &[u8])] = &[\n",
        NAMES.len()
    );
    for name in NAMES {
        for file in [name.to_owned(), format!("{name}.map")] {
            let path = package.join("dist").join(&file);
            if path.exists() {
                let gzipped = out.join(format!("{file}.gz"));
                fs::write(&gzipped, gzip(&fs::read(&path).unwrap())).unwrap();
                writeln!(
                    code,
                    "    ({file:?}, include_bytes!({path:?}), include_bytes!({gzipped:?})),"
                )
                .unwrap();
            }
        }
    }
    code.push_str("];\n");
    fs::write(out.join("bundles.rs"), code).unwrap();
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
