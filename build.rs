//! Compiles the stock Socket.IO client into the hub, if npm has installed it. Without it the hub
//! builds all the same, and says so where the script would be.

#![expect(clippy::unwrap_used, reason = "a build fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

const BUNDLES: [&str; 3] = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js"];

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
    let mut code = format!(
        "const CLIENT_VERSION: &str = {version:?};\nconst BUNDLES: &[(&str, &[u8])] = &[\n"
    );
    for name in BUNDLES {
        for file in [name.to_owned(), format!("{name}.map")] {
            let path = package.join("dist").join(&file);
            if path.exists() {
                writeln!(code, "    ({file:?}, include_bytes!({path:?})),").unwrap();
            }
        }
    }
    code.push_str("];\n");
    let out = Path::new(&env::var("OUT_DIR").unwrap()).join("bundles.rs");
    fs::write(out, code).unwrap();
}
