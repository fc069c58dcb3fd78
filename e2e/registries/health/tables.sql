SET ROLE health_owner;
CREATE TABLE health."WARDS" (code text PRIMARY KEY CHECK (health.ward_is_sound(code)), beds integer NOT NULL CHECK (beds >= 0));

CREATE TABLE health.patients (
    id             uuid PRIMARY KEY,
    personal_code  varchar(11) NOT NULL,
    name           text COLLATE health.estonian NOT NULL,
    alias          text COLLATE health.any_case,
    born           timestamp without time zone NOT NULL,
    blood          char(3),
    kg             numeric(5, 1),
    metres         numeric(3, 2),
    bmi            numeric GENERATED ALWAYS AS (health.body_mass_index(kg, metres)) STORED,
    allergies      health.diagnoses,
    flags          bit varying(16),
    notes          extensions.hstore,
    UNIQUE (personal_code) DEFERRABLE
);
CREATE UNIQUE INDEX patients_alias ON health.patients (alias) WHERE alias IS NOT NULL;

CREATE SEQUENCE health.encounters_id_seq INCREMENT BY 3 START WITH 7 CACHE 5;
-- Not an identity column: since 17 a partition has it too, and the schemas of 15 and 17 would differ.
CREATE TABLE health.encounters (
    id          bigint NOT NULL DEFAULT nextval('health.encounters_id_seq'),
    patient_id  uuid NOT NULL,
    began       timestamptz NOT NULL,
    lasted      interval NOT NULL,
    urgency     health.urgency NOT NULL DEFAULT 'planned',
    ward        text,
    diagnoses   health.diagnoses NOT NULL,
    summary     text,
    found_by    tsvector,
    device      macaddr,
    network     cidr,
    CONSTRAINT encounters_pk PRIMARY KEY (began, id, urgency),
    CONSTRAINT "ward is sound" CHECK (health.ward_is_sound(ward)),
    CONSTRAINT of_patient FOREIGN KEY (patient_id) REFERENCES health.patients ON UPDATE CASCADE
) PARTITION BY RANGE (began);
ALTER SEQUENCE health.encounters_id_seq OWNED BY health.encounters.id;
CREATE TABLE health.encounters_2024 PARTITION OF health.encounters FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2025-01-01 00:00:00+00');
CREATE TABLE health.encounters_2025 PARTITION OF health.encounters FOR VALUES FROM ('2025-01-01 00:00:00+00') TO ('2026-01-01 00:00:00+00');
CREATE TABLE health.encounters_2026 PARTITION OF health.encounters FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')
    PARTITION BY HASH (urgency);
CREATE TABLE health.encounters_2026_a PARTITION OF health.encounters_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE health.encounters_2026_b PARTITION OF health.encounters_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE health.encounters_other PARTITION OF health.encounters DEFAULT;
CREATE INDEX encounters_text ON health.encounters USING gin (found_by);

CREATE TABLE health.beds (
    ward      text NOT NULL REFERENCES health."WARDS" DEFERRABLE INITIALLY DEFERRED,
    bed       smallint NOT NULL,
    patient   uuid REFERENCES health.patients,
    occupied  tstzrange NOT NULL,
    CONSTRAINT one_patient_a_bed EXCLUDE USING gist (ward WITH =, bed WITH =, occupied WITH &&)
);

CREATE SEQUENCE health.prescription_number AS integer MINVALUE 1 MAXVALUE 99999999 CYCLE;
CREATE TABLE health.prescriptions (
    number      integer PRIMARY KEY DEFAULT nextval('health.prescription_number'),
    patient_id  uuid NOT NULL REFERENCES health.patients,
    drug        text NOT NULL,
    doses       health.schedule NOT NULL,
    valid       datemultirange NOT NULL,
    document    xml,
    price       numeric,
    redeemed    timestamptz[],
    signature   bytea,
    old_system  integer
);
ALTER TABLE health.prescriptions DROP COLUMN old_system, ADD COLUMN pharmacy cidr, ADD COLUMN "retsepti öö" json;
ALTER TABLE health.prescriptions ALTER COLUMN signature SET STORAGE EXTERNAL, ALTER COLUMN document SET COMPRESSION lz4;

