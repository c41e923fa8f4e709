//! A validator for the part of JSON Schema that our documents use. A keyword that it does not know is an error of the document, not a pass.
//!
//! It is stricter than the standard in one thing: a member that an object's `properties` do not list is an error unless
//! `additionalProperties` says otherwise. Readers must pass such members over; our own messages must not have any.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a helper that fails, fails its test")]

use serde_json::Value;

/// What is wrong with `value`, each with its place; empty when nothing is.
pub fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(document, schema, value, "$", &mut faults);
    faults
}

/// Follows `$ref`.
pub fn resolve<'a>(document: &'a Value, node: &'a Value) -> &'a Value {
    match node.get("$ref").and_then(Value::as_str) {
        Some(to) => document.pointer(to.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{to} leads nowhere")),
        None => node,
    }
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if schema.get("$ref").is_some() {
        assert_eq!(schema.as_object().unwrap().len(), 1, "a `$ref` stands alone: {schema}");
        return check(document, resolve(document, schema), value, at, faults);
    }
    let schema = schema.as_object().unwrap_or_else(|| panic!("a schema is an object: {schema}"));
    for (keyword, rule) in schema {
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{at}: {what} {rule}"));
            }
        };
        let count = || usize::try_from(rule.as_u64().unwrap()).unwrap();
        match keyword.as_str() {
            "description" | "title" => {}
            "type" => demand(is_type(rule.as_str().unwrap(), value), "is not of the type"),
            "enum" => demand(rule.as_array().unwrap().contains(value), "is none of"),
            "const" => demand(value == rule, "is not"),
            "minimum" => demand(value.as_u64().is_none_or(|number| number >= rule.as_u64().unwrap()), "is less than"),
            "minLength" => demand(value.as_str().is_none_or(|text| text.chars().count() >= count()), "is shorter than"),
            "maxLength" => demand(value.as_str().is_none_or(|text| text.chars().count() <= count()), "is longer than"),
            "minItems" => demand(value.as_array().is_none_or(|items| items.len() >= count()), "has fewer items than"),
            "maxItems" => demand(value.as_array().is_none_or(|items| items.len() <= count()), "has more items than"),
            "format" => demand(value.as_str().is_none_or(|text| has_format(rule.as_str().unwrap(), text)), "has not the format"),
            "contentEncoding" => demand(value.as_str().is_none_or(is_base64), "is not encoded as"),
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.as_object().is_some_and(|object| !object.contains_key(name.as_str().unwrap())) {
                        faults.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        check(document, schema, member, &format!("{at}.{name}"), faults);
                    }
                }
                if !schema.contains_key("additionalProperties") {
                    for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
                        if rule.get(name).is_none() {
                            faults.push(format!("{at}: {name:?} is not documented"));
                        }
                    }
                }
            }
            "additionalProperties" => {
                let known = |name: &str| schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
                for (name, member) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                    match rule {
                        Value::Bool(true) => {}
                        Value::Bool(false) => faults.push(format!("{at}: {name:?} is one too many")),
                        schema => check(document, schema, member, &format!("{at}.{name}"), faults),
                    }
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{at}[{number}]"), faults);
                }
            }
            "oneOf" => {
                let tried: Vec<Vec<String>> = rule.as_array().unwrap().iter().map(|schema| self::faults(document, schema, value)).collect();
                let fitting = tried.iter().filter(|faults| faults.is_empty()).count();
                // The nearest one tells most.
                let nearest = tried.iter().min_by_key(|faults| faults.len()).cloned().unwrap_or_default();
                if fitting != 1 {
                    faults.push(format!("{at}: {fitting} schemas fit instead of one; the nearest says {nearest:?}"));
                }
            }
            "not" => demand(!self::faults(document, rule, value).is_empty(), "is what it must not be:"),
            other => panic!("{at}: the validator does not know the keyword {other:?}"),
        }
    }
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("the validator does not know the type {other:?}"),
    }
}

fn has_format(name: &str, text: &str) -> bool {
    match name {
        // As RFC 3339 writes it in UTC or with an offset.
        "date-time" => chrono_like(text),
        "uuid" => {
            let digit = |(at, byte): (usize, u8)| if [8, 13, 18, 23].contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
            text.len() == 36 && text.bytes().enumerate().all(digit)
        }
        other => panic!("the validator does not know the format {other:?}"),
    }
}

fn chrono_like(text: &str) -> bool {
    let fits = |pattern: &str, text: &str| {
        text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(|(a, b)| if b == b'0' { a.is_ascii_digit() } else { a == b })
    };
    let Some((start, rest)) = text.split_at_checked(19) else { return false };
    let fraction = rest.bytes().skip(1).take_while(u8::is_ascii_digit).count();
    let offset = if rest.starts_with('.') && fraction > 0 { &rest[1 + fraction..] } else { rest };
    fits("0000-00-00T00:00:00", start) && (offset == "Z" || fits("+00:00", offset) || fits("-00:00", offset))
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

#[test]
fn the_validator_bites() {
    let document = serde_json::json!({"a": {"type": "string", "maxLength": 3}});
    let fails = |schema: Value, value: Value| !faults(&document, &schema, &value).is_empty();
    use serde_json::json;
    assert!(!fails(json!({"$ref": "#/a"}), json!("abc")));
    for (schema, value) in [
        (json!({"$ref": "#/a"}), json!("abcd")),
        (json!({"type": "integer"}), json!(1.5)),
        (json!({"type": "object", "required": ["x"]}), json!({})),
        (json!({"properties": {"x": {}}}), json!({"y": 1})),
        (json!({"properties": {"x": {"type": "string"}}}), json!({"x": 1})),
        (json!({"additionalProperties": false}), json!({"y": 1})),
        (json!({"additionalProperties": {"type": "string"}}), json!({"y": 1})),
        (json!({"items": {"type": "string"}}), json!([1])),
        (json!({"enum": ["a"]}), json!("b")),
        (json!({"const": "a"}), json!("b")),
        (json!({"oneOf": [{"const": 1}, {"const": 2}]}), json!(3)),
        (json!({"oneOf": [{"type": "integer"}, {"minimum": 2}]}), json!(3)),
        (json!({"not": {"const": 1}}), json!(1)),
        (json!({"minimum": 2}), json!(1)),
        (json!({"minLength": 2}), json!("a")),
        (json!({"minItems": 1}), json!([])),
        (json!({"maxItems": 0}), json!([1])),
        (json!({"format": "uuid"}), json!("x")),
        (json!({"format": "date-time"}), json!("2026-01-01 00:00:00Z")),
        (json!({"contentEncoding": "base64"}), json!("a-_=")),
    ] {
        assert!(fails(schema.clone(), value.clone()), "{schema} let {value} pass");
    }
    let unknown = std::panic::catch_unwind(|| faults(&document, &json!({"patern": "x"}), &json!("x")));
    assert!(unknown.is_err(), "an unknown keyword is no pass");
}
