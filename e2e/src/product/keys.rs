//! Keys as an offline machine would make them, with stock tools.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    cluster::state,
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
    /// Those who may order an activation: three, of whom two must.
    pub approvers: Vec<Approver>,
}

/// Somebody who may order an activation. Their key never leaves the offline machine, which signs with stock tools.
#[derive(Clone, Debug)]
pub struct Approver {
    key: PathBuf,
    public: String,
}

/// Whom the samples name.
const APPROVERS: [&str; 3] = ["minister-of-interior", "chief-justice", "head-of-archive"];

impl Keys {
    /// Makes the keys, or reads those that this bed has already.
    pub(super) async fn make() -> Result<Self> {
        let folder = state().join("offline");
        fs::create_dir_all(&folder)?;
        let identity = folder.join("identity.txt");
        if !identity.exists() {
            output(command("age-keygen").arg("-o").arg(&identity)).await?;
        }
        let custodian = make_key(&folder, "custodian").await?;
        let mut approvers = Vec::new();
        for name in APPROVERS {
            let key = make_key(&folder, name).await?;
            let public = read(&key.with_extension("pub"))?.trim().to_owned();
            approvers.push(Approver { key, public });
        }
        let recipient = output(command("age-keygen").arg("-y").arg(&identity)).await?;
        Ok(Self {
            identity: read(&identity)?,
            recipient: recipient.trim().to_owned(),
            custodian_public: read(&custodian.with_extension("pub"))?.trim().to_owned(),
            custodian: read(&custodian)?,
            approvers,
        })
    }
}

/// An SSH key of this name, made if it is not there.
async fn make_key(folder: &Path, name: &str) -> Result<PathBuf> {
    let key = folder.join(name);
    if !key.exists() {
        let mut keygen = command("ssh-keygen");
        keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&key);
        output(&mut keygen).await?;
    }
    Ok(key)
}

impl Approver {
    /// Their public key, with their name behind it.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Signs a statement, with the command that the statement itself tells.
    pub async fn sign(&self, statement: &str) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let text = folder.path().join("statement.txt");
        fs::write(&text, statement)?;
        let mut keygen = command("ssh-keygen");
        keygen
            .args(["-q", "-Y", "sign", "-n", "dataembassy-activation-v1", "-f"])
            .arg(&self.key)
            .arg(&text);
        output(&mut keygen).await?;
        read(&folder.path().join("statement.txt.sig"))
    }
}

fn read(path: &PathBuf) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
