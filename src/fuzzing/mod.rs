//! Entry points of the fuzz targets, so that ordinary tests can replay what fuzzing has found.
//!
//! Not part of the API: names and meaning of the bytes change without notice.

mod detect;
mod message;

pub use detect::{assert_same, detect_differential};
pub use message::message;
