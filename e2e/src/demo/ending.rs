//! How the demo ends: what it has started is taken down, whatever came of it, unless all went well and it is to be kept.

use anyhow::Result;

/// What to look at in a bed that is left up.
pub(super) const LOOK_AROUND: &str = "\nEverything is left up. Look around:\n  \
    cargo e2e kubectl home get registrymirrors -A\n  \
    cargo e2e kubectl home describe registrymirror population -n interior\n  \
    cargo e2e kubectl embassy get pods -A\n  \
    cargo e2e down";

/// Ends the demo by leaving everything up or by taking it down.
pub(super) async fn end(
    played: Result<()>,
    keep: bool,
    leave: impl FnOnce(),
    taking_down: impl Future<Output = Result<()>>,
) -> Result<()> {
    if keep && played.is_ok() {
        leave();
        return Ok(());
    }
    match (played, taking_down.await) {
        (Err(why), Err(left)) => Err(why.context(format!("the bed could not be taken down: {left:#}"))),
        (played, down) => played.and(down),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::anyhow;

    use super::*;

    /// Whether the bed was left up, whether it was taken down, and what is said of it.
    async fn ended(played: Result<()>, keep: bool, down: Result<()>) -> (bool, bool, Option<String>) {
        let (left, taken) = (Cell::new(false), Cell::new(false));
        let taking_down = async {
            taken.set(true);
            down
        };
        let end = end(played, keep, || left.set(true), taking_down).await;
        (
            left.get(),
            taken.get(),
            end.err().map(|error| format!("{error:#}")),
        )
    }

    #[tokio::test]
    async fn a_demo_that_went_well_is_left_up_only_where_it_is_to_be_kept() {
        assert_eq!(ended(Ok(()), true, Ok(())).await, (true, false, None));
        assert_eq!(ended(Ok(()), false, Ok(())).await, (false, true, None));
    }

    #[tokio::test]
    async fn a_demo_that_failed_is_taken_down_even_where_it_is_to_be_kept() {
        for keep in [true, false] {
            let said = Some("a copy differs".to_owned());
            let ended = ended(Err(anyhow!("a copy differs")), keep, Ok(())).await;
            assert_eq!(ended, (false, true, said));
        }
    }

    #[tokio::test]
    async fn what_is_left_of_a_bed_fails_the_demo_and_hides_no_other_failure() {
        let left = || Err(anyhow!("a mount is left"));
        let (_, _, said) = ended(Ok(()), false, left()).await;
        assert_eq!(said.unwrap(), "a mount is left");
        let (_, _, said) = ended(Err(anyhow!("a copy differs")), true, left()).await;
        let said = said.unwrap();
        assert!(
            said.contains("a copy differs") && said.contains("a mount is left"),
            "{said}"
        );
    }

    #[test]
    fn who_keeps_the_demo_is_told_how_to_look_around_and_how_to_end_it() {
        for command in [
            "kubectl home get registrymirrors",
            "kubectl embassy",
            "cargo e2e down",
        ] {
            assert!(LOOK_AROUND.contains(command), "{command}");
        }
    }
}
