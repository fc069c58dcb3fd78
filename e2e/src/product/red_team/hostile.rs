//! A registry that tries to make whoever restores it run code: it is dumped as it is, and passes the gate as any copy does, since a gate reads none.

use serde_json::{Value, json};

/// Made in the registry's database by a superuser. Each way is tried once the copy is in a drill's throw-away database, while a view, an index
/// or a constraint is made there; at home they do nothing. Names and comments hold what `psql` would take for commands of its own.
pub const CONTENT: &str = r#"
CREATE TABLE public.marker (said text);
INSERT INTO public.marker VALUES ('untouched');
CREATE FUNCTION public.tries(statement text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    IF current_database() NOT LIKE 'dataembassy%' THEN RETURN 'at home'; END IF;
    EXECUTE statement;
    RETURN 'taken';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
CREATE MATERIALIZED VIEW public.tried AS SELECT way, public.tries(statement) AS said FROM (VALUES
    ('reads from a program', 'COPY public.marker FROM PROGRAM ''echo taken'''),
    ('writes to a program', 'COPY public.marker TO PROGRAM ''touch /tmp/taken'''),
    ('writes a file', 'COPY public.marker TO ''/tmp/taken'''),
    ('reads a file', 'SELECT pg_read_file(''/etc/passwd'')'),
    ('becomes superuser', 'SET ROLE postgres'),
    ('makes a superuser', 'CREATE ROLE mighty SUPERUSER LOGIN'),
    ('changes the server', 'ALTER SYSTEM SET shared_preload_libraries = ''taken'''),
    ('loads code', 'LOAD ''/tmp/taken.so''')
) AS ways (way, statement);
CREATE FUNCTION public.quietly(said text) RETURNS text IMMUTABLE LANGUAGE sql
    AS $$ SELECT public.tries('COPY public.marker FROM PROGRAM ''echo taken''') $$;
CREATE INDEX by_program ON public.marker (public.quietly(said));
ALTER TABLE public.marker ADD CONSTRAINT by_program CHECK (public.quietly(said) IS NOT NULL);
CREATE TABLE public."x
\! touch /tmp/taken
\copy public.marker from program 'echo taken'
COPY public.marker FROM PROGRAM 'echo taken';
" (a int);
COMMENT ON TABLE public.marker IS
    E'harmless\n\\! touch /tmp/taken\n\\connect postgres\nCOPY public.marker FROM PROGRAM ''echo taken'';\n';
"#;

/// What a drill asks of the restored copy, as the assertions of a `RegistryDrill`: it passes only where every way was tried and each was refused by
/// the server, and the marker never appeared.
#[must_use]
pub fn questions() -> Value {
    // Not allowed; a parameter that is nobody's to set; not within a transaction.
    let got_through = "SELECT count(*) FROM public.tried WHERE said NOT IN ('42501', '22023', '25001')";
    let masters = "SELECT count(*) FROM pg_roles WHERE rolname = 'mighty' OR rolsuper AND rolcanlogin";
    json!([
        {"name": "all-were-tried", "sql": "SELECT count(*) FROM public.tried", "equals": "8"},
        {"name": "none-got-through", "sql": got_through, "equals": "0"},
        {"name": "no-marker", "sql": "SELECT string_agg(said, ' ') FROM public.marker", "equals": "untouched"},
        {"name": "no-masters", "sql": masters, "equals": "0"},
    ])
}
