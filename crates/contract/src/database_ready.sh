# Whether the server of an activated registry takes sessions, run by /bin/sh -ceu in the database's container.
# shellcheck shell=sh
place=${DATABASE_DATA_DIR:-/database}
run=${DATABASE_RUN_DIR:-/run/database}
secret=${DATABASE_SECRET_DIR:-/etc/database}
port=${DATABASE_PORT:-5432}
[ -S "$run/.s.PGSQL.$port" ]
if [ -x "$run/pg_isready" ]; then
    # As somebody whom the server knows, or it would write into its log whom it refused.
    exec "$run/pg_isready" --quiet --host="$run" --port="$port" --username="$(cat "$secret/username")" --dbname=postgres --timeout=2
fi
# The server's own word, in the eighth line of the file that it writes: it comes after any recovery.
number=0
while read -r line; do
    number=$((number + 1))
    [ "$number" -lt 8 ] || break
done <"$place/data/postmaster.pid"
case $line in ready*) ;; *) exit 1 ;; esac
