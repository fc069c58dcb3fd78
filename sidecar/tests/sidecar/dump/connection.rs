//! The connection to a real server: who may come in, and what streams.

use std::{sync::Arc, time::Duration};

use crate::bench::pauses::briefly;
use crate::support::{MAJORS, network, source_as};
use dataembassy_sidecar::postgresql::{
    Connection, ConnectionError,
    session::{self, SessionError, TextSettings},
    source::{AddressGuard, ClientCertificate, Credentials, Source, TlsMode},
};
use dataembassy_testkit::{
    authority::{Authority, ServerCertificate},
    postgresql::{DUMP_ROLE, Relay, Server},
};

/// The server's own database, reached as a role.
fn source(server: &Server, user: &str) -> Source {
    source_as(server, "postgres", user)
}

fn client(certificate: ServerCertificate) -> ClientCertificate {
    ClientCertificate {
        chain: certificate.certificate.into_bytes(),
        key: certificate.key.into_bytes(),
    }
}

#[tokio::test]
async fn a_role_comes_in_with_scram_and_reads_rows() {
    for major in MAJORS {
        let server = Server::shared(major);
        let mut connection = Connection::open(&source(server, DUMP_ROLE)).await.unwrap();
        assert_eq!(session::major_version(&connection), Some(major));
        let rows = connection
            .query("SELECT n, NULL, n || '!' FROM generate_series(1, 3) n")
            .await
            .unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2].value::<u32>(0).unwrap(), 3);
        assert_eq!(rows[2].optional(1).unwrap(), None);
        assert_eq!(rows[2].text(2).unwrap(), "3!");

        let error = connection.query("SELECT 1/0").await.unwrap_err();
        assert!(error.is("22012"), "{error}");
        assert_eq!(
            connection.query("SELECT 'alive'").await.unwrap()[0]
                .text(0)
                .unwrap(),
            "alive"
        );
        connection.close().await;
    }
}

#[tokio::test]
async fn cleartext_md5_and_trust_are_refused() {
    let server = Server::shared(17);
    let refused = async |user| {
        Connection::open(&source(server, user))
            .await
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(
        refused("by_cleartext").await,
        ConnectionError::CleartextRefused
    ));
    assert!(matches!(refused("by_md5").await, ConnectionError::Md5Refused));
    assert!(matches!(
        refused("by_trust").await,
        ConnectionError::AuthenticationMissing
    ));
}

