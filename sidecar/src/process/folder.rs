//! The folder of configuration and secrets, looked at again and again: the newest that can be used is in effect, whatever comes after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dataembassy_contract::report::{MissingSecret, SecretRole};
use dataembassy_contract::{Reason, files};
use tokio::sync::watch;

/// Between two looks. A volume that is swapped atomically cannot be watched by its files, and some small files cost nothing to read.
const PERIOD: Duration = Duration::from_secs(2);

/// Why the folder's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The configuration is not there or not readable.
    #[error("{} cannot be read: it is not there, or not readable", files::CONFIG_FILE)]
    NoConfiguration,
    /// Secrets or keys in them are not there.
    #[error("secrets are missing: {}", list(.0))]
    SecretsMissing(Vec<MissingSecret>),
    /// A secret is not text.
    #[error("the {name} cannot be used: it is not UTF-8 text")]
    NotText {
        /// The file's name in the folder.
        name: &'static str,
    },
}

impl FolderError {
    /// The reason for conditions, events and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoConfiguration => Reason::ConfigurationInvalid,
            // A key that is missing from a Secret that is there is another fault than a missing Secret.
            Self::SecretsMissing(missing) if missing.iter().any(|one| lacks_all(one.secret, missing)) => {
                Reason::SecretMissing
            }
            Self::SecretsMissing(_) => Reason::SecretKeyMissing,
            Self::NotText { .. } => Reason::SecretInvalid,
        }
    }

    /// The secrets that are missing, where that is what is wrong.
    #[must_use]
    pub fn missing(&self) -> &[MissingSecret] {
        match self {
            Self::SecretsMissing(missing) => missing,
            _ => &[],
        }
    }
}

/// Whether every key of a Secret is missing: seen from here, the Secret is.
fn lacks_all(secret: SecretRole, missing: &[MissingSecret]) -> bool {
    let keys = missing.iter().filter(|one| one.secret == secret).count();
    keys >= secret.keys()
}

fn list(missing: &[MissingSecret]) -> String {
    let each = missing
        .iter()
        .map(|one| format!("key {} of the {:?} Secret", one.key, one.secret));
    each.collect::<Vec<_>>().join(", ")
}

/// The folder's files as they are; two equal ones need no second look.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<&'static str, Vec<u8>>);

impl Files {
    /// Reads those of `names` that there are. A projected volume swaps all its files at once, so each is read through one look at
    /// `..data` where there is one.
    #[must_use]
    pub fn read(folder: &Path, names: &[&'static str]) -> Self {
        let folder = folder
            .join("..data")
            .canonicalize()
            .unwrap_or_else(|_| folder.to_owned());
        let read = |name: &&'static str| Some((*name, std::fs::read(folder.join(name)).ok()?));
        Self(names.iter().filter_map(read).collect())
    }

    /// The configuration document.
    pub fn document(&self) -> Result<&[u8], FolderError> {
        let document = self.0.get(files::CONFIG_FILE);
        document.map(Vec::as_slice).ok_or(FolderError::NoConfiguration)
    }

    /// A file's text without the line feed that editors add; `None` where it is missing or empty.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, FolderError> {
        let Some(bytes) = self.0.get(name) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes).map_err(|_| FolderError::NotText { name })?;
        let text = text.trim_end_matches(['\r', '\n']);
        Ok((!text.is_empty()).then_some(text))
    }

    /// Begins to take what is needed, so that all that is missing can be told at once.
    #[must_use]
    pub fn needs(&self) -> Needs<'_> {
        Needs {
            files: self,
            missing: Vec::new(),
        }
    }
}

/// Takes what is needed, and notes what is missing.
pub struct Needs<'a> {
    files: &'a Files,
    missing: Vec<MissingSecret>,
}

