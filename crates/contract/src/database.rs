//! What the container of a managed database runs: the server of an activated registry.

/// The script that the database container of an activated registry runs, as `/bin/sh -ceu <script>`: POSIX, in any image that has `initdb` and
/// `postgres` on `PATH` or in `/usr/lib/postgresql/<major>/bin`, and for [`USER`] a name.
///
/// It needs [`DATA_DIR`], which is kept; [`RUN_DIR`], which comes and goes with the pod; and [`SECRET_DIR`] with the keys `username`,
/// `password`, `tls.crt` and `tls.key`. The first start makes a server with nothing in it: one that was killed while it made it begins anew.
/// Sessions from outside come over TLS and with a password (SCRAM), there is no other way in. A renewed certificate is taken within a minute.
///
/// `DATABASE_SHARED_BUFFERS`, `DATABASE_MAX_WAL_SIZE` and `DATABASE_MAX_CONNECTIONS` size the server, `DATABASE_SHUT` shuts applications out; the other variables that the script reads
/// are for tests.
pub const SCRIPT: &str = include_str!("database.sh");

/// The script by which the kubelet finds out whether the server takes sessions, as `/bin/sh -ceu <script>`.
pub const READY_SCRIPT: &str = include_str!("database_ready.sh");

/// The user and group that the container runs as, `nobody`: `initdb` refuses a user without a name, and this one has one in the images of all
/// common distributions.
pub const USER: i64 = 65_534;

/// The port that the server listens at.
pub const PORT: u16 = 5432;

/// The volume with the registry in it: the folder `data`.
pub const DATA_DIR: &str = "/database";
/// Socket, certificate and configuration of the running server: an emptyDir.
pub const RUN_DIR: &str = "/run/database";
/// The Secrets.
pub const SECRET_DIR: &str = "/etc/database";
/// Set to anything, the server takes no sessions over the network but the superuser's: applications were shut out.
pub const SHUT_VARIABLE: &str = "DATABASE_SHUT";
/// How large the server's own cache is, as PostgreSQL writes sizes.
pub const SHARED_BUFFERS_VARIABLE: &str = "DATABASE_SHARED_BUFFERS";
/// How large its write-ahead log may grow between two checkpoints, as PostgreSQL writes sizes.
pub const MAX_WAL_SIZE_VARIABLE: &str = "DATABASE_MAX_WAL_SIZE";
