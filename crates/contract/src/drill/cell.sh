# The throw-away server of one drill, run by /bin/sh -ceu in the database's container, with the size of its volume in MiB as its argument. It is
# given no secret, has no network, and begins once.
# shellcheck shell=sh
sockets=${CELL_SOCKET_DIR:-/cell/socket}
place=${CELL_DATA_DIR:-/cell-data}
data=$place/data
volume=${1:-8192}

ends() {
    echo "cell: $*" >&2
    exit 1
}

# A container that was started anew has lost the database of the drill: whoever is restoring must not find an empty one instead.
[ ! -e "$data" ] || ends "the database of this drill has ended before its time; it is not begun again"

if command -v initdb >/dev/null 2>&1 && command -v postgres >/dev/null 2>&1; then
    programs=$(command -v postgres)
    programs=${programs%/*}
else
    programs='' newest=0
    for found in /usr/lib/postgresql/*/bin; do
        major=${found%/bin}
        major=${major##*/}
        case $major in *[!0-9]*) continue ;; esac
        if [ "$major" -gt "$newest" ] && [ -x "$found/initdb" ] && [ -x "$found/postgres" ]; then
            programs=$found newest=$major
        fi
    done
fi
[ -n "$programs" ] || ends "the image has no initdb and postgres, neither on PATH nor in /usr/lib/postgresql/<major>/bin"

# initdb wants a name for who runs it. Nobody has one in nearly every image; where not, some images bring nss_wrapper.
if ! id -un >/dev/null 2>&1; then
    for wrapper in /usr/lib/libnss_wrapper.so /usr/lib/*/libnss_wrapper.so /usr/lib64/libnss_wrapper.so; do
        [ -e "$wrapper" ] || continue
        echo "postgres:x:$(id -u):$(id -g)::$place:/bin/sh" >"$place/passwd"
        echo "postgres:x:$(id -g):" >"$place/group"
        export LD_PRELOAD="$wrapper" NSS_WRAPPER_PASSWD="$place/passwd" NSS_WRAPPER_GROUP="$place/group"
        break
    done
    id -un >/dev/null 2>&1 || ends "the image knows no user $(id -u), and initdb refuses to run without a name: take an image whose /etc/passwd has it"
fi

# Nothing but these two places is writable. The other container of the pod reaches the socket by its group.
export HOME="$place" TMPDIR="$place" LC_ALL=C TZ=UTC
ulimit -c 0 || true
(umask 007 && mkdir -p "$sockets")
umask 077

# Whoever reaches the socket is let in: it is in a folder that only the drill enters, which closes the superuser's way itself before anything
# of the copy is restored.
"$programs/initdb" --pgdata="$data" --username=postgres --auth-local=trust --auth-host=reject \
    --encoding=UTF8 --locale=C --no-sync --no-instructions >/dev/null

# An eighth of the volume is for the write-ahead log, 64 MiB to 4 GiB: a small volume is not full of it, and a large one makes no checkpoint
# after each gigabyte.
wal=$((volume / 8))
[ "$wal" -ge 64 ] || wal=64
[ "$wal" -le 4096 ] || wal=4096

# Durable as a server that people rely on: its time is measured. It ends with the first crash, and writes no row of the registry into its log.
"$programs/postgres" -D "$data" \
    -c listen_addresses='' -c port=5432 -c unix_socket_directories="$sockets" -c ssl=off \
    -c fsync=on -c full_page_writes=on -c max_wal_size="${wal}MB" -c min_wal_size=64MB -c wal_keep_size=0 -c max_wal_senders=0 -c wal_level=replica \
    -c shared_buffers=128MB -c dynamic_shared_memory_type=mmap -c huge_pages=off -c max_connections=100 -c jit=off \
    -c archive_mode=off -c restart_after_crash=off -c logging_collector=off -c log_destination=stderr -c log_min_messages=fatal \
    -c log_min_error_statement=panic -c log_error_verbosity=terse -c log_statement=none -c lc_messages=C &
server=$!
# Who waits for sessions to end waits for what the copy may have begun.
trap 'kill -QUIT "$server" 2>/dev/null || true' TERM INT
status=0
wait "$server" || status=$?
# A wait that a signal ended has not seen the server's end.
wait "$server" 2>/dev/null || status=$?
exit "$status"