/// A source at a relay before the server. It shows the server's own certificate, or another of the same authority.
async fn relayed(
    server: &Server,
    same_certificate: bool,
    change: impl Fn(u8, Vec<u8>) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> (Source, Relay) {
    let other = server.authority().sign(&["localhost"]).unwrap();
    let certificate = if same_certificate {
        server.certificate()
    } else {
        &other
    };
    let relay = Relay::start(server, certificate, change).await.unwrap();
    let mut source = source(server, DUMP_ROLE);
    network(&mut source).port = relay.port();
    (source, relay)
}

#[tokio::test]
async fn a_certificate_that_has_ended_or_not_begun_is_refused_and_that_is_said() {
    let server = Server::shared(17);
    for (from, until, said) in [(2001, 2002, "expired"), (2100, 2101, "not valid yet")] {
        let certificate = server
            .authority()
            .sign_between(&["localhost"], from, until)
            .unwrap();
        let relay = Relay::start(server, &certificate, |_, body| Some(body))
            .await
            .unwrap();
        let mut through = source(server, DUMP_ROLE);
        network(&mut through).port = relay.port();
        let error = Connection::open(&through).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, ConnectionError::TlsFailed { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn the_password_is_bound_to_the_servers_own_certificate() {
    for major in MAJORS {
        let server = Server::shared(major);
        // With the server's key a relay is the server, as far as TLS can tell.
        let (through, _relay) = relayed(server, true, |_, body| Some(body)).await;
        Connection::open(&through).await.unwrap();

        // One with another certificate is as good for TLS, and only the binding tells.
        let (through, _relay) = relayed(server, false, |_, body| Some(body)).await;
        let error = Connection::open(&through).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, ConnectionError::AuthenticationFailed(said) if said.message.contains("channel binding")),
            "{error}"
        );

        // Nor does it help to hide from us that the server can bind.
        let strip = |tag, body: Vec<u8>| match (tag, body.as_slice()) {
            (b'R', [0, 0, 0, 10, ..]) => Some(b"\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec()),
            _ => Some(body),
        };
        let (through, _relay) = relayed(server, true, strip).await;
        let error = Connection::open(&through).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, ConnectionError::AuthenticationFailed(said) if said.message.contains("channel binding")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_pooler_is_found_out_by_the_process_that_answers() {
    let server = Server::shared(17);
    // A pooler announces a process of its own and hands statements to whichever of the server's is free.
    let announce = |tag, body: Vec<u8>| match tag {
        b'K' => Some([&7_i32.to_be_bytes(), &body[4..]].concat()),
        _ => Some(body),
    };
    let (through, _relay) = relayed(server, true, announce).await;
    let mut connection = Connection::open(&through).await.unwrap();
    let error = session::identify(&mut connection).await.unwrap_err();
    assert!(matches!(error, SessionError::Pooler { told: 7, .. }), "{error}");
    assert_eq!(error.reason().as_str(), "SourceNotOneServer");
    assert!(error.is_permanent());
}

#[tokio::test]
async fn a_client_certificate_is_enough() {
    let server = Server::shared(15);
    let mut source = source(server, "by_certificate");
    let ours = server.authority().sign_client("by_certificate").unwrap();
    network(&mut source).credentials = Credentials {
        password: None,
        client_certificate: Some(client(ours)),
    };
    let mut connection = Connection::open(&source).await.unwrap();
    assert_eq!(
        connection.query("SELECT current_user").await.unwrap()[0]
            .text(0)
            .unwrap(),
        "by_certificate"
    );

    let stranger = Authority::new("somebody else")
        .unwrap()
        .sign_client("by_certificate")
        .unwrap();
    network(&mut source).credentials.client_certificate = Some(client(stranger));
    assert!(Connection::open(&source).await.is_err());
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_database_are_told_apart() {
    let server = Server::shared(17);
    let mut source = source(server, DUMP_ROLE);
    source.database = "nowhere".into();
    assert!(matches!(
        Connection::open(&source).await.map(|_| ()),
        Err(ConnectionError::DatabaseMissing(_))
    ));
    network(&mut source).credentials.password = Some("wrong".into());
    assert!(matches!(
        Connection::open(&source).await.map(|_| ()),
        Err(ConnectionError::AuthenticationFailed(_))
    ));
    network(&mut source).credentials.password = None;
    assert!(matches!(
        Connection::open(&source).await.map(|_| ()),
        Err(ConnectionError::PasswordMissing)
    ));
}

#[tokio::test]
async fn a_server_must_lead_to_the_authority_and_have_the_hosts_name() {
    let server = Server::shared(17);
    let mut named = source(server, DUMP_ROLE);
    network(&mut named).host = "127.0.0.2".into();
    assert!(matches!(
        Connection::open(&named).await.map(|_| ()),
        Err(ConnectionError::Unreachable { .. })
    ));

    let mut stranger = source(server, DUMP_ROLE);
    network(&mut stranger).tls.authorities = Authority::new("somebody else")
        .unwrap()
        .certificate()
        .into_bytes();
    assert!(matches!(
        Connection::open(&stranger).await.map(|_| ()),
        Err(ConnectionError::TlsFailed { .. })
    ));
    network(&mut stranger).tls.mode = TlsMode::VerifyCa;
    assert!(matches!(
        Connection::open(&stranger).await.map(|_| ()),
        Err(ConnectionError::TlsFailed { .. })
    ));

    // `::1` and `ip6-localhost` are not in the certificate; the resolver knows the latter.
    let mut renamed = source(server, DUMP_ROLE);
    network(&mut renamed).host = "localhost.localdomain".into();
    if let Err(ConnectionError::TlsFailed { error, .. }) = Connection::open(&renamed).await.map(|_| ()) {
        assert!(error.to_string().contains("not valid for name"), "{error}");
        network(&mut renamed).tls.mode = TlsMode::VerifyCa;
        Connection::open(&renamed).await.unwrap();
    }
}

#[tokio::test]
async fn the_guard_judges_the_address_that_is_connected_to() {
    let server = Server::shared(17);
    let mut source = source(server, DUMP_ROLE);
    network(&mut source).address_guard =
        AddressGuard::new(|address| Err(format!("{address} is a loopback address")));
    let error = Connection::open(&source).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, ConnectionError::AddressRefused { .. }), "{error}");
}

#[tokio::test]
async fn copy_streams_in_both_directions() {
    let server = Server::shared(17);
    let database = server.database().await.unwrap();
    database
        .execute("CREATE TABLE t (a int, b text); GRANT ALL ON t TO dump")
        .await
        .unwrap();
    let mut source = source(server, DUMP_ROLE);
    source.database = database.name.clone();
    let mut connection = Connection::open(&source).await.unwrap();

    let mut text = Vec::new();
    for row in 0..20_000 {
        text.extend_from_slice(format!("{row}\t{}\n", "x".repeat(row % 300)).as_bytes());
    }
    let mut copy = connection.copy_in("COPY t FROM stdin").await.unwrap();
    for piece in text.chunks(70_001) {
        copy.send(piece).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), 20_000);

    let mut copy = connection
        .copy_out("COPY (SELECT * FROM t ORDER BY a) TO stdout")
        .await
        .unwrap();
    let mut back = Vec::new();
    while let Some(slice) = copy.next().await.unwrap() {
        back.extend_from_slice(slice);
    }
    assert_eq!(copy.rows().unwrap(), 20_000);
    assert!(back == text, "what came back differs");

    let mut copy = connection.copy_in("COPY t FROM stdin").await.unwrap();
    copy.send(b"1\tone\n").await.unwrap();
    copy.abort("changed our mind").await.unwrap();
    let mut copy = connection.copy_in("COPY t FROM stdin").await.unwrap();
    copy.send(b"not a number\tx\n").await.unwrap();
    assert!(copy.finish().await.unwrap_err().is("22P02"));
    assert_eq!(
        connection.query("SELECT count(*) FROM t").await.unwrap()[0]
            .value::<u32>(0)
            .unwrap(),
        20_000
    );
}

#[tokio::test]
async fn a_conversation_dropped_half_way_is_not_mistaken_for_the_next_one() {
    let server = Server::shared(17);
    let mut connection = Connection::open(&source(server, DUMP_ROLE)).await.unwrap();
    let mut copy = connection
        .copy_out("COPY (SELECT generate_series(1, 100000)) TO stdout")
        .await
        .unwrap();
    copy.next().await.unwrap();
    assert!(matches!(
        connection.query("SELECT 1").await,
        Err(ConnectionError::Abandoned)
    ));
}

#[tokio::test]
async fn a_statement_is_cancelled_over_tls() {
    let server = Server::shared(17);
    let source = Arc::new(source(server, DUMP_ROLE));
    let mut connection = Connection::open(&source).await.unwrap();
    let key = connection.cancel_key();
    let process = connection.process_id();
    let sleeping = tokio::spawn(async move { connection.query("SELECT pg_sleep(600)").await.map(|_| ()) });
    let admin = server.client("postgres").await.unwrap();
    let asleep =
        format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {process} AND wait_event = 'PgSleep'");
    tokio::time::timeout(Duration::from_secs(20), async {
        while admin.query_one(&asleep, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            briefly().await;
        }
    })
    .await
    .unwrap();
    key.cancel(&source).await.unwrap();
    assert!(sleeping.await.unwrap().unwrap_err().is("57014"));
}

#[tokio::test]
async fn settings_of_role_and_database_do_not_reach_a_settled_session() {
    for major in MAJORS {
        let server = Server::shared(major);
        let database = server.database().await.unwrap();
        let name = &database.name;
        database
            .execute(&format!(
                "ALTER ROLE {DUMP_ROLE} IN DATABASE {name} SET timezone = 'Asia/Tokyo';
                 ALTER ROLE {DUMP_ROLE} IN DATABASE {name} SET bytea_output = 'escape';
                 ALTER ROLE {DUMP_ROLE} IN DATABASE {name} SET search_path = 'somewhere';
                 ALTER DATABASE {name} SET datestyle = 'German';
                 ALTER DATABASE {name} SET intervalstyle = 'iso_8601';
                 ALTER DATABASE {name} SET extra_float_digits = -15;
                 ALTER DATABASE {name} SET xmlbinary = 'hex'"
            ))
            .await
            .unwrap();
        let mut source = source(server, DUMP_ROLE);
        source.database = name.clone();
        let mut connection = Connection::open(&source).await.unwrap();
        let text = TextSettings {
            client_encoding: "UTF8".into(),
            lc_monetary: "C".into(),
        };
        session::settle(&mut connection, &text).await.unwrap();
        let rows = connection
            .query(
                "SELECT '2026-11-23 12:00:00+00'::timestamptz, '\\x00ff'::bytea, interval '1 day 2:03', 0.1::float8, \
                 current_setting('search_path'), xmlforest('\\x00ff'::bytea AS x)",
            )
            .await
            .unwrap();
        let found: Vec<_> = (0..6).map(|column| rows[0].text(column).unwrap()).collect();
        assert_eq!(
            found,
            [
                "2026-11-23 12:00:00+00",
                "\\x00ff",
                "1 day 02:03:00",
                "0.1",
                "",
                "<x>AP8=</x>"
            ]
        );
    }
}
