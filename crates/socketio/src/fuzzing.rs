//! What fuzz targets reach beyond the public API, with the feature `fuzzing`; for nobody else, and
//! without any promise. It sits beside `lib`, which hides it from the documentation.

pub use crate::frames::{Frames, Input};
