//! Bytes for people.

/// Bytes in the unit that fits, such as `71.3 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// Whether an amount has moved by more than a hundredth of `whole`. What has not is not worth a write.
#[must_use]
pub fn has_moved(before: u64, now: u64, whole: u64) -> bool {
    before.abs_diff(now).saturating_mul(100) > whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (74_763_470, "71.3 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn only_more_than_a_hundredth_is_a_move() {
        assert!(!has_moved(500, 510, 1_000));
        assert!(has_moved(500, 511, 1_000));
        assert!(has_moved(500, 489, 1_000));
        assert!(has_moved(0, 1, 0), "of nothing, anything is a move");
        assert!(!has_moved(0, 0, 0));
    }
}
