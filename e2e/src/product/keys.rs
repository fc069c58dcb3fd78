//! Keys as an offline machine would make them, with stock tools.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    cluster::STATE,
    command::{command, output},
};

/// Keys of the bed. They live as long as the bed does, and only on this machine.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The age identity file that opens copies; on neither cluster, except where a restore is told to use it.
    pub identity: String,
    /// Its public half, which copies are sealed to.
    pub recipient: String,
    /// The custodian's private key, in OpenSSH form.
    pub custodian: String,
    /// Its public half.
    pub custodian_public: String,
}

impl Keys {
    /// Makes the keys, or reads those that this bed has already.
    pub(super) async fn make() -> Result<Self> {
        let folder = Path::new(STATE).join("offline");
        fs::create_dir_all(&folder)?;
        let identity = folder.join("identity.txt");
        if !identity.exists() {
            output(command("age-keygen").arg("-o").arg(&identity)).await?;
        }
        let custodian = folder.join("custodian");
        if !custodian.exists() {
            let mut keygen = command("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "custodian", "-f"])
                .arg(&custodian);
            output(&mut keygen).await?;
        }
        let recipient = output(command("age-keygen").arg("-y").arg(&identity)).await?;
        Ok(Self {
            identity: read(&identity)?,
            recipient: recipient.trim().to_owned(),
            custodian_public: read(&custodian.with_extension("pub"))?.trim().to_owned(),
            custodian: read(&custodian)?,
        })
    }
}

fn read(path: &PathBuf) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
