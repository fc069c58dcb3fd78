BEGIN;
LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
DO $$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['health_owner', 'health_doctor', 'health_research', 'Dr. O''Brien'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I', wanted);
        END IF;
    END LOOP;
END
$$;
ALTER ROLE health_doctor NOLOGIN;
ALTER ROLE health_research NOLOGIN NOINHERIT;
ALTER ROLE "Dr. O'Brien" LOGIN CONNECTION LIMIT 3;
GRANT health_doctor TO "Dr. O'Brien";
ALTER ROLE "Dr. O'Brien" SET work_mem = '8MB';
ALTER ROLE "Dr. O'Brien" SET search_path = health, "$user", public;
ALTER ROLE health_research SET "IntervalStyle" = 'iso_8601';
COMMENT ON ROLE health_research IS 'sees nobody''s name';
COMMIT;
