//! What of the bed runs, part by part, in words.

use super::{Component, Site};

/// Both clusters at a glance.
#[derive(Debug, PartialEq, Eq)]
pub struct Overview {
    /// A line for each cluster.
    pub lines: Vec<String>,
    /// Whether every part of both runs.
    pub is_whole: bool,
}

impl Overview {
    /// Asks for each part of each cluster whether it runs.
    #[must_use]
    pub fn of(runs: impl Fn(Site, Component) -> bool) -> Self {
        let mut is_whole = true;
        let line = |site: Site| {
            let parts = Component::ALL.map(|component| {
                let runs = runs(site, component);
                is_whole &= runs;
                format!("{} {}", component.name(), if runs { "runs" } else { "is down" })
            });
            format!("{site} ({}): {}", site.node(), parts.join(", "))
        };
        let lines = Site::BOTH.into_iter().map(line).collect();
        Self { lines, is_whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bed_that_is_up_is_whole_and_each_part_of_it_is_named() {
        let overview = Overview::of(|_, _| true);
        assert!(overview.is_whole);
        for (line, site) in overview.lines.iter().zip(Site::BOTH) {
            assert!(line.contains(site.name()) && !line.contains("is down"), "{line}");
            for component in Component::ALL {
                assert!(line.contains(&format!("{} runs", component.name())), "{line}");
            }
        }
        assert_eq!(overview.lines.len(), Site::BOTH.len());
    }

    #[test]
    fn one_part_that_is_down_is_named_at_its_cluster_and_the_bed_is_not_whole() {
        let overview =
            Overview::of(|site, component| site != Site::Embassy || component != Component::Kubelet);
        assert!(!overview.is_whole);
        let down: Vec<_> = overview
            .lines
            .iter()
            .filter(|line| line.contains("is down"))
            .collect();
        let [line] = down.as_slice() else {
            panic!("{down:?}")
        };
        assert!(line.starts_with("embassy"), "{line}");
        assert!(line.contains("kubelet is down"), "{line}");
        assert_eq!(line.matches("is down").count(), 1, "{line}");
    }

    #[test]
    fn of_a_bed_that_is_down_nothing_runs() {
        let overview = Overview::of(|_, _| false);
        assert!(!overview.is_whole);
        let down = overview.lines.iter().map(|line| line.matches("is down").count());
        assert_eq!(down.sum::<usize>(), 2 * Component::ALL.len());
    }
}
