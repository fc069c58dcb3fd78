# The server of an activated registry, run by /bin/sh -ceu in the database's container. It holds the only copy of what is written abroad.
# shellcheck shell=sh
place=${DATABASE_DATA_DIR:-/database}
run=${DATABASE_RUN_DIR:-/run/database}
secret=${DATABASE_SECRET_DIR:-/etc/database}
port=${DATABASE_PORT:-5432}
address=${DATABASE_ADDRESS:-*}
look=${DATABASE_LOOK_SECONDS:-60}
patience=${DATABASE_PATIENCE_SECONDS:-30}
data=$place/data

ends() {
    echo "database: $*" >&2
    exit 1
}

for file in username password tls.crt tls.key; do
    [ -s "$secret/$file" ] || ends "the Secret lacks the key $file: add it, and the server starts by itself"
done

# Files are made by one major version and read by that one alone: where there are files, theirs is taken, else the newest.
wanted=''
[ ! -s "$data/PG_VERSION" ] || wanted=$(cat "$data/PG_VERSION")
if command -v initdb >/dev/null 2>&1 && command -v postgres >/dev/null 2>&1; then
    programs=$(command -v postgres)
    programs=${programs%/*}
else
    programs='' newest=0
    for found in /usr/lib/postgresql/*/bin; do
        major=${found%/bin}
        major=${major##*/}
        case $major in *[!0-9]*) continue ;; esac
        [ -x "$found/initdb" ] && [ -x "$found/postgres" ] || continue
        if [ "$major" = "$wanted" ]; then
            programs=$found newest=$major
            break
        fi
        if [ "$major" -gt "$newest" ]; then
            programs=$found newest=$major
        fi
    done
fi
[ -n "$programs" ] || ends "the image has no initdb and postgres, neither on PATH nor in /usr/lib/postgresql/<major>/bin"
version=$("$programs/postgres" --version)
version=${version#*") "}
version=${version%%[!0-9]*}
[ -z "$wanted" ] || [ "$wanted" = "$version" ] ||
    ends "the volume holds files of PostgreSQL $wanted and the image has $version: name an image of $wanted again"

# initdb wants a name for who runs it. Nobody has one in nearly every image; where not, some images bring nss_wrapper.
if ! id -un >/dev/null 2>&1; then
    for wrapper in /usr/lib/libnss_wrapper.so /usr/lib/*/libnss_wrapper.so /usr/lib64/libnss_wrapper.so; do
        [ -e "$wrapper" ] || continue
        echo "postgres:x:$(id -u):$(id -g)::$run:/bin/sh" >"$run/passwd"
        echo "postgres:x:$(id -g):" >"$run/group"
        export LD_PRELOAD="$wrapper" NSS_WRAPPER_PASSWD="$run/passwd" NSS_WRAPPER_GROUP="$run/group"
        break
    done
    id -un >/dev/null 2>&1 || ends "the image knows no user $(id -u), and initdb refuses to run without a name: take an image whose /etc/passwd has it"
fi

export HOME="$run" TMPDIR="$run" LC_ALL=C TZ=UTC
ulimit -c 0 || true
umask 077
# What a container before this one left: whoever asks whether the server is up must not hear of the last one.
rm -f "$run"/.s.PGSQL.* "$run/pg_isready"
[ ! -x "$programs/pg_isready" ] || ln -s "$programs/pg_isready" "$run/pg_isready"

# One server for one volume. The server's own lock names a process by its number, which means nothing in another container: one that was killed
# would keep the next one from starting wherever that number is somebody's. This one is the kernel's, and ends with its container.
exec 9>"$place/lock"
if command -v flock >/dev/null 2>&1; then
    tries=0
    while held=0 && { flock -n 9 || held=$?; } && [ "$held" -eq 1 ]; do
        # One that was killed a moment ago is not gone yet.
        tries=$((tries + 1))
        [ "$tries" -le "$patience" ] || ends "another container is at work on this volume: wait until it has ended"
        sleep 1
    done
fi
rm -f "$data/postmaster.pid"

# A folder that was not finished is not one: whatever ended in the middle begins anew, and what is called data is whole. The registry's own
# database is not made here but by whoever restores it, who knows the source's encoding and locale.
if [ ! -e "$data" ]; then
    rm -rf "$place/unfinished"
    "$programs/initdb" --pgdata="$place/unfinished" --username="$(cat "$secret/username")" --pwfile="$secret/password" \
        --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --data-checksums --no-instructions >/dev/null
    mv "$place/unfinished" "$data"
    sync
fi
# Whoever hands out volumes may have given the group more than the server lets anybody have.
chmod 0700 "$data"

# Whoever comes over the network comes over TLS and knows a password. Whoever runs a program in this container is the superuser already. When the
# registry goes home, nobody else may come in: what is written after the last copy would be lost.
whoever=all
[ -z "${DATABASE_SHUT:-}" ] || whoever="\"$(cat "$secret/username")\""
cat >"$run/pg_hba.conf" <<END
local   all all     peer map=container
hostssl all $whoever all scram-sha-256
END
echo "container $(id -un) $(cat "$secret/username")" >"$run/pg_ident.conf"

# The server wants a key that is its own and nobody else's. Under a name of its own until it is whole.
take_certificate() {
    for file in tls.crt tls.key; do
        cat "$secret/$file" >"$run/$file.new"
        chmod 0600 "$run/$file.new"
    done
    mv "$run/tls.key.new" "$run/tls.key"
    mv "$run/tls.crt.new" "$run/tls.crt"
}
take_certificate

# What keeps strangers out stands here, where no statement can change it; the rest is the server's own configuration. No row of the registry
# gets into the log.
"$programs/postgres" -D "$data" \
    -c listen_addresses="$address" -c port="$port" -c unix_socket_directories="$run" -c hba_file="$run/pg_hba.conf" \
    -c ident_file="$run/pg_ident.conf" -c ssl=on -c ssl_cert_file="$run/tls.crt" -c ssl_key_file="$run/tls.key" \
    -c password_encryption=scram-sha-256 -c fsync=on -c full_page_writes=on -c wal_level=replica \
    -c shared_buffers="${DATABASE_SHARED_BUFFERS:-128MB}" -c max_connections="${DATABASE_MAX_CONNECTIONS:-200}" \
    -c max_wal_size="${DATABASE_MAX_WAL_SIZE:-1GB}" -c min_wal_size=64MB -c huge_pages=off \
    -c logging_collector=off -c log_destination=stderr -c log_min_messages=log -c log_min_error_statement=panic \
    -c log_error_verbosity=terse -c log_statement=none -c lc_messages=C &
server=$!
# Sessions are ended, and everything is written down: the next start needs no recovery.
trap 'kill -INT "$server" 2>/dev/null || true' TERM INT

# A renewed certificate is taken without a restart. Only once the server has read the first one: a signal that comes before ends it.
(
    trap - TERM INT
    while sleep "$look"; do
        [ "$(cat "$secret/tls.crt" "$secret/tls.key")" != "$(cat "$run/tls.crt" "$run/tls.key")" ] || continue
        [ -S "$run/.s.PGSQL.$port" ] || continue
        take_certificate
        kill -HUP "$server" 2>/dev/null || exit 0
        echo "database: took a renewed certificate"
    done
) &
watch=$!

status=0
wait "$server" || status=$?
# A wait that a signal ended has not seen the server's end.
wait "$server" 2>/dev/null || status=$?
kill "$watch" 2>/dev/null || true
exit "$status"
