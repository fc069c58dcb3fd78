//! The way that `pg_restore` takes into the target: a Unix socket in a directory of ours. Behind it we connect and
//! authenticate, so that no password, key or certificate reaches another program, and there is one TLS stack.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use crate::postgresql::{Connection, ConnectionError, Source};

/// What a startup packet may weigh, as the server itself bounds it.
const STARTUP_LIMIT: u32 = 10_000;
const PROTOCOL_3: u32 = 3 << 16;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// A socket's path must fit the kernel's field.
const LONGEST_PATH: usize = 107;
/// The number in the socket's name; there is no TCP port.
pub const PORT: u16 = 5432;

/// Why there is no way in.
#[derive(Debug, thiserror::Error)]
pub enum DoorwayError {
    /// The directory's path is too long.
    #[error("the directory {0} is too long a path for a socket; set --scratch to a shorter one")]
    PathTooLong(PathBuf),
    /// The socket cannot be made.
    #[error("a socket cannot be made in {directory}: {error}")]
    NoSocket {
        /// Where.
        directory: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// An open doorway. Sessions end when it is dropped.
pub struct Doorway {
    directory: PathBuf,
    serving: tokio::task::JoinHandle<()>,
}

impl Doorway {
    /// Opens a doorway to `target` in a directory that only we may enter.
    pub fn open(directory: &Path, target: Source) -> Result<Self, DoorwayError> {
        let path = directory.join(format!(".s.PGSQL.{PORT}"));
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(DoorwayError::PathTooLong(directory.to_owned()));
        }
        let listener = UnixListener::bind(&path).map_err(|error| DoorwayError::NoSocket {
            directory: directory.to_owned(),
            error,
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            serving: tokio::spawn(serve(listener, target)),
        })
    }

    /// The directory that the socket is in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Doorway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: UnixListener, target: Source) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((visitor, _)) = accepted else { return };
                let target = target.clone();
                sessions.spawn(async move {
                    if let Err(error) = pass(visitor, &target).await {
                        tracing::debug!(%error, "a session of pg_restore ended");
                    }
                });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

async fn pass(mut visitor: UnixStream, target: &Source) -> io::Result<()> {
    if !is_ourselves(&visitor)? || !wants_session(&mut visitor).await? {
        return Ok(());
    }
    let connection = match Connection::open(target).await {
        Ok(connection) => connection,
        Err(error) => return refuse(&mut visitor, &error).await,
    };
    visitor.write_all(&welcome(&connection)).await?;
    let mut server = connection.into_stream();
    copy_bidirectional(&mut visitor, &mut server).await?;
    Ok(())
}

/// The directory keeps others out; this holds even if somebody opens it.
fn is_ourselves(visitor: &UnixStream) -> io::Result<bool> {
    Ok(visitor.peer_cred()?.uid() == rustix::process::geteuid().as_raw())
}

/// Reads startup packets until one asks for a session; encryption is not offered on a socket of our own.
async fn wants_session(visitor: &mut UnixStream) -> io::Result<bool> {
    loop {
        let length = visitor.read_u32().await?;
        if !(8..=STARTUP_LIMIT).contains(&length) {
            return Ok(false);
        }
        let mut packet = vec![0; length as usize - 4];
        visitor.read_exact(&mut packet).await?;
        match packet.as_slice().get_u32() {
            PROTOCOL_3 => return Ok(true),
            SSL_REQUEST | GSS_REQUEST => visitor.write_all(b"N").await?,
            // A cancel request: what is to be cancelled ends with its program.
            _ => return Ok(false),
        }
    }
}

fn message(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(body);
}

/// Authentication accepted, the server's parameters, a key that cancels nothing, ready.
fn welcome(connection: &Connection) -> BytesMut {
    let mut out = BytesMut::new();
    message(&mut out, b'R', &[0; 4]);
    for (name, value) in connection.parameters() {
        message(&mut out, b'S', format!("{name}\0{value}\0").as_bytes());
    }
    message(&mut out, b'K', &[0; 8]);
    message(&mut out, b'Z', b"I");
    out
}

async fn refuse(visitor: &mut UnixStream, error: &ConnectionError) -> io::Result<()> {
    let mut out = BytesMut::new();
    let text = error.to_string().replace('\0', " ");
    message(
        &mut out,
        b'E',
        format!("SFATAL\0VFATAL\0C08006\0M{text}\0\0").as_bytes(),
    );
    visitor.write_all(&out).await
}
