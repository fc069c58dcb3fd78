//! Every value that anybody may have kept secret in a cluster, those too that were replaced or went with their namespace: what leaked before
//! that is a leak all the same. They are read off a watch, which tells of each in turn, into a file that root alone may read.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};

use super::site::Site;

/// Keys of Secrets whose values nobody may read elsewhere.
const SECRET_KEYS: [&str; 7] = [
    "password",
    "secretAccessKey",
    "identity.txt",
    "ssh-privatekey",
    "tls.key",
    "ca.key",
    "token",
];
/// A shorter value would be found by chance.
const SHORTEST: usize = 12;

/// Values, each with where it stood.
pub type Values = BTreeMap<String, String>;

/// Keeps the values of a cluster's Secrets until it is stopped. One that cannot be written is told: the bed needs its other parts all the same.
pub async fn keep(site: Site, client: Client) -> Result<()> {
    let mut kept = Kept::open(&place(site))?;
    let events = watcher(Api::<Secret>::all(client), watcher::Config::default());
    let mut secrets = events.default_backoff().applied_objects().boxed();
    while let Some(secret) = secrets.next().await {
        // An interrupted watch begins anew by itself.
        let Ok(secret) = secret else { continue };
        if let Err(error) = kept.add(of(site, &secret)) {
            // It goes into the component's log, if that can be written.
            let _ = writeln!(io::stderr(), "a Secret is not kept: {error:#}");
        }
    }
    Ok(())
}

/// Everything that was ever kept of a cluster.
pub fn read(site: Site) -> Result<Values> {
    read_from(&place(site))
}

/// What a Secret of a cluster holds that nobody may read elsewhere.
#[must_use]
pub fn of(site: Site, secret: &Secret) -> Values {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let data = secret.data.iter().flatten();
    data.filter(|(key, _)| SECRET_KEYS.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((essence(&value.0)?, format!("{key} of {site}/{namespace}/{name}"))))
        .collect()
}

/// The part of a secret that nothing else has: of a private key a line in its middle, of an identity its line, of a password all.
#[must_use]
pub fn essence(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let essence = if text.starts_with("-----BEGIN ") {
        // The first line is the same in all keys of a kind, the last ones are a comment or the public half.
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let is_openssh = text.contains("OPENSSH");
        *lines.get(if is_openssh { 3 } else { 1 })?
    } else if let Some(line) = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")) {
        line
    } else {
        text
    };
    (essence.len() >= SHORTEST).then(|| essence.to_owned())
}

fn place(site: Site) -> PathBuf {
    site.folder().join("kept-secrets")
}

/// A file of values, and what is in it.
struct Kept {
    file: File,
    known: Values,
}

impl Kept {
    /// Goes on with a file, or begins one.
    fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        // A line that was being written when its writer was killed would spoil the next one.
        let written = fs::read(path)?;
        let whole = written
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        file.set_len(u64::try_from(whole)?)?;
        Ok(Self {
            known: read_from(path)?,
            file,
        })
    }

    /// Writes what is not in it yet.
    fn add(&mut self, values: Values) -> Result<()> {
        for (value, what) in values {
            if self.known.contains_key(&value) {
                continue;
            }
            let line = serde_json::to_string(&(&value, &what))? + "\n";
            self.file.write_all(line.as_bytes())?;
            self.known.insert(value, what);
        }
        Ok(())
    }
}

/// The values in a file; none where there is no file. A last line that is not whole is being written.
fn read_from(path: &Path) -> Result<Values> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str::<(String, String)>(line).context("this is no kept value"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn the_essence_of_a_secret_is_what_nothing_else_has() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nfirst\nsecond\nthird\nthe line with the seed\nlast\n-----END OPENSSH PRIVATE KEY-----\n";
        assert_eq!(essence(key.as_bytes()).as_deref(), Some("the line with the seed"));
        let identity = "# created: today\n# public key: age1public\nAGE-SECRET-KEY-1CANARY\n";
        assert_eq!(
            essence(identity.as_bytes()).as_deref(),
            Some("AGE-SECRET-KEY-1CANARY")
        );
        assert_eq!(
            essence(b"0123456789abcdef\n").as_deref(),
            Some("0123456789abcdef")
        );
        assert_eq!(essence(b"short"), None);
    }

    #[test]
    fn a_value_that_was_replaced_is_kept_and_what_is_public_never_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept-secrets");
        let mut secret = Secret::default();
        secret.metadata.name = Some("dump".to_owned());
        secret.metadata.namespace = Some("interior".to_owned());
        for password in ["the first password", "the second password", "the first password"] {
            let data = [("username", "a name that is public"), ("password", password)];
            let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
            secret.data = Some(data.into());
            // Whoever keeps them was started anew in between.
            let mut kept = Kept::open(&path).unwrap();
            kept.add(of(Site::Home, &secret)).unwrap();
        }
        let what = "password of home/interior/dump".to_owned();
        let both = ["the first password", "the second password"];
        assert_eq!(
            read_from(&path).unwrap(),
            Values::from(both.map(|value| (value.to_owned(), what.clone())))
        );
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_from(&folder.path().join("none")).unwrap(), Values::new());
    }
}
