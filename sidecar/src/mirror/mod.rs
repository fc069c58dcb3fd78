//! The long-running process at home: one registry, copied on schedule.
