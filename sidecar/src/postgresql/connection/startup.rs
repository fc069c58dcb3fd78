//! The start of a session: who we are, and the proof. Only SCRAM-SHA-256 or a client certificate, but for a cell.

use bytes::Buf;
use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    message::frontend,
};

use super::{Connection, ConnectionError, ServerError, tls};
use crate::postgresql::source::{Source, Way};

const CONTROL_LIMIT: usize = 64 * 1024;

impl Connection {
    /// Sends the startup message and answers the server until it is ready for queries.
    pub(super) async fn start(&mut self, source: &Source) -> Result<(), ConnectionError> {
        let parameters = [
            ("user", source.user.as_str()),
            ("database", source.database.as_str()),
            ("application_name", "dataembassy"),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(parameters, &mut self.out).map_err(|error| unsendable(&error))?;
        self.flush().await?;

        let mut proof = Proof::Missing;
        loop {
            let frame = self.frames.next().await?;
            let body = self.frames.body(CONTROL_LIMIT).await?;
            match frame.tag {
                b'R' => proof = self.authenticate(source, body, proof).await?,
                b'S' => self.note_parameter(&body),
                b'K' if body.len() == 8 => {
                    let mut body = body;
                    self.process_id = body.get_i32();
                    self.secret_key = body.get_i32();
                }
                b'N' => {}
                b'E' => return Err(ConnectionError::at_startup(ServerError::from_body(&body))),
                b'Z' if matches!(proof, Proof::Accepted) => {
                    self.note_ready(&body);
                    return Ok(());
                }
                tag => {
                    return Err(ConnectionError::Protocol(format!(
                        "message {:?} during startup",
                        char::from(tag)
                    )));
                }
            }
        }
    }

    async fn authenticate(
        &mut self,
        source: &Source,
        mut body: bytes::Bytes,
        proof: Proof,
    ) -> Result<Proof, ConnectionError> {
        if body.len() < 4 {
            return Err(ConnectionError::Protocol(
                "an authentication request without a type".into(),
            ));
        }
        match (body.get_i32(), proof) {
            (0, Proof::ServerProved) => Ok(Proof::Accepted),
            (0, Proof::Missing) if may_skip_proof(&source.way) => Ok(Proof::Accepted),
            (0, Proof::Missing) => Err(ConnectionError::AuthenticationMissing),
            (3, _) => Err(ConnectionError::CleartextRefused),
            (5, _) => Err(ConnectionError::Md5Refused),
            (10, Proof::Missing) => self.begin_scram(source, &body).await,
            (11, Proof::Scram(mut scram)) => {
                scram.update(&body).map_err(ConnectionError::ServerNotAuthentic)?;
                frontend::sasl_response(scram.message(), &mut self.out)
                    .map_err(|error| unsendable(&error))?;
                self.flush().await?;
                Ok(Proof::Scram(scram))
            }
            (12, Proof::Scram(mut scram)) => {
                scram.finish(&body).map_err(ConnectionError::ServerNotAuthentic)?;
                Ok(Proof::ServerProved)
            }
            (0 | 10..=12, _) => Err(ConnectionError::Protocol(
                "authentication messages out of order".into(),
            )),
            (kind, _) => Err(ConnectionError::AuthenticationUnsupported(kind)),
        }
    }

    async fn begin_scram(&mut self, source: &Source, offered: &[u8]) -> Result<Proof, ConnectionError> {
        let password = source
            .way
            .credentials()
            .and_then(|credentials| credentials.password.as_ref())
            .ok_or(ConnectionError::PasswordMissing)?;
        let offers = |name: &str| {
            offered
                .split(|byte| *byte == 0)
                .any(|offer| offer == name.as_bytes())
        };
        let end_point = self.frames.stream.server_certificate().and_then(tls::end_point);
        let (mechanism, binding) = match end_point {
            Some(end_point) if offers(SCRAM_SHA_256_PLUS) => (
                SCRAM_SHA_256_PLUS,
                ChannelBinding::tls_server_end_point(end_point),
            ),
            // "We could have bound, you did not offer": a man in the middle who strips the offer is found out.
            Some(_) if offers(SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None if offers(SCRAM_SHA_256) => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            _ => return Err(ConnectionError::AuthenticationUnsupported(10)),
        };
        let scram = ScramSha256::new(password.as_bytes(), binding);
        frontend::sasl_initial_response(mechanism, scram.message(), &mut self.out)
            .map_err(|error| unsendable(&error))?;
        self.flush().await?;
        Ok(Proof::Scram(scram))
    }
}

/// A server that asked for our certificate in the handshake and then says Ok has checked it; in a cell nobody proves anything.
fn may_skip_proof(way: &Way) -> bool {
    match way {
        Way::Network(network) => network.credentials.client_certificate.is_some(),
        Way::Cell(_) => true,
    }
}

/// How far both sides have proved themselves.
enum Proof {
    Missing,
    Scram(ScramSha256),
    ServerProved,
    Accepted,
}

fn unsendable(error: &std::io::Error) -> ConnectionError {
    ConnectionError::Protocol(format!("the startup message cannot be written: {error}"))
}
