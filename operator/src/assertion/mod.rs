//! Judges what a restored database is asked: the same for a drill and for a restore.

mod decimal;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use dataembassy_contract::Reason;
use dataembassy_contract::assertion::{AssertionConfig, Expectation};
use dataembassy_crds::{Assertion, Bounds};

use crate::embassy::validate::{Refusal, duration};

/// Judges what a restored database is asked; the first thing that is wrong is said.
pub fn judge(given: &[Assertion]) -> Result<Vec<AssertionConfig>, Refusal> {
    let mut seen = BTreeSet::new();
    given
        .iter()
        .map(|assertion| {
            let name = &assertion.name;
            if !seen.insert(name) {
                let message = format!("spec.assertions: there are two called {name}: name each differently");
                return Err(Refusal::new(Reason::InvalidName, message));
            }
            if assertion.sql.trim().is_empty() {
                let message = format!("spec.assertions[{name}].sql is empty: write one statement");
                return Err(Refusal::new(Reason::InvalidName, message));
            }
            Ok(AssertionConfig {
                name: name.clone(),
                sql: assertion.sql.clone(),
                expect: judge_expectation(assertion)?,
            })
        })
        .collect()
}

fn judge_expectation(assertion: &Assertion) -> Result<Expectation, Refusal> {
    let name = &assertion.name;
    match (&assertion.equals, &assertion.within, &assertion.not_older_than) {
        (Some(text), None, None) => Ok(Expectation::Equals(text.clone())),
        (None, Some(bounds), None) => judge_bounds(name, bounds),
        (None, None, Some(age)) => {
            let field = format!("spec.assertions[{name}].notOlderThan");
            Ok(Expectation::NotOlderThan(duration(&field, age)?.as_secs()))
        }
        _ => {
            let message =
                format!("spec.assertions[{name}]: set exactly one of equals, within and notOlderThan");
            Err(Refusal::new(Reason::InvalidName, message))
        }
    }
}

fn judge_bounds(name: &str, bounds: &Bounds) -> Result<Expectation, Refusal> {
    let refuse = |words: &str| {
        let message = format!("spec.assertions[{name}].within: {words}");
        Err(Refusal::new(Reason::InvalidName, message))
    };
    let Bounds { at_least, at_most } = bounds;
    let mut given = at_least.iter().chain(at_most).peekable();
    if given.peek().is_none() {
        return refuse("set atLeast, atMost, or both");
    }
    if let Some(text) = given.find(|text| decimal::compare(text, text).is_none()) {
        return refuse(&format!("'{text}' is not a decimal number such as 1000 or -0.5"));
    }
    let both = at_least.as_ref().zip(at_most.as_ref());
    if both.is_some_and(|(least, most)| decimal::compare(least, most) == Some(Ordering::Greater)) {
        return refuse("atLeast is more than atMost, so no answer could be right");
    }
    Ok(Expectation::Within {
        at_least: at_least.clone(),
        at_most: at_most.clone(),
    })
}
