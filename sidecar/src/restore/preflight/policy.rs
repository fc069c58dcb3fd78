//! The roles that a row security policy names, read from the statement as `pg_dump` writes it:
//! `CREATE POLICY name ON relation [AS RESTRICTIVE] [FOR command] [TO role, …] [USING (…)] [WITH CHECK (…)]`.

/// A word or a mark of the statement.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Mark(char),
}

/// The roles after `TO`; none where the policy is for everybody.
pub(super) fn roles(definition: &str) -> Vec<String> {
    let mut tokens = tokens(definition);
    // Names before may be anything, quoted ones even `TO`; an expression begins with a parenthesis.
    let ends =
        tokens.find(|token| matches!(token, Token::Word(word) if word == "TO") || *token == Token::Mark('('));
    let mut roles = Vec::new();
    if !matches!(ends, Some(Token::Word(_))) {
        return roles;
    }
    loop {
        match tokens.next() {
            Some(Token::Word(role) | Token::Quoted(role)) => roles.push(role),
            _ => return roles,
        }
        if tokens.next() != Some(Token::Mark(',')) {
            return roles;
        }
    }
}

fn tokens(text: &str) -> impl Iterator<Item = Token> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        if first == '"' {
            let mut name = String::new();
            let mut characters = rest.char_indices().skip(1).peekable();
            while let Some((at, character)) = characters.next() {
                if character != '"' {
                    name.push(character);
                } else if characters.next_if(|(_, next)| *next == '"').is_some() {
                    name.push('"');
                } else {
                    rest = &rest[at + 1..];
                    return Some(Token::Quoted(name));
                }
            }
            return None;
        }
        let is_word = |character: char| character.is_alphanumeric() || matches!(character, '_' | '$');
        let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        if end == 0 {
            rest = &rest[first.len_utf8()..];
            return Some(Token::Mark(first));
        }
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(Token::Word(word.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::roles;

    #[test]
    fn roles_stand_after_to_and_before_the_expression() {
        let restrictive =
            r#"CREATE POLICY pol ON "DATA".x AS RESTRICTIVE FOR SELECT TO clerk, "Odd ""Role" USING (true);"#;
        assert_eq!(roles(restrictive), ["clerk", r#"Odd "Role"#]);
        assert_eq!(roles("CREATE POLICY p ON public.x TO a;\n"), ["a"]);
    }

    #[test]
    fn a_policy_for_everybody_names_nobody() {
        assert!(roles(r#"CREATE POLICY "TO" ON public."x TO y" USING ((a TO b));"#).is_empty());
        assert!(roles("CREATE POLICY p ON public.x;").is_empty());
        // One word alone in its parentheses is no role.
        assert!(roles("CREATE POLICY p ON public.x USING (false);").is_empty());
        assert!(roles("CREATE POLICY p ON public.x FOR INSERT WITH CHECK (mine);").is_empty());
    }
}
