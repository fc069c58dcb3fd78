INSERT INTO codes.list VALUES ('blood', 'ABO and Rh');
INSERT INTO codes.entry VALUES ('blood', '0-', 'anybody''s', false);
INSERT INTO health.no_columns DEFAULT VALUES;
INSERT INTO health.no_columns DEFAULT VALUES;
INSERT INTO health.no_columns DEFAULT VALUES;
INSERT INTO health.waiting_room (patient) SELECT 'patient ' || n FROM generate_series(1, 500) n;
SET xmlbinary = base64;
INSERT INTO health.odd_values VALUES
    ('NaN', 'NaN', 'infinity', '-infinity', '294276-12-31 23:59:59.999999+00', '-1 year +3 days -00:00:00.000001', '', '', '', '0/0',
     'empty', '{}', '{"b":1, "a" : [1.0, 1e400], "b":2}', '', B'000', '((0,0),(1,1))', '23:59:60+15:59', 0),
    ('Infinity', '-Infinity', '4713-01-01 BC', '4713-01-01 BC', '4713-01-01 00:00:00+00 BC', '178000000 years', E'\\.', '\x5c2e0a', 'a & !b:*C',
     'FFFFFFFF/FFFFFFFF', '(,)', '[0:1][-1:0]={{1,NULL},{3,4}}', '" \\u00e4 "', 'abc', B'101', '[(0,0),(1e-300,1e300)]', '00:00:00-15:59', 10::numeric ^ 499),
    (-0.000000000000000000000000000000000001, 5e-324, '0001-01-01', '2026-10-25 03:30:00', '2026-10-25 03:30:00+02', '0', E'\b\f\n\r\t\x0b\\', decode(repeat('00', 300), 'hex'),
     NULL, NULL, '[1.10,2.200)', NULL, 'null', E'\t', NULL, NULL, NULL, -1.5::numeric(1000, 500)),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT setval('health.prescription_number', 31337, true);
SELECT setval('health.encounters_id_seq', 9000001, false);
SELECT setval('health.observations_id_seq', coalesce(max(id), 1)) FROM health.observations;
ALTER TABLE health.clinics ADD COLUMN opened date DEFAULT '1990-01-01';
REFRESH MATERIALIZED VIEW health.ill_by_ward;
ANALYZE;
