//! The object store: the few S3 requests that the gate lets through, and the ledger read over them.
