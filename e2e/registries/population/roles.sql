-- Roles are the server's, not the database's: made once, whoever comes first. The lock keeps two databases
-- that are made at the same time from stepping on each other.
BEGIN;
LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
DO $$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['population_owner', 'Population Clerk', 'population_auditor', 'population_app'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I', wanted);
        END IF;
    END LOOP;
END
$$;
ALTER ROLE population_owner NOLOGIN CREATEROLE;
ALTER ROLE "Population Clerk" NOLOGIN;
ALTER ROLE population_auditor LOGIN CONNECTION LIMIT 5 VALID UNTIL '2099-12-31 00:00:00+00';
ALTER ROLE population_app LOGIN NOINHERIT;
GRANT "Population Clerk" TO population_app WITH ADMIN OPTION;
ALTER ROLE population_auditor SET default_transaction_read_only = on;
ALTER ROLE population_app SET "TimeZone" = 'Europe/Tallinn';
ALTER ROLE population_app SET bytea_output = 'escape';
ALTER ROLE population_app SET "registry.greeting" = 'Tere, it''s "öö"';
COMMENT ON ROLE "Population Clerk" IS 'sees the residents of the own county only';
COMMIT;
