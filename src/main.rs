//! The `sentinel` binary: a thin shell around the library.

fn main() {}
