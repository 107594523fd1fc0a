//! Build shim: the `zmq` crate's build script asks the package `zeromq-src` 0.2 for libzmq, and gets
//! 4.3.4 without CURVE. Cargo's `[patch]` puts this package in its place: libzmq 4.3.5, built by
//! `zeromq-src` 0.3 against a static libsodium, so that `zmq::has("curve")` is true.
//!
//! Not a library for anyone else: it offers just what that build script calls.

/// Where a library lives; only named in [`Build::with_libsodium`]'s signature.
pub use upstream::LibLocation;

/// libzmq's build with CURVE always on.
#[derive(Debug, Default)]
pub struct Build(());

impl Build {
    /// A build with upstream's settings.
    pub fn new() -> Self {
        Self(())
    }

    /// Ignored: the caller passes `None`, since it knows no libsodium. This crate does.
    pub fn with_libsodium(&mut self, _location: Option<LibLocation>) -> &mut Self {
        self
    }

    /// Compiles libzmq and prints the link instructions for the calling build script.
    pub fn build(&mut self) {
        let sodium = LibLocation::new(env!("DEP_SODIUM_LIB"), env!("DEP_SODIUM_INCLUDE"));
        upstream::Build::new().with_libsodium(Some(sodium)).build();
    }
}
