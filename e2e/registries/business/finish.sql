SELECT setval('business.filing_number', 4999000000);
SELECT setval('business.officers_id_seq', coalesce(max(id), -1000)) FROM business.officers;
ALTER TABLE business.officers ADD COLUMN "pädevus" text NOT NULL DEFAULT 'üldine';
REFRESH MATERIALIZED VIEW business.turnover;
CREATE FUNCTION business.no_drops() RETURNS event_trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_event_trigger_dropped_objects() WHERE object_identity = 'business.companies') THEN
        RAISE EXCEPTION 'companies are not dropped';
    END IF;
END
$$;
CREATE EVENT TRIGGER "ärge kustutage" ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION business.no_drops();
ANALYZE;
