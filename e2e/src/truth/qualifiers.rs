//! Names without what they are qualified by. Of one view, PostgreSQL up to 15 writes out of which table each column is, and later versions only
//! where it must be said.

use std::{iter::Peekable, str::Chars};

/// The text, in which each name behind a dot stands without the names before it; what is in a literal stays.
pub(super) fn without_qualifiers(sql: &str) -> String {
    let mut rest = sql.chars().peekable();
    let mut kept = String::with_capacity(sql.len());
    while let Some(&next) = rest.peek() {
        match next {
            '\'' => kept.push_str(&quoted(&mut rest, '\'')),
            '"' => {
                let name = quoted(&mut rest, '"');
                keep(&mut kept, &name, &mut rest);
            }
            _ if is_in_name(next) => {
                let mut name = String::new();
                while let Some(letter) = rest.next_if(|letter| is_in_name(*letter)) {
                    name.push(letter);
                }
                keep(&mut kept, &name, &mut rest);
            }
            other => {
                kept.push(other);
                rest.next();
            }
        }
    }
    kept
}

/// Keeps a name, unless another name follows behind a dot. A number is none.
fn keep(kept: &mut String, name: &str, rest: &mut Peekable<Chars<'_>>) {
    let is_number = name.starts_with(|first: char| first.is_ascii_digit());
    let mut behind = rest.clone();
    let qualifies = !is_number
        && behind.next() == Some('.')
        && behind
            .next()
            .is_some_and(|first| first == '"' || is_in_name(first));
    if qualifies {
        rest.next();
    } else {
        kept.push_str(name);
    }
}

/// What is in quotation marks, and they; a doubled one is two.
fn quoted(rest: &mut Peekable<Chars<'_>>, mark: char) -> String {
    let mut text = String::from(mark);
    rest.next();
    for letter in rest.by_ref() {
        text.push(letter);
        if letter == mark {
            break;
        }
    }
    text
}

fn is_in_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_qualifies_them_and_nothing_else_changes() {
        for (qualified, bare) in [
            (
                "SELECT companies.code, companies.\"Ärinimi\" FROM business.companies",
                "SELECT code, \"Ärinimi\" FROM companies",
            ),
            ("sum(f.turnover) AS turnover", "sum(turnover) AS turnover"),
            ("\"A b\".\"c.d\"", "\"c.d\""),
            ("'a.b' || x.y || '''z.z'", "'a.b' || y || '''z.z'"),
            ("10.5 + 1.e2", "10.5 + 1.e2"),
            ("a.b.c, d . e, f.*", "c, d . e, f.*"),
        ] {
            assert_eq!(without_qualifiers(qualified), bare);
            assert_eq!(without_qualifiers(bare), bare);
        }
    }
}
