-- Two configuration tables, one carried whole and one by condition: of `entry`, the standard rows come
-- back with CREATE EXTENSION and only the registry's own are data.
\echo Use "CREATE EXTENSION registry_codes" to load this file. \quit

CREATE TABLE list (
    name    text PRIMARY KEY,
    purpose text NOT NULL
);

CREATE TABLE entry (
    list     text NOT NULL,
    code     text NOT NULL,
    meaning  text NOT NULL,
    standard boolean NOT NULL DEFAULT false,
    PRIMARY KEY (list, code)
);

CREATE SEQUENCE revision;

INSERT INTO entry VALUES
    ('sex', '0', 'not known', true),
    ('sex', '1', 'male', true),
    ('sex', '2', 'female', true),
    ('sex', '9', 'not applicable', true);

CREATE FUNCTION meaning(of_list text, of_code text) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    AS $$ SELECT e.meaning FROM @extschema@.entry e WHERE e.list = of_list AND e.code = of_code $$;

SELECT pg_catalog.pg_extension_config_dump('list', '');
SELECT pg_catalog.pg_extension_config_dump('entry', 'WHERE NOT standard');
SELECT pg_catalog.pg_extension_config_dump('revision', '');
