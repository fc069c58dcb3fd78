//! COPY in both directions, streamed.

use bytes::{BufMut, BytesMut};
use futures::FutureExt;
use tokio::io::AsyncWriteExt;

use super::{CONTROL_LIMIT, Connection, ConnectionError, Rows, affected_rows};

/// Bodies below this are gathered, so that small rows do not become TLS records of their own.
const GATHERED: usize = 16 * 1024;

/// The data of a `COPY … TO stdout`, in slices as they arrive.
pub struct CopyOut<'a> {
    connection: &'a mut Connection,
    rows: Option<u64>,
    done: bool,
}

impl<'a> CopyOut<'a> {
    pub(super) fn new(connection: &'a mut Connection) -> Self {
        Self {
            connection,
            rows: None,
            done: false,
        }
    }

    /// The next slice, never empty; none once the server has completed the command and is ready again.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, ConnectionError> {
        let length = self.arrived().await?;
        Ok((length > 0).then(|| self.connection.frames.take(length)))
    }

    /// Appends what comes next to `into`, which then has at most `limit` bytes and had fewer: how many bytes; none once the server has completed
    /// the command and is ready again.
    pub async fn append(&mut self, into: &mut BytesMut, limit: usize) -> Result<usize, ConnectionError> {
        if self.arrived().await? == 0 {
            return Ok(0);
        }
        Ok(self.connection.frames.gather(b'd', into, limit))
    }

    /// How much of a slice has arrived: nothing once the server has completed the command and is ready again.
    async fn arrived(&mut self) -> Result<usize, ConnectionError> {
        loop {
            if self.done {
                return Ok(0);
            }
            let length = self.connection.frames.available().await?;
            if length > 0 {
                return Ok(length);
            }
            let frame = self.connection.frames.next().await?;
            match frame.tag {
                b'd' | b'c' => {}
                b'C' => self.rows = affected_rows(&self.connection.frames.body(CONTROL_LIMIT).await?),
                b'Z' => {
                    self.connection.ready().await?;
                    self.done = true;
                }
                _ => self.connection.asynchronous(frame).await?,
            }
        }
    }

    /// How many rows the server says it has sent: known once [`next`](Self::next) has ended.
    pub fn rows(&self) -> Result<u64, ConnectionError> {
        match (self.done, self.rows) {
            (true, Some(rows)) => Ok(rows),
            _ => Err(ConnectionError::Protocol(
                "the COPY ended without saying how many rows it sent".into(),
            )),
        }
    }
}

/// The way in for a `COPY … FROM stdin`. Dropped without [`finish`](Self::finish), it loads nothing and leaves the
/// connection unusable.
pub struct CopyIn<'a> {
    connection: &'a mut Connection,
}

impl<'a> CopyIn<'a> {
    pub(super) fn new(connection: &'a mut Connection) -> Self {
        Self { connection }
    }

    /// Sends data; it need not end where a row ends. An error that the server has already sent is returned at once.
    pub async fn send(&mut self, data: &[u8]) -> Result<(), ConnectionError> {
        self.refused().await?;
        let length = u32::try_from(data.len() + 4)
            .ok()
            .filter(|length| i32::try_from(*length).is_ok())
            .ok_or_else(|| ConnectionError::Protocol("more than 2 GiB in one piece cannot be sent".into()))?;
        let connection = &mut *self.connection;
        connection.out.put_u8(b'd');
        connection.out.put_u32(length);
        if data.len() < GATHERED {
            connection.out.put_slice(data);
            if connection.out.len() >= GATHERED {
                connection.flush().await?;
            }
            return Ok(());
        }
        let stream = &mut connection.frames.stream;
        stream
            .write_all(&connection.out)
            .await
            .map_err(ConnectionError::Lost)?;
        connection.out.clear();
        stream.write_all(data).await.map_err(ConnectionError::Lost)
    }

    /// Ends the data and waits for the server's verdict: the rows it has loaded.
    pub async fn finish(self) -> Result<u64, ConnectionError> {
        let connection = self.connection;
        postgres_protocol::message::frontend::copy_done(&mut connection.out);
        connection.flush().await?;
        let mut rows = None;
        loop {
            let frame = connection.frames.next().await?;
            match frame.tag {
                b'C' => rows = affected_rows(&connection.frames.body(CONTROL_LIMIT).await?),
                b'Z' => {
                    connection.ready().await?;
                    return rows.ok_or_else(|| {
                        ConnectionError::Protocol(
                            "the COPY ended without saying how many rows it loaded".into(),
                        )
                    });
                }
                _ => connection.asynchronous(frame).await?,
            }
        }
    }

    /// Gives up: the server discards what it has got, and the connection can be used again.
    pub async fn abort(self, reason: &str) -> Result<(), ConnectionError> {
        let connection = self.connection;
        postgres_protocol::message::frontend::copy_fail(reason, &mut connection.out)
            .map_err(|error| ConnectionError::Protocol(error.to_string()))?;
        connection.flush().await?;
        match Rows::new(connection, CONTROL_LIMIT).next().await {
            // query_canceled is how the server confirms.
            Err(error) if error.is("57014") => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(ConnectionError::Protocol("an aborted COPY was completed".into())),
        }
    }

    /// Looks, without waiting, whether the server has refused what it got so far.
    async fn refused(&mut self) -> Result<(), ConnectionError> {
        if self.connection.frames.buffered() == 0 {
            match self.connection.frames.fill().now_or_never() {
                None => return Ok(()),
                Some(filled) => filled?,
            }
        }
        let frame = self.connection.frames.next().await?;
        self.connection.asynchronous(frame).await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_number_of_rows_is_the_last_word_of_the_command_tag() {
        assert_eq!(affected_rows(&Bytes::from_static(b"COPY 17\0")), Some(17));
        assert_eq!(affected_rows(&Bytes::from_static(b"INSERT 0 3\0")), Some(3));
        assert_eq!(affected_rows(&Bytes::from_static(b"BEGIN\0")), None);
    }
}
