//! Answers that come late, on a machine that is busy with other things.

/// Whether an error of ours is about an answer that came late. Who asked warns of that and asks again, so it is no complaint where nothing else is.
#[must_use]
pub fn is_late(error: &str) -> bool {
    [" did not answer ", "timed out"]
        .iter()
        .any(|late| error.contains(late))
}
