-- After the rows: what a register gathers over the years.
INSERT INTO codes.list VALUES ('sex', 'ISO/IEC 5218'), ('residence', 'why somebody lives somewhere');
INSERT INTO codes.entry VALUES ('residence', 'O', 'omanik', false), ('residence', 'Ü', 'üürnik', false);
SELECT nextval('codes.revision'), nextval('codes.revision');
SELECT setval('population.residence_id', 4242424, true), setval('population.households_id_seq', 99, false);

SELECT setval('population.life_events_id_seq', coalesce(max(id), 1)) FROM population.life_events;
SET ROLE population_owner;
-- Rows written before do not hold this value: the catalog does.
ALTER TABLE population.persons ADD COLUMN "E-residency" boolean NOT NULL DEFAULT false;
ALTER TABLE population.households ADD COLUMN note text DEFAULT 'from the census of 2021 — "öö"';
INSERT INTO population."line
break" VALUES (E'a\nb\r\\', E'\\.', NULL), ('', E'\t', E'\\N'), (E'\\.', E'\\.\n', 'ääkülad');
INSERT INTO "DATA".x VALUES (1, 2, 'from'), (NULL, -2147483648, NULL);
INSERT INTO "Ajalugu – vanad"."ИМЯ" VALUES ('Ωμέγα 👩‍👧', '{名,"a,b","NULL",NULL,""}');
INSERT INTO population.life_events (person_id, happened, place) VALUES (1000, '4713-01-01 BC', 'Kunda'), (1000, '-infinity', NULL);
RESET ROLE;

SELECT setval('population.persons_id_seq', coalesce(max(id), 1000)) FROM population.persons;
REFRESH MATERIALIZED VIEW population.by_decade;

-- Last, as a restore does: from here on every change of the schema is written down.
CREATE FUNCTION population.write_down_change() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
    AS $$
BEGIN
    INSERT INTO population.schema_changes (tag, object)
    SELECT command_tag, object_identity FROM pg_event_trigger_ddl_commands();
END
$$;
CREATE EVENT TRIGGER write_down_change ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION population.write_down_change();
CREATE EVENT TRIGGER "asleep" ON sql_drop EXECUTE FUNCTION population.write_down_change();
ALTER EVENT TRIGGER "asleep" DISABLE;
COMMENT ON EVENT TRIGGER write_down_change IS 'who changed the schema?';
ANALYZE;