impl<'a> Needs<'a> {
    /// A file's text; empty where it is missing, which [`Needs::met`] tells.
    pub fn take(&mut self, name: &'static str, secret: SecretRole) -> Result<&'a str, FolderError> {
        let text = self.files.text(name)?;
        if text.is_none() {
            let key = name.rsplit('/').next().unwrap_or(name).to_owned();
            self.missing.push(MissingSecret { secret, key });
        }
        Ok(text.unwrap_or_default())
    }

    /// Fails with all that was missing. What was taken is good for nothing before this was asked.
    pub fn met(self) -> Result<(), FolderError> {
        if self.missing.is_empty() {
            Ok(())
        } else {
            Err(FolderError::SecretsMissing(self.missing))
        }
    }
}

/// Looks at the folder until nobody listens any more. Each change is judged once; what `judge` returns is in effect from then on, and
/// what it cannot use it reports.
pub async fn watch<C>(
    folder: PathBuf,
    names: &'static [&'static str],
    effective: watch::Sender<Option<Arc<C>>>,
    mut judge: impl FnMut(&Files) -> Option<C>,
) {
    let mut seen: Option<Files> = None;
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = effective.closed() => return,
        }
        let folder = folder.clone();
        let Ok(files) = tokio::task::spawn_blocking(move || Files::read(&folder, names)).await else {
            continue;
        };
        if seen.as_ref() == Some(&files) {
            continue;
        }
        if let Some(configuration) = judge(&files) {
            effective.send_replace(Some(Arc::new(configuration)));
        }
        seen = Some(files);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NAMES: &[&str] = &[
        files::CONFIG_FILE,
        files::GATE_CERTIFICATE,
        files::GATE_CERTIFICATE_KEY,
    ];

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Puts a generation beside the one before and swaps the link, as a kubelet does.
    fn swap(folder: &Path, generation: &str, text: &str) {
        write(&folder.join(generation), files::CONFIG_FILE, text);
        let link = folder.join("..data_tmp");
        symlink(generation, &link).unwrap();
        std::fs::rename(link, folder.join("..data")).unwrap();
    }

    #[test]
    fn a_missing_secret_is_told_from_a_missing_key() {
        let folder = tempfile::tempdir().unwrap();
        let judged = || {
            let files = Files::read(folder.path(), NAMES);
            let mut needs = files.needs();
            needs.take(files::GATE_CERTIFICATE, SecretRole::GateTls).unwrap();
            needs
                .take(files::GATE_CERTIFICATE_KEY, SecretRole::GateTls)
                .unwrap();
            needs.met()
        };
        assert_eq!(judged().unwrap_err().reason(), Reason::SecretMissing);
        write(folder.path(), files::GATE_CERTIFICATE, "certificate\n");
        let error = judged().unwrap_err();
        assert_eq!(error.reason(), Reason::SecretKeyMissing);
        assert_eq!(error.missing().len(), 1);
        assert!(error.to_string().contains("tls.key"), "{error}");
        write(folder.path(), files::GATE_CERTIFICATE_KEY, "\n");
        assert_eq!(judged().unwrap_err().reason(), Reason::SecretKeyMissing);
        write(folder.path(), files::GATE_CERTIFICATE_KEY, "key\n");
        judged().unwrap();
    }

    #[tokio::test]
    async fn what_was_in_effect_stays_until_there_is_something_that_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let (effective, mut seen) = watch::channel(None);
        let (judging, mut judged) = tokio::sync::mpsc::unbounded_channel();
        let path = folder.path().to_owned();
        let watching = tokio::spawn(super::watch(path, NAMES, effective, move |files| {
            let number = files
                .document()
                .ok()
                .and_then(|document| std::str::from_utf8(document).ok()?.parse::<u32>().ok());
            judging.send(number).unwrap();
            number
        }));
        assert_eq!(judged.recv().await, Some(None));
        swap(folder.path(), "..first", "1");
        seen.changed().await.unwrap();
        assert_eq!(seen.borrow_and_update().as_deref(), Some(&1));
        assert_eq!(judged.recv().await, Some(Some(1)));
        swap(folder.path(), "..second", "nonsense");
        assert_eq!(judged.recv().await, Some(None));
        assert_eq!(seen.borrow().as_deref(), Some(&1));
        swap(folder.path(), "..third", "3");
        seen.changed().await.unwrap();
        assert_eq!(seen.borrow_and_update().as_deref(), Some(&3));
        drop(seen);
        watching.await.unwrap();
        assert_eq!(judged.recv().await, Some(Some(3)));
        assert_eq!(judged.recv().await, None, "what did not change was judged again");
    }
}
