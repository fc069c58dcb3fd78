//! One statement that somebody else wrote, and nothing behind it.
//!
//! It goes by the extended protocol, where the server refuses a text that holds several statements: a `; COMMIT; …` cannot leave the
//! transaction that it is run in.

use postgres_protocol::{IsNull, message::frontend};

use super::{Connection, ConnectionError, Row};

/// The first rows of a statement.
#[derive(Clone, Debug)]
pub struct FirstRows {
    /// At most as many as were asked for.
    pub rows: Vec<Row>,
    /// Whether the server has more of them.
    pub has_more: bool,
}

impl Connection {
    /// Runs exactly one statement without parameters and gives its first rows as text: at most `most`, 1 or more, each at most `limit` bytes.
    /// The rest is not computed where the server does not have to.
    pub async fn single(
        &mut self,
        statement: &str,
        most: u16,
        limit: usize,
    ) -> Result<FirstRows, ConnectionError> {
        self.send_single(statement, most).await?;
        let mut first = FirstRows {
            rows: Vec::new(),
            has_more: false,
        };
        loop {
            let frame = self.frames.next().await?;
            match frame.tag {
                b'D' => first.rows.push(Row::parse(self.frames.body(limit).await?)?),
                b's' => first.has_more = true,
                // Parsed, bound, described, done: nothing that a text row needs.
                b'1' | b'2' | b'T' | b'n' | b'C' | b'I' => {}
                b'Z' => {
                    self.ready().await?;
                    return Ok(first);
                }
                _ => self.asynchronous(frame).await?,
            }
        }
    }

    async fn send_single(&mut self, statement: &str, most: u16) -> Result<(), ConnectionError> {
        self.begin()?;
        let unsendable = |error: &dyn std::fmt::Display| {
            ConnectionError::Protocol(format!("the statement cannot be sent: {error}"))
        };
        let out = &mut self.out;
        let written = frontend::parse("", statement, [], out)
            .and_then(|()| {
                let none: [(); 0] = [];
                frontend::bind("", "", [], none, |(), _| Ok(IsNull::Yes), [0], out)
                    .map_err(|_| std::io::ErrorKind::InvalidInput.into())
            })
            .and_then(|()| frontend::describe(b'P', "", out))
            .and_then(|()| frontend::execute("", i32::from(most), out));
        if let Err(error) = written {
            self.out.clear();
            self.busy = false;
            return Err(unsendable(&error));
        }
        frontend::sync(&mut self.out);
        self.flush().await
    }
}
