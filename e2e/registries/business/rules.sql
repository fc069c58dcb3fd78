SET ROLE business_owner;
CREATE SEQUENCE business.filing_number START WITH 5000000000 INCREMENT BY -1 MINVALUE 0 MAXVALUE 5000000000;
ALTER TABLE business.filings ALTER COLUMN number SET DEFAULT nextval('business.filing_number');
COMMENT ON SEQUENCE business.filing_number IS 'counts down';

-- A new text of a filing takes the old large object with it.
CREATE TRIGGER unlink_content BEFORE UPDATE OR DELETE ON business.filings_older
    FOR EACH ROW EXECUTE FUNCTION extensions.lo_manage('content');

CREATE FUNCTION business."kõik ühingud"(wanted business.form) RETURNS SETOF business.companies
    LANGUAGE sql STABLE SET search_path = business
    AS $$ SELECT * FROM companies WHERE form = wanted ORDER BY code $$;
COMMENT ON FUNCTION business."kõik ühingud"(business.form) IS 'ühe vormi järgi';
CREATE VIEW business."Tütarettevõtted" AS
    SELECT c.code, c."Ärinimi", p."Ärinimi" AS "emaettevõte" FROM business.companies c JOIN business.companies p ON p.code = c.parent;
CREATE VIEW business.largest AS SELECT code, "Ärinimi", capital FROM business.companies WHERE capital > 1000000::money;
CREATE MATERIALIZED VIEW business.turnover AS
    SELECT f.company, f.year, sum(f.turnover) AS turnover FROM business.filings f GROUP BY f.company, f.year;
CREATE INDEX turnover_of ON business.turnover (company, year) WITH (fillfactor = 100);
CREATE INDEX "ÄRINIMI" ON business.companies (lower("Ärinimi"));
GRANT SELECT ON business."Tütarettevõtted" TO business_public;
GRANT INSERT, UPDATE (turnover, figures) ON business.filings TO business_notary;
GRANT SELECT, UPDATE ON SEQUENCE business.filing_number TO business_notary;
RESET ROLE;
