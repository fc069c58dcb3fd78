BEGIN;
LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
DO $$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['business_owner', 'business_notary', 'business_public'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I', wanted);
        END IF;
    END LOOP;
END
$$;
ALTER ROLE business_notary LOGIN;
ALTER ROLE business_public LOGIN CONNECTION LIMIT 100;
GRANT pg_read_all_settings TO business_notary;
ALTER ROLE business_notary SET statement_timeout = '5min';
ALTER ROLE business_notary SET "DateStyle" = 'SQL, DMY';
COMMENT ON ROLE business_public IS 'what everybody may see';
COMMIT;
