//! Who is this? Session and ticket formats as values: bytes, keys and the time in, a user or a named
//! refusal out.
//!
//! No I/O, no clock: the hub's `clients` fetches what is to be read. No format is here yet; the
//! identity `dev`, which needs none, is in the hub.
