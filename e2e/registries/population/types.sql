-- Types, domains and the functions that tables check with.
CREATE SCHEMA extensions;
CREATE EXTENSION btree_gist SCHEMA extensions;
CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION registry_codes;

DO $$
BEGIN
    EXECUTE format('GRANT CREATE, CONNECT ON DATABASE %I TO population_owner', current_database());
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO "Population Clerk", population_auditor', current_database());
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('ALTER DATABASE %I SET "TimeZone" = %L', current_database(), 'Europe/Tallinn');
    EXECUTE format('ALTER DATABASE %I SET "DateStyle" = %L', current_database(), 'German, DMY');
    EXECUTE format('ALTER DATABASE %I SET "registry.name" = %L', current_database(), 'Rahvastikuregister');
    EXECUTE format('ALTER ROLE population_app IN DATABASE %I SET search_path = population, "DATA", extensions', current_database());
    EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), E'the state''s persons\nand where they live');
END
$$;
GRANT USAGE ON SCHEMA extensions, codes TO PUBLIC;
GRANT SELECT ON codes.entry TO PUBLIC;

SET ROLE population_owner;
CREATE SCHEMA population;
CREATE SCHEMA "DATA";
CREATE SCHEMA "Ajalugu – vanad";

COMMENT ON SCHEMA "Ajalugu – vanad" IS 'what was there before the register; \. is no end of data here';
GRANT USAGE ON SCHEMA population TO "Population Clerk", population_auditor;
GRANT USAGE, CREATE ON SCHEMA "DATA" TO population_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA population GRANT SELECT ON TABLES TO population_auditor;
ALTER DEFAULT PRIVILEGES IN SCHEMA population GRANT USAGE ON SEQUENCES TO "Population Clerk" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO population_auditor;

-- Values added later are out of order in the catalog: their oids do not follow their places.
CREATE TYPE population.county AS ENUM
    ('Harju', 'Hiiu', 'Jõgeva', 'Järva', 'Lääne', 'Põlva', 'Pärnu', 'Rapla', 'Saare', 'Tartu', 'Valga', 'Viljandi', 'Võru');
ALTER TYPE population.county ADD VALUE 'Ida-Viru' AFTER 'Hiiu';
ALTER TYPE population.county ADD VALUE 'Lääne-Viru' BEFORE 'Põlva';
CREATE TYPE population."Document Kind" AS ENUM ('passport', 'identity card', 'residence permit', 'driving licence');

CREATE TYPE population.address AS (street text, "House No" text, flat integer, postcode varchar(10));
CREATE TYPE population.contact AS (email text, phones text[], postal population.address);
CREATE TYPE population.height AS RANGE (subtype = numeric, multirange_type_name = population.heights);

CREATE FUNCTION population.weighed_digits(code text, weights integer[]) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
DECLARE
    total integer := 0;
BEGIN
    FOR place IN 1..10 LOOP
        total := total + weights[place] * (ascii(substr(code, place, 1)) - 48);
    END LOOP;
    RETURN total % 11;
END
$$;

-- Calls a function of its own schema: it works under an empty search_path only because the call is qualified.
CREATE FUNCTION population.personal_code_is_sound(code text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
DECLARE
    rest integer := population.weighed_digits(code, '{1,2,3,4,5,6,7,8,9,1}');
BEGIN
    IF rest = 10 THEN
        rest := population.weighed_digits(code, '{3,4,5,6,7,8,9,1,2,3}') % 10;
    END IF;
    RETURN rest = ascii(substr(code, 11, 1)) - 48;
END
$$;

CREATE DOMAIN population.personal_code AS varchar(11)
    CONSTRAINT eleven_digits CHECK (VALUE ~ '^[1-8][0-9]{10}$')
    CONSTRAINT check_digit CHECK (population.personal_code_is_sound(VALUE));
COMMENT ON DOMAIN population.personal_code IS 'isikukood: sex and century, date of birth, serial, check digit';
CREATE DOMAIN population.share AS numeric(7, 4) DEFAULT 1 CHECK (VALUE > 0 AND VALUE <= 1);

-- The parser keeps this body as a tree, and pg_dump prints it anew.
CREATE FUNCTION population.age_on(born date, at date) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CAST(EXTRACT(year FROM age(at, born)) AS integer);
    END;
CREATE FUNCTION population.longer(a text, b text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN length(coalesce(a, '')) >= length(coalesce(b, '')) THEN a ELSE b END $$;
CREATE AGGREGATE population.longest(text) (SFUNC = population.longer, STYPE = text);
COMMENT ON AGGREGATE population.longest(text) IS 'the longest of all names';
RESET ROLE;
