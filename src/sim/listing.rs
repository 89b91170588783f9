//! Pages of records: `_skip` and `_limit`, filters and `query` of lists, the cursor of searches (close-api.md 5.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::params::Params;
use super::records::{Failure, Record};

/// Which part of a list is wanted.
pub(super) struct Page {
    skip: usize,
    limit: usize,
}

impl Page {
    /// Reads `_skip` and `_limit`; what is no number or too large is a 400.
    pub(super) fn parse(params: &Params) -> Result<Self, Failure> {
        Ok(Self { skip: bounded(params, "skip", 0, MAX_SKIP)?, limit: bounded(params, "limit", 100, MAX_LIMIT)? })
    }

    /// The page of what was found, with only the fields that were asked for.
    pub(super) fn cut(&self, found: Vec<Value>, fields: Option<&str>) -> Value {
        let total = found.len();
        let page = found.into_iter().skip(self.skip).take(self.limit);
        let data: Vec<_> = page.map(|record| pick(record, fields)).collect();
        let has_more = self.skip.saturating_add(data.len()) < total && !data.is_empty();
        json!({ "data": data, "has_more": has_more, "total_results": total })
    }
}

fn bounded(params: &Params, name: &str, default: usize, most: usize) -> Result<usize, Failure> {
    let Some(text) = params.first(&format!("_{name}")) else { return Ok(default) };
    match text.parse() {
        Ok(number) if number <= most => Ok(number),
        Ok(_) => Err(Failure::bad(format!(
            "The {name} you set is larger than the maximum {name} for this resource (max_{name} = {most})."
        ))),
        Err(_) => Err(Failure::bad(format!("_{name} must be a non-negative integer (got \"{text}\" instead)."))),
    }
}

/// Whether a record passes the filters of a list: exact fields, and words of `query`.
pub(super) fn matches(record: &Record, params: &Params) -> bool {
    let exact = FILTERS.iter().all(|field| params.first(field).is_none_or(|value| record.text(field) == value));
    exact && params.first("query").is_none_or(|query| contains_all(record, query))
}

/// Whether every word stands somewhere in the record; `field:word` is read as the word.
fn contains_all(record: &Record, query: &str) -> bool {
    let text = Value::Object(record.fields.clone()).to_string().to_lowercase();
    let words = query.split_whitespace().map(|word| word.rsplit(':').next().unwrap_or(word).trim_matches('"'));
    words.filter(|word| !matches!(*word, "" | "*")).all(|word| text.contains(&word.to_lowercase()))
}

fn pick(record: Value, fields: Option<&str>) -> Value {
    match (record, fields) {
        (Value::Object(all), Some(fields)) => {
            let wanted = |name: &String| fields.split(',').any(|field| field.trim() == name);
            Value::Object(all.into_iter().filter(|(name, _)| wanted(name)).collect())
        }
        (record, _) => record,
    }
}

/// A request to `POST /data/search/`.
pub(super) struct Search {
    /// What kind of object is searched for.
    pub(super) object_type: String,
    text: Option<String>,
    offset: usize,
    limit: usize,
    fields: String,
}

impl Search {
    /// Reads query, cursor, limit and fields; a search without an object type is a 400.
    pub(super) fn parse(request: &Value) -> Result<Self, Failure> {
        let query = request.get("query").ok_or_else(|| Failure::bad("\"query\" is required."))?;
        let object_type = find(query, "object_type").ok_or_else(|| Failure::bad("\"object_type\" is required."))?;
        let fields = request.get("_fields").and_then(|fields| fields.get(object_type)).and_then(Value::as_array);
        let names: Vec<_> = fields.into_iter().flatten().filter_map(Value::as_str).chain(["id"]).collect();
        let offset = match request.get("cursor").and_then(Value::as_str) {
            Some(cursor) => parse_cursor(cursor).ok_or_else(|| Failure::bad("Invalid cursor."))?,
            None => 0,
        };
        let limit = request.get("_limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
        Ok(Self {
            object_type: object_type.to_owned(),
            text: find(query, "value").map(str::to_owned),
            offset,
            limit: limit.unwrap_or(50).min(MAX_LIMIT),
            fields: names.join(","),
        })
    }

    /// Whether a record has the text that is searched for.
    pub(super) fn matches(&self, record: &Record) -> bool {
        self.text.as_ref().is_none_or(|text| contains_all(record, text))
    }

    /// The page of what was found, and the cursor of the next one.
    pub(super) fn cut(&self, found: Vec<Value>) -> Value {
        let end = self.offset.saturating_add(self.limit);
        let cursor = (found.len() > end).then(|| URL_SAFE_NO_PAD.encode(end.to_string()));
        let page = found.into_iter().skip(self.offset).take(self.limit);
        let data: Vec<_> = page.map(|record| self.mark(pick(record, Some(&self.fields)))).collect();
        json!({ "data": data, "cursor": cursor })
    }

    fn mark(&self, record: Value) -> Value {
        let Value::Object(mut fields) = record else { return record };
        fields.insert("__object_type".to_owned(), self.object_type.clone().into());
        Value::Object(fields)
    }
}

/// The first text under a name, at any depth of a query.
fn find<'a>(query: &'a Value, name: &str) -> Option<&'a str> {
    match query {
        Value::Object(members) => {
            let here = members.get(name).and_then(Value::as_str);
            here.or_else(|| members.values().find_map(|inner| find(inner, name)))
        }
        Value::Array(items) => items.iter().find_map(|inner| find(inner, name)),
        _ => None,
    }
}

fn parse_cursor(cursor: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}

const MAX_SKIP: usize = 250_000;
const MAX_LIMIT: usize = 200;
const FILTERS: [&str; 4] = ["lead_id", "status_id", "status_label", "id"];
