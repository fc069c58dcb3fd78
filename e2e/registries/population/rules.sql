-- What acts by itself: triggers, views, row-level security, grants.
SET ROLE population_owner;

CREATE FUNCTION population.touch() RETURNS trigger
    LANGUAGE plpgsql SET search_path = ''
    AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER touch BEFORE UPDATE ON population.persons
    FOR EACH ROW WHEN (OLD.household_id IS DISTINCT FROM NEW.household_id OR OLD."Surname" <> NEW."Surname")
    EXECUTE FUNCTION population.touch();

CREATE FUNCTION population.end_documents() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = population, pg_temp
    AS $$
BEGIN
    UPDATE documents SET validity = '0' WHERE person_id = NEW.person_id AND kind = 'driving licence';
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER "ends documents" AFTER INSERT ON population."Surmad"
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION population.end_documents();
CREATE TRIGGER switched_off AFTER TRUNCATE ON population.households EXECUTE FUNCTION population.end_documents();
ALTER TABLE population.households DISABLE TRIGGER switched_off;
COMMENT ON TRIGGER touch ON population.persons IS 'keeps updated_at';

CREATE PROCEDURE population.close_household(INOUT which bigint)
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE population.persons SET household_id = NULL WHERE household_id = which;
    DELETE FROM population.households WHERE id = which;
END
$$;

CREATE VIEW population.living WITH (security_barrier) AS
    SELECT id, full_name, born, population.age_on(born, '2026-11-23') AS age FROM population.persons WHERE died IS NULL;
CREATE VIEW population.kin AS
    WITH RECURSIVE line (person_id, ancestor_id, depth) AS (
        SELECT b.person_id, b.mother_id, 1 FROM population."Sünnid" b WHERE b.mother_id IS NOT NULL
        UNION ALL
        SELECT l.person_id, b.mother_id, l.depth + 1
          FROM line l JOIN population."Sünnid" b ON b.person_id = l.ancestor_id
         WHERE b.mother_id IS NOT NULL AND l.depth < 10
    )
    SELECT person_id, ancestor_id, depth FROM line;
CREATE VIEW population.movable AS SELECT id, "Surname" FROM population.persons WHERE died IS NULL
    WITH LOCAL CHECK OPTION;
CREATE VIEW population.happenings AS
    SELECT id, happened, population.age_on(happened, '2026-11-23') AS age FROM population.life_events WHERE happened > '1900-01-01';
-- On top of a materialized view, which is on top of a view: the order of making matters.
CREATE MATERIALIZED VIEW population.by_decade AS
    SELECT (extract(decade FROM h.happened) * 10)::integer AS decade, count(*) AS events, avg(h.age)::numeric(6, 2) AS age
      FROM population.happenings h GROUP BY 1
    WITH NO DATA;
CREATE UNIQUE INDEX by_decade_key ON population.by_decade (decade);
CREATE MATERIALIZED VIEW population.never_filled AS SELECT count(*) AS events FROM population.life_events WITH NO DATA;
CREATE VIEW population.decades AS SELECT decade, events FROM population.by_decade ORDER BY decade DESC;
CREATE RULE no_new_decades AS ON INSERT TO population.decades DO INSTEAD NOTHING;
COMMENT ON MATERIALIZED VIEW population.by_decade IS 'what happened, by decade; not of persons, whose row security binds even their owner, and so a refresh';

ALTER TABLE population.persons ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_county ON population.persons FOR SELECT TO "Population Clerk"
    USING (EXISTS (SELECT FROM population."Elukohad" e
                    WHERE e.person_id = persons.id AND e.county::text = current_setting('registry.county', true)));
CREATE POLICY owner ON population.persons TO population_owner USING (true) WITH CHECK (died IS NULL OR died < '2100-01-01');
CREATE POLICY never ON population.persons AS RESTRICTIVE FOR DELETE USING (false);
COMMENT ON POLICY own_county ON population.persons IS 'one county, one clerk';

GRANT SELECT (id, "Surname", born), UPDATE ("Surname") ON population.persons TO "Population Clerk";
GRANT SELECT, INSERT, UPDATE, DELETE ON population."Elukohad" TO "Population Clerk" WITH GRANT OPTION;
GRANT ALL ON "DATA".x TO PUBLIC;
GRANT SELECT ON population."line
break" TO population_app;
GRANT EXECUTE ON FUNCTION population.age_on(date, date) TO "Population Clerk", PUBLIC;
GRANT EXECUTE ON PROCEDURE population.close_household(bigint) TO population_app;
REVOKE ALL ON population.schema_changes FROM population_auditor;
REVOKE USAGE ON TYPE population.county FROM PUBLIC;
RESET ROLE;
