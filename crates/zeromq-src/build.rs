//! Hands libsodium's location, known only to this build script, on to the library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["DEP_SODIUM_LIB", "DEP_SODIUM_INCLUDE"] {
        println!("cargo:rerun-if-env-changed={name}");
        if let Ok(value) = std::env::var(name) {
            println!("cargo:rustc-env={name}={value}");
        }
    }
}
