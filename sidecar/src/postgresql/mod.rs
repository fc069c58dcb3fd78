//! PostgreSQL as a source: plan by `pg_dump`, execution by the sidecar.
