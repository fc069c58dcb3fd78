//! How operator and sidecar are linked.

#![expect(clippy::print_stdout, reason = "that is how Cargo is told")]

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=../crates/link.rs");
    // A program that may be loaded anywhere has tens of thousands of pointers to set when it starts, and reads where they are: a megabyte, which
    // stays resident. In the form that C libraries since glibc 2.36 understand it is some kilobytes.
    let target =
        ["ARCH", "OS", "ENV"].map(|part| var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default());
    if target == ["x86_64", "linux", "gnu"] {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        // Functions whose code came out the same are one. Nothing of ours tells functions apart by where they are.
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
