//! `store trust-sheet` as a person runs it.

use std::path::Path;
use std::process::Stdio;

use dataembassy_ledger::trust_sheet::VerifiedSheet;
use dataembassy_ledger::{PublicKey, TrustSheet};
use tokio::process::Command;

/// How the program ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub succeeded: bool,
    pub printed: String,
    pub complained: String,
}

impl Ended {
    /// What was printed, if it succeeded.
    pub fn printed(self) -> String {
        assert!(self.succeeded, "{}{}", self.printed, self.complained);
        self.printed
    }

    /// The sheet that was printed.
    pub fn sheet(self) -> VerifiedSheet {
        TrustSheet::verify(self.printed().as_bytes()).unwrap()
    }

    /// It failed with these words; returns what was printed nevertheless.
    pub fn refused(self, words: &[&str]) -> String {
        assert!(!self.succeeded, "{}", self.printed);
        for word in words {
            assert!(
                self.complained.contains(word) || self.printed.contains(word),
                "'{word}' is not in: {}{}",
                self.printed,
                self.complained
            );
        }
        self.printed
    }
}

/// Runs it with these arguments.
pub async fn trust_sheet(arguments: &[String]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_dataembassy-sidecar"))
        .env_clear()
        .args(["store", "trust-sheet", "--allow-loopback"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ended = Ended {
        succeeded: output.status.success(),
        printed: text(output.stdout),
        complained: text(output.stderr),
    };
    for secret in ["secret-of-", "PRIVATE KEY", "root-secret"] {
        let said = format!("{}{}", ended.printed, ended.complained);
        assert!(!said.contains(secret), "a secret was told");
    }
    ended
}

/// Prints a sheet from a custodian's folder.
pub async fn print(folder: &Path) -> Ended {
    trust_sheet(&[config_dir(folder)]).await
}

/// Holds a sheet against the store that a custodian's folder names.
pub async fn verify(sheet: &Path, key: PublicKey, folder: &Path) -> Ended {
    let arguments = [
        format!("--verify={}", sheet.display()),
        format!("--custodian-key={key}"),
        config_dir(folder),
    ];
    trust_sheet(&arguments).await
}

pub fn config_dir(folder: &Path) -> String {
    format!("--config-dir={}", folder.display())
}
