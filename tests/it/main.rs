//! The one integration test binary: one module for each subject.

mod corpus;
mod differential;
