//! What Close finds wrong with a body, in the nested shape of its `field-errors` (close-api.md 4.2).

use serde_json::{Value, json};

use super::ids::Ids;
use super::records::Fields;

/// Whether a record is made or changed: a change need not name what is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Create,
    Update,
}

/// The statuses that a lead or an opportunity can have.
pub(super) struct Choices(Vec<(String, &'static str)>);

impl Choices {
    pub(super) fn new(labels: &[&'static str], ids: &mut Ids) -> Self {
        Self(labels.iter().map(|label| (ids.object("stat"), *label)).collect())
    }

    /// The id of the one that new records get.
    pub(super) fn first(&self) -> Option<&str> {
        self.id(0)
    }

    /// The id of one by its place.
    pub(super) fn id(&self, at: usize) -> Option<&str> {
        self.0.get(at).map(|(id, _)| id.as_str())
    }

    /// The label of an id.
    pub(super) fn label(&self, id: &str) -> Option<&'static str> {
        self.0.iter().find(|(each, _)| each == id).map(|(_, label)| *label)
    }
}

/// The faults of a lead and of the contacts that come with it.
pub(super) fn lead(fields: &Fields, statuses: &Choices) -> Fields {
    let mut faults = Fields::new();
    expect(fields, "name", &mut faults, Value::is_string, "This field must be a string.");
    expect(fields, "description", &mut faults, Value::is_string, "This field must be a string.");
    status(fields, statuses, &mut faults);
    items(fields, "contacts", &mut faults, contact);
    faults
}

/// The faults of a contact.
pub(super) fn contact(fields: &Fields) -> Fields {
    let mut faults = Fields::new();
    expect(fields, "name", &mut faults, Value::is_string, "This field must be a string.");
    items(fields, "emails", &mut faults, email);
    faults
}

/// The faults of an opportunity.
pub(super) fn opportunity(fields: &Fields, statuses: &Choices, mode: Mode) -> Fields {
    let mut faults = Fields::new();
    require(fields, "lead_id", mode, &mut faults);
    expect(fields, "value", &mut faults, Value::is_i64, "Value must be an integer.");
    let is_percentage = |value: &Value| value.as_u64().is_some_and(|value| value <= 100);
    expect(fields, "confidence", &mut faults, is_percentage, "Value must be between 0 and 100.");
    status(fields, statuses, &mut faults);
    faults
}

/// The faults of a note.
pub(super) fn note(fields: &Fields, mode: Mode) -> Fields {
    let mut faults = Fields::new();
    require(fields, "lead_id", mode, &mut faults);
    expect(fields, "note", &mut faults, Value::is_string, "This field must be a string.");
    faults
}

fn email(fields: &Fields) -> Fields {
    let mut faults = Fields::new();
    let is_address = |value: &Value| {
        let parts = value.as_str().and_then(|text| text.split_once('@'));
        parts.is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('@'))
    };
    expect(fields, "email", &mut faults, is_address, "Invalid email address.");
    faults
}

fn status(fields: &Fields, statuses: &Choices, faults: &mut Fields) {
    let is_choice = |value: &Value| value.as_str().is_some_and(|id| statuses.label(id).is_some());
    expect(fields, "status_id", faults, is_choice, "Not a valid choice.");
}

fn require(fields: &Fields, name: &str, mode: Mode, faults: &mut Fields) {
    if mode == Mode::Create && !fields.contains_key(name) {
        faults.insert(name.to_owned(), "This field is required.".into());
    }
}

/// Notes a fault when a field is there, is not null, and is not what it should be.
fn expect(fields: &Fields, name: &str, faults: &mut Fields, is_right: impl Fn(&Value) -> bool, text: &str) {
    if fields.get(name).is_some_and(|value| !value.is_null() && !is_right(value)) {
        faults.insert(name.to_owned(), text.into());
    }
}

/// Notes the faults in the items of a list under their places: `{"errors": {"0": {"field-errors": …}}}`.
fn items(fields: &Fields, name: &str, faults: &mut Fields, check: impl Fn(&Fields) -> Fields) {
    expect(fields, name, faults, Value::is_array, "Value must be a list.");
    let items = fields.get(name).and_then(Value::as_array).into_iter().flatten();
    let wrong = items.enumerate().filter_map(|(at, item)| match item.as_object().map(&check) {
        Some(inner) if inner.is_empty() => None,
        Some(inner) => Some((at.to_string(), json!({ "errors": [], "field-errors": inner }))),
        None => Some((at.to_string(), "Value must be an object.".into())),
    });
    let wrong: Fields = wrong.collect();
    if !wrong.is_empty() {
        faults.insert(name.to_owned(), json!({ "errors": wrong }));
    }
}
