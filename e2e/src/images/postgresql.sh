#!/bin/sh
# Starts PostgreSQL for a test: the first time it makes the cluster, with SCRAM as the only way in over TLS and
# a role for dumps beside the superuser.
#
#   /run/postgresql-secrets/superuser/password
#   /run/postgresql-secrets/dump/{username,password}
#   /run/postgresql-secrets/tls/{tls.crt,tls.key}
#   /etc/postgresql-bed/pg_hba.conf            who may connect, and how
#   /var/lib/postgresql                        a volume
#
# Arguments are the server's.
set -eu
secrets=/run/postgresql-secrets
data=/var/lib/postgresql/data
programs=/usr/lib/postgresql/$POSTGRESQL_MAJOR/bin

if [ ! -d "$data" ]; then
    # What an earlier attempt left behind is not a cluster.
    rm -rf "$data.partial"
    "$programs/initdb" --pgdata="$data.partial" --username=postgres --pwfile="$secrets/superuser/password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
    # The role of section 6 of the design. The password never is an argument.
    printf "CREATE ROLE %s LOGIN BYPASSRLS PASSWORD '%s';\nGRANT pg_read_all_data TO %s;\n" \
        "$(cat "$secrets/dump/username")" "$(cat "$secrets/dump/password")" "$(cat "$secrets/dump/username")" |
        "$programs/postgres" --single -D "$data.partial" -c log_min_messages=warning postgres >/dev/null
    mv "$data.partial" "$data"
fi

# A volume that is mounted again is given to its group anew, and then the server would refuse it.
chmod 0700 "$data"

# Data of a test need not survive the machine, only the server's own restart.
exec "$programs/postgres" -D "$data" \
    -c listen_addresses='*' -c ssl=on \
    -c ssl_cert_file="$secrets/tls/tls.crt" -c ssl_key_file="$secrets/tls/tls.key" \
    -c hba_file=/etc/postgresql-bed/pg_hba.conf -c unix_socket_directories=/run/postgresql \
    -c password_encryption=scram-sha-256 -c fsync=off -c full_page_writes=off -c shared_buffers=64MB \
    -c max_wal_size=2GB \
    "$@"
