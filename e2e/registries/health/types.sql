CREATE SCHEMA extensions;
CREATE EXTENSION btree_gist SCHEMA extensions;
CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION registry_codes;
DO $$
BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO health_owner', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO health_doctor, health_research', current_database());
    EXECUTE format('ALTER DATABASE %I SET "IntervalStyle" = %L', current_database(), 'sql_standard');
    EXECUTE format('ALTER DATABASE %I SET extra_float_digits = 0', current_database());
    EXECUTE format('ALTER DATABASE %I SET xmlbinary = %L', current_database(), 'hex');
    EXECUTE format('ALTER ROLE "Dr. O''Brien" IN DATABASE %I SET row_security = on', current_database());
    EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'who was ill, of what, and what was done');
END
$$;
GRANT USAGE ON SCHEMA extensions, codes TO PUBLIC;

SET ROLE health_owner;
CREATE SCHEMA health;
GRANT USAGE ON SCHEMA health TO health_doctor, health_research;
ALTER DEFAULT PRIVILEGES IN SCHEMA health GRANT SELECT, INSERT, UPDATE ON TABLES TO health_doctor;
ALTER DEFAULT PRIVILEGES FOR ROLE health_owner GRANT EXECUTE ON FUNCTIONS TO health_research;

CREATE COLLATION health.estonian (provider = icu, locale = 'et-EE');
CREATE COLLATION health.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
COMMENT ON COLLATION health.any_case IS 'Müller = MÜLLER';

CREATE TYPE health.urgency AS ENUM ('planned', 'urgent', 'emergency', 'väga kiire');
CREATE TYPE health.dose AS (amount numeric(10, 3), unit text, every interval);
CREATE TYPE health.pressure AS RANGE (subtype = smallint);
CREATE DOMAIN health.icd10 AS text COLLATE "C" CHECK (VALUE ~ '^[A-Z][0-9]{2}(\.[0-9]{1,2})?$');
CREATE DOMAIN health.diagnoses AS health.icd10[] CHECK (array_position(VALUE, NULL) IS NULL);
CREATE DOMAIN health.schedule AS health.dose[];

CREATE FUNCTION health.ward_is_sound(code text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = ''
    AS $$
BEGIN
    RETURN code IS NULL OR code ~ '^[A-ZÕÄÖÜ]{2}[0-9]{2}$';
END
$$;
CREATE FUNCTION health.body_mass_index(kg numeric, metres numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN round(kg / (metres * metres), 1);
CREATE FUNCTION health.is_pulse(observation jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $body$
BEGIN
    RETURN observation @? '$.code ? (@ == "8867-4")';
END
$body$;
CREATE OPERATOR health.~~> (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = health.body_mass_index);
RESET ROLE;
