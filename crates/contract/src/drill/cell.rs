//! What the database container of a drill runs.

/// The script that the database container of a drill runs, as `/bin/sh -ceu <script> cell <size of its data volume in MiB>`: POSIX, in any image that has `initdb` and `postgres`
/// on `PATH` or in `/usr/lib/postgresql/<major>/bin`. The newest there is taken.
///
/// It needs two writable folders, [`files::CELL_DIR`](crate::files::CELL_DIR) and [`files::CELL_DATA_DIR`](crate::files::CELL_DATA_DIR), and
/// a user that the image has a name for, which [`CELL_USER`] is nearly everywhere. The server listens on a socket in
/// [`files::CELL_SOCKET_DIR`](crate::files::CELL_SOCKET_DIR) and nowhere else. It is begun once: a container that is started again ends at
/// once. The variables `CELL_SOCKET_DIR` and `CELL_DATA_DIR` name other folders, for tests.
pub const CELL_SCRIPT: &str = include_str!("cell.sh");

/// The user that the database container runs as, `nobody`: `initdb` refuses a user without a name, and this one has one in the images of all
/// common distributions. Its group must be that of the drill's container, whose own user is another one.
pub const CELL_USER: i64 = 65_534;
