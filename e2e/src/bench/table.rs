//! Rows as tables: the comparisons, and what the median runs took.

use std::fmt::Write as _;

use super::{
    promise::{self, Outcome, Promise},
    row::Row,
    spent::Spent,
};

/// As Markdown, for `docs/`.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut table =
        "| what | ours | theirs | ratio | promised | outcome |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for row in rows {
        let of = |value| with_unit(value, &row.unit);
        let theirs = row.theirs.map(of).unwrap_or_default();
        // A string takes every write.
        let _ = writeln!(
            table,
            "| {} | {} | {theirs} | {} | {} | {} |",
            row.name,
            of(row.ours),
            digits(row.ratio),
            digits(row.promise.map(Promise::ratio)),
            outcome(row)
        );
    }
    let reasons = promise::reasons(rows);
    if !reasons.is_empty() {
        let _ = write!(table, "\n{reasons}");
    }
    let taken: Vec<_> = taken(rows).collect();
    if !taken.is_empty() {
        table.push_str(
            "\n| run in the middle | s | processor s: who copies | database | store | most memory | requests | written |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
    }
    for (name, spent) in taken {
        let Spent {
            seconds,
            program,
            database,
            store,
            peak,
            requests,
            written,
        } = spent;
        let _ = writeln!(
            table,
            "| {name} | {seconds:.1} | {program:.1} | {database:.1} | {store:.1} | {peak:.0} MiB | {requests:.0} | {written:.1} MB |"
        );
    }
    table
}

/// For a terminal.
pub(super) fn render(rows: &[Row]) -> String {
    let names = rows.iter().map(|row| row.name.chars().count());
    let width = names.max().unwrap_or(0).max(4);
    let mut table = format!(
        "{:width$}  {:>10}  {:>10}  {:>6}  {:>8}  {:12}  unit\n",
        "name", "ours", "theirs", "ratio", "promised", "outcome"
    );
    for row in rows {
        let line = format!(
            "{:width$}  {:>10.2}  {:>10}  {:>6}  {:>8}  {:12}  {}",
            row.name,
            row.ours,
            digits(row.theirs),
            digits(row.ratio),
            digits(row.promise.map(Promise::ratio)),
            outcome(row),
            row.unit
        );
        // A string takes every write.
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table.push_str(&promise::reasons(rows));
    let taken: Vec<_> = taken(rows).collect();
    if !taken.is_empty() {
        let wide = width + ": theirs".len();
        let _ = writeln!(
            table,
            "\n{:wide$}  {:>8}  {:>10}  {:>10}  {:>10}  {:>10}  {:>8}  {:>10}",
            "run in the middle",
            "seconds",
            "who copies",
            "database",
            "store",
            "memory",
            "requests",
            "written"
        );
        for (name, spent) in taken {
            let Spent {
                seconds,
                program,
                database,
                store,
                peak,
                requests,
                written,
            } = spent;
            let _ = writeln!(
                table,
                "{name:wide$}  {seconds:>8.1}  {program:>10.1}  {database:>10.1}  {store:>10.1}  {peak:>6.0} MiB  {requests:>8.0}  {written:>7.1} MB"
            );
        }
    }
    table
}

/// What each side's median run took.
fn taken(rows: &[Row]) -> impl Iterator<Item = (String, Spent)> {
    rows.iter().flat_map(|row| {
        let sides = ["ours", "theirs"].into_iter().zip(&row.spent);
        sides.map(move |(side, spent)| (format!("{}: {side}", row.name), *spent))
    })
}

fn outcome(row: &Row) -> &'static str {
    row.outcome().map(Outcome::word).unwrap_or_default()
}

fn digits(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.2}")).unwrap_or_default()
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{value:.2} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> [Row; 4] {
        let took = |seconds| Spent {
            seconds,
            program: 1.0,
            database: 2.0,
            store: 0.5,
            peak: 40.0,
            requests: 30.0,
            written: 347.0,
        };
        [
            Row::spent("copy".into(), &[took(3.0)], &[took(4.0)])
                .unwrap()
                .promised(Promise::times_as_fast(1.25)),
            Row::spent_alone("into nothing".into(), &[took(2.0)]).unwrap(),
            Row::at_least("share".into(), 0.25, 0.5),
            Row::alone("image".into(), 90.0, "MB"),
        ]
    }

    #[test]
    fn what_the_median_runs_took_follows_the_comparisons() {
        assert_eq!(
            markdown(&rows()),
            "| what | ours | theirs | ratio | promised | outcome |\n| --- | --- | --- | --- | --- | --- |\n\
             | copy | 3.00 s | 4.00 s | 0.75 | 0.80 | kept |\n| into nothing | 2.00 s |  |  |  |  |\n\
             | share | 0.25 | 0.50 | 2.00 | 1.00 | MISSED |\n| image | 90.00 MB |  |  |  |  |\n\n\
             | run in the middle | s | processor s: who copies | database | store | most memory | requests | written |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n\
             | copy: ours | 3.0 | 1.0 | 2.0 | 0.5 | 40 MiB | 30 | 347.0 MB |\n\
             | copy: theirs | 4.0 | 1.0 | 2.0 | 0.5 | 40 MiB | 30 | 347.0 MB |\n\
             | into nothing: ours | 2.0 | 1.0 | 2.0 | 0.5 | 40 MiB | 30 | 347.0 MB |\n"
        );
    }

    #[test]
    fn a_terminal_is_told_the_same() {
        let said = render(&rows());
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(
            lines[..5],
            [
                "name                ours      theirs   ratio  promised  outcome       unit",
                "copy                3.00        4.00    0.75      0.80  kept          s",
                "into nothing        2.00                                              s",
                "share               0.25        0.50    2.00      1.00  MISSED",
                "image              90.00                                              MB",
            ]
        );
        assert!(lines[7].starts_with("copy: ours "), "{said}");
        assert!(lines[7].ends_with("        30    347.0 MB"), "{said}");
        assert_eq!(lines.len(), 10, "{said}");
    }
}