CREATE TABLE health.observations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    patient_id  uuid NOT NULL REFERENCES health.patients,
    taken       timestamptz NOT NULL,
    resource    jsonb NOT NULL CHECK (jsonb_typeof(resource) = 'object'),
    value       double precision,
    precision_  real,
    pressure    health.pressure
);
CREATE INDEX observations_by_code ON health.observations USING gin (resource jsonb_path_ops);
CREATE INDEX pulses ON health.observations ((resource ->> 'status')) WHERE health.is_pulse(resource);

-- Circular between three tables.
CREATE TABLE health.doctors (id integer PRIMARY KEY, name text NOT NULL, clinic_id integer NOT NULL);
CREATE TABLE health.clinics (id integer PRIMARY KEY, name text NOT NULL, region_id integer NOT NULL);
CREATE TABLE health.regions (id integer PRIMARY KEY, name text NOT NULL, chief_id integer NOT NULL REFERENCES health.doctors DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE health.doctors ADD FOREIGN KEY (clinic_id) REFERENCES health.clinics DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE health.clinics ADD FOREIGN KEY (region_id) REFERENCES health.regions DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE health.genomes (patient_id uuid PRIMARY KEY REFERENCES health.patients, sequence text NOT NULL);
ALTER TABLE health.genomes ALTER COLUMN sequence SET STORAGE EXTERNAL;
CREATE TABLE health.no_columns ();
CREATE TABLE health.empty (id integer PRIMARY KEY, "never" text);
CREATE UNLOGGED TABLE health.waiting_room (ticket serial, patient text, since timetz DEFAULT '08:00:00+02');
CREATE TABLE health.odd_values (
    n numeric, f double precision, d date, t timestamp, z timestamptz, i interval, s text, b bytea, q tsquery, l pg_lsn,
    r numrange, a integer[][], j json, c char(5), bits bit(3), p path, tz timetz, big numeric(1000, 500)
);
COMMENT ON TABLE health.empty IS 'stays empty';
COMMENT ON COLUMN health.odd_values.a IS E'bounds \'[0:1][-1:0]\' are part of it';

CREATE FUNCTION health.index_summary() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.found_by := pg_catalog.to_tsvector('pg_catalog.simple', coalesce(NEW.summary, ''));
    RETURN NEW;
END
$$;
CREATE TRIGGER index_summary BEFORE INSERT OR UPDATE OF summary ON health.encounters
    FOR EACH ROW EXECUTE FUNCTION health.index_summary();
CREATE TRIGGER in_replica BEFORE DELETE ON health.patients
    FOR EACH STATEMENT EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger();
ALTER TABLE health.patients ENABLE REPLICA TRIGGER in_replica;

-- Views join: a view over one table prints its columns otherwise since PostgreSQL 16, and this registry is
-- restored from 15 into 17 and its schema compared as text.
CREATE VIEW health.history AS
    SELECT p.id, p.name, e.began, e.diagnoses FROM health.patients p JOIN health.encounters e ON e.patient_id = p.id;
CREATE MATERIALIZED VIEW health.ill_by_ward AS
    SELECT w.code, count(e.id) AS encounters, sum(e.lasted) AS lasted
      FROM health."WARDS" w LEFT JOIN health.encounters e ON e.ward = w.code GROUP BY w.code;
CREATE INDEX ill_by_ward_code ON health.ill_by_ward (code);

ALTER TABLE health.observations ENABLE ROW LEVEL SECURITY;
CREATE POLICY recent ON health.observations TO health_doctor USING (taken > '2025-01-01 00:00:00+00');
GRANT SELECT (id, born, blood, bmi) ON health.patients TO health_research;

REVOKE INSERT, UPDATE ON health.genomes FROM health_doctor;
GRANT USAGE ON SEQUENCE health.prescription_number TO health_doctor;
RESET ROLE;
