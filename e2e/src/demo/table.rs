//! The table at the end: what was mirrored, how large, how long, and whether it came back equal.

use std::fmt::Write as _;
use std::time::Duration;

/// One registry's line.
pub(super) struct Row {
    pub registry: &'static str,
    pub rows: u64,
    pub bytes_at_home: u64,
    pub bytes_in_store: u64,
    pub copying: Duration,
    pub restoring: Duration,
    pub differences: usize,
}

/// The table as text.
pub(super) fn print(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<12} {:>10} {:>10} {:>10} {:>8} {:>10}  {}\n",
        "REGISTRY", "ROWS", "AT HOME", "IN STORE", "TO COPY", "TO RESTORE", "EQUAL"
    );
    for row in rows {
        let equal = match row.differences {
            0 => "yes".to_owned(),
            found => format!("no, {found} differences"),
        };
        let _ = writeln!(
            text,
            "{:<12} {:>10} {:>10} {:>10} {:>8} {:>10}  {equal}",
            row.registry,
            row.rows,
            mebibytes(row.bytes_at_home),
            mebibytes(row.bytes_in_store),
            seconds(row.copying),
            seconds(row.restoring),
        );
    }
    text
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn seconds(duration: Duration) -> String {
    format!("{}.{} s", duration.as_secs(), duration.subsec_millis() / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_came_back_different_says_so() {
        let row = Row {
            registry: "population",
            rows: 12,
            bytes_at_home: 3 << 20,
            bytes_in_store: (1 << 20) + (1 << 19),
            copying: Duration::from_millis(4300),
            restoring: Duration::from_secs(61),
            differences: 2,
        };
        let text = print(&[row]);
        for part in [
            "population",
            "3.0 MiB",
            "1.5 MiB",
            "4.3 s",
            "61.0 s",
            "no, 2 differences",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
