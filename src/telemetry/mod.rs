//! How we speak about ourselves.
