//! A query, taken apart without leaving anything over.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Refusal;

/// Names, and values with their escapes resolved; each name once.
pub(super) struct Query<'a>(BTreeMap<&'a str, Cow<'a, str>>);

impl<'a> Query<'a> {
    pub(super) fn parse(query: &'a str) -> Result<Self, Refusal> {
        let mut pairs = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if !name.bytes().all(plain) || pairs.insert(name, resolve(value)?).is_some() {
                return Err(Refusal::Query);
            }
        }
        Ok(Self(pairs))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(AsRef::as_ref)
    }

    /// Refuses every name but these.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        if self.0.keys().all(|name| names.contains(name)) {
            Ok(())
        } else {
            Err(Refusal::Query)
        }
    }
}

/// Resolves escapes, once. What remains is printable ASCII: no key and no token needs anything else.
///
/// Outside of escapes only what every parser takes for itself may stand. A `+` means a blank to some, and at a `;` some end a pair while
/// others throw it away whole: a store would then see a query without the prefix that was judged here.
fn resolve(value: &str) -> Result<Cow<'_, str>, Refusal> {
    let itself =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'=');
    if value.bytes().all(itself) {
        return Ok(value.into());
    }
    let mut resolved = String::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let byte = if *first == b'%' {
            let [high, low, after @ ..] = rest else {
                return Err(Refusal::Query);
            };
            rest = after;
            let digit = |digit: &u8| char::from(*digit).to_digit(16);
            let (Some(high), Some(low)) = (digit(high), digit(low)) else {
                return Err(Refusal::Query);
            };
            u8::try_from(high * 16 + low).map_err(|_| Refusal::Query)?
        } else if itself(*first) {
            *first
        } else {
            return Err(Refusal::Query);
        };
        if !byte.is_ascii_graphic() {
            return Err(Refusal::Query);
        }
        resolved.push(char::from(byte));
    }
    Ok(resolved.into())
}
