//! `registry_codes`: an extension with configuration tables.
//!
//! Debian's contrib has none whose tables hold the user's own rows (`pg_extension_config_dump`), so the sample
//! registries bring one of plain SQL. A server finds it in its share directory, so it is laid into a
//! PostgreSQL root file system when that is built.

use std::{fs, io, path::Path};

/// The extension's files: name in the server's `extension` directory, and text.
pub const FILES: [(&str, &str); 2] = [
    (
        "registry_codes.control",
        include_str!("../../registries/extension/registry_codes.control"),
    ),
    (
        "registry_codes--1.0.sql",
        include_str!("../../registries/extension/registry_codes--1.0.sql"),
    ),
];

/// Lays the extension's files into a root file system (`/` for this machine) that holds Debian's PostgreSQL
/// of that major version. Laying them twice changes nothing.
pub fn install(rootfs: &Path, major: u32) -> io::Result<()> {
    let folder = rootfs.join(format!("usr/share/postgresql/{major}/extension"));
    for (name, text) in FILES {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
