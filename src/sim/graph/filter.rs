//! `$filter`, as far as the clients use it: comparisons joined by `and`, with or without `tolower` (facts C.1).

/// One comparison: `name eq 'literal'` or `tolower(name) eq 'literal'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) name: String,
    pub(super) lower: bool,
    pub(super) literal: String,
}

impl Comparison {
    /// Whether a value is equal by it.
    pub(super) fn holds(&self, value: &str) -> bool {
        if self.lower { value.to_lowercase() == self.literal } else { value == self.literal }
    }
}

/// Reads a filter: all of its comparisons must hold.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<Comparison>, String> {
    let mut rest = text.trim_start();
    let mut comparisons = Vec::new();
    loop {
        let (comparison, tail) = comparison(rest)?;
        comparisons.push(comparison);
        let tail = tail.trim_start();
        if tail.is_empty() {
            return Ok(comparisons);
        }
        let joined = tail.strip_prefix("and").filter(|after| after.starts_with(' '));
        rest = joined.ok_or_else(|| format!("`and` or the end is expected at `{}`", short(tail)))?.trim_start();
        if comparisons.len() >= 16 {
            return Err("there are too many comparisons".to_owned());
        }
    }
}

fn comparison(text: &str) -> Result<(Comparison, &str), String> {
    let (lower, rest) = match text.strip_prefix("tolower(") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let end = rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '_').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if name.is_empty() {
        return Err(format!("a property is expected at `{}`", short(rest)));
    }
    let rest = if lower { rest.trim_start().strip_prefix(')').ok_or("the `)` of tolower is missing")? } else { rest };
    let rest = rest.strip_prefix(' ').map(str::trim_start).and_then(|rest| rest.strip_prefix("eq "));
    let rest = rest.ok_or_else(|| format!("` eq ` is expected after `{name}`"))?.trim_start();
    let (literal, rest) = literal(rest)?;
    Ok((Comparison { name: name.to_owned(), lower, literal }, rest))
}

/// A string literal of OData, in which an apostrophe is written twice.
fn literal(text: &str) -> Result<(String, &str), String> {
    let mut rest = text.strip_prefix('\'').ok_or_else(|| format!("a string in apostrophes is expected at `{}`", short(text)))?;
    let mut value = String::new();
    loop {
        let (part, tail) = rest.split_once('\'').ok_or("a string has no end")?;
        value.push_str(part);
        match tail.strip_prefix('\'') {
            Some(tail) => {
                value.push('\'');
                rest = tail;
            }
            None => return Ok((value, tail)),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, lower: bool, literal: &str) -> Comparison {
        Comparison { name: name.to_owned(), lower, literal: literal.to_owned() }
    }

    #[test]
    fn the_filters_of_the_clients_are_read() {
        let both = parse("tolower(userPrincipalName) eq 'o''hara@x' and tolower(thumbprint) eq 'ab'").unwrap();
        assert_eq!(both, [one("userPrincipalName", true, "o'hara@x"), one("thumbprint", true, "ab")]);
        assert_eq!(parse("userPrincipalName eq ''").unwrap(), [one("userPrincipalName", false, "")]);
        assert!(both[0].holds("O'Hara@X") && !one("thumbprint", false, "ab").holds("AB"));
    }

    #[test]
    fn an_apostrophe_that_is_not_doubled_is_an_error() {
        for bad in [
            "upn eq 'o'hara'",
            "upn eq 'o",
            "upn eq o",
            "upn",
            "",
            "upn ne 'x'",
            "upn eq 'x' or upn eq 'y'",
            "tolower(upn eq 'x'",
            "upn eq 'x' and ",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
