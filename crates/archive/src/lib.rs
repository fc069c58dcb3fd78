//! Sealed segments and inventories: tar, zstd and age, without I/O.
