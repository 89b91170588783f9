//! The records of one simulated organisation: leads with their contacts, opportunities and activities, in memory.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ids::Ids;
use super::listing;
use super::params::Params;
use super::validate::{self, Choices};

/// The fields of a record.
pub(super) type Fields = Map<String, Value>;

/// What an endpoint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Lead,
    Contact,
    Opportunity,
    Note,
    Call,
    /// Notes and calls together: they can be listed, not written.
    Activity,
}

impl Resource {
    /// Whether a record of another resource appears under this one.
    fn covers(self, other: Self) -> bool {
        self == other || (self == Self::Activity && matches!(other, Self::Note | Self::Call))
    }

    /// Whether clients may create, change and delete it.
    pub(super) fn is_writable(self) -> bool {
        !matches!(self, Self::Activity | Self::Call)
    }

    fn id_prefix(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Contact => "cont",
            Self::Opportunity => "oppo",
            Self::Note | Self::Call | Self::Activity => "acti",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Lead => "Lead",
            Self::Contact => "Contact",
            Self::Opportunity => "Opportunity",
            Self::Note | Self::Call | Self::Activity => "Activity",
        }
    }
}

/// A refusal of a request: the status and the body that say so.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Failure {
    /// A 400 that blames no field.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, body: json!({ "error": text.into() }) }
    }

    fn fields(faults: &Fields) -> Self {
        Self { status: StatusCode::BAD_REQUEST, body: json!({ "errors": [], "field-errors": faults }) }
    }

    fn missing(resource: Resource) -> Self {
        let text = format!("Empty query: {} matching query does not exist.", resource.noun());
        Self { status: StatusCode::NOT_FOUND, body: json!({ "error": text }) }
    }
}

/// One record of any resource.
pub(super) struct Record {
    resource: Resource,
    pub(super) fields: Fields,
}

impl Record {
    /// A field as text; empty when it has none.
    pub(super) fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// One organisation, the user whose credentials open it, and its records in the order of their creation.
pub(super) struct Organisation {
    name: String,
    id: String,
    user_id: String,
    membership_id: String,
    pub(super) lead_statuses: Choices,
    pub(super) opportunity_statuses: Choices,
    records: Vec<Record>,
}

impl Organisation {
    /// An organisation without records.
    pub(super) fn new(name: &str, ids: &mut Ids) -> Self {
        Self {
            name: name.to_owned(),
            id: ids.object("orga"),
            user_id: ids.object("user"),
            membership_id: ids.object("memb"),
            lead_statuses: Choices::new(&["Potential", "Qualified", "Bad Fit", "Customer"], ids),
            opportunity_statuses: Choices::new(&["Active", "Won", "Lost"], ids),
            records: Vec::new(),
        }
    }

    /// Its id, and its user's.
    pub(super) fn identities(&self) -> (&str, &str) {
        (&self.id, &self.user_id)
    }

    /// The answer of `GET /me/`.
    pub(super) fn me(&self) -> Value {
        json!({
            "id": self.user_id,
            "email": format!("integration@{}.example", self.name),
            "first_name": "Integration",
            "last_name": self.name,
            "image": null,
            "date_created": "2024-01-08T09:00:00.000000+00:00",
            "organizations": [{ "id": self.id, "name": self.name }],
            "memberships": [{
                "id": self.membership_id,
                "organization_id": self.id,
                "organization_name": self.name,
                "role_id": "admin",
                "user_id": self.user_id,
            }],
        })
    }

    /// A page of records.
    pub(super) fn list(&self, resource: Resource, params: &Params) -> Result<Value, Failure> {
        let page = listing::Page::parse(params)?;
        let found = self.of(resource).filter(|record| listing::matches(record, params));
        Ok(page.cut(found.map(|record| self.view(record)).collect(), params.first("_fields")))
    }

    /// A page of what a search names (`POST /data/search/`).
    pub(super) fn search(&self, request: &Value) -> Result<Value, Failure> {
        let search = listing::Search::parse(request)?;
        let resource = match search.object_type.as_str() {
            "lead" => Resource::Lead,
            "contact" => Resource::Contact,
            "opportunity" => Resource::Opportunity,
            other => return Err(Failure::bad(format!("Unknown object type \"{other}\"."))),
        };
        let found = self.of(resource).filter(|record| search.matches(record));
        Ok(search.cut(found.map(|record| self.view(record)).collect()))
    }

    /// One record.
    pub(super) fn read(&self, resource: Resource, id: &str) -> Result<Value, Failure> {
        self.position(resource, id).map(|at| self.view(&self.records[at]))
    }

    /// Adds a record; a lead's contacts become records of their own, a contact without a lead gets one.
    pub(super) fn create(&mut self, resource: Resource, mut fields: Fields, ids: &mut Ids) -> Result<Value, Failure> {
        self.check(resource, &fields, validate::Mode::Create)?;
        if resource == Resource::Contact && !fields.contains_key("lead_id") {
            let lead = Fields::from_iter([("name".to_owned(), fields.get("name").cloned().unwrap_or_default())]);
            let lead = self.insert(Resource::Lead, lead, ids);
            fields.insert("lead_id".to_owned(), lead.into());
        }
        let contacts = if resource == Resource::Lead { fields.remove("contacts") } else { None };
        let id = self.insert(resource, fields, ids);
        for mut contact in contacts.into_iter().flat_map(objects) {
            contact.insert("lead_id".to_owned(), id.clone().into());
            self.insert(Resource::Contact, contact, ids);
        }
        self.read(resource, &id)
    }

    /// Changes the fields that are named; those that Close keeps are left alone.
    pub(super) fn update(&mut self, resource: Resource, id: &str, fields: Fields) -> Result<Value, Failure> {
        let at = self.position(resource, id)?;
        self.check(resource, &fields, validate::Mode::Update)?;
        let changes = fields.into_iter().filter(|(name, _)| !KEPT.contains(&name.as_str()));
        self.records[at].fields.extend(changes);
        self.records[at].fields.insert("date_updated".to_owned(), now().into());
        self.relabel(at);
        Ok(self.view(&self.records[at]))
    }

    /// Removes a record, and with a lead everything that belongs to it.
    pub(super) fn delete(&mut self, resource: Resource, id: &str) -> Result<Value, Failure> {
        let at = self.position(resource, id)?;
        self.records.remove(at);
        self.records.retain(|record| record.text("lead_id") != id);
        Ok(json!({}))
    }

    /// Adds a record that was found valid; its id.
    pub(super) fn insert(&mut self, resource: Resource, fields: Fields, ids: &mut Ids) -> String {
        let id = ids.object(resource.id_prefix());
        let mut record = Record { resource, fields: self.defaults(resource, &id) };
        record.fields.extend(fields.into_iter().filter(|(name, _)| !FIXED.contains(&name.as_str())));
        self.records.push(record);
        self.relabel(self.records.len() - 1);
        id
    }

    fn check(&self, resource: Resource, fields: &Fields, mode: validate::Mode) -> Result<(), Failure> {
        let mut faults = match resource {
            Resource::Lead => validate::lead(fields, &self.lead_statuses),
            Resource::Contact => validate::contact(fields),
            Resource::Opportunity => validate::opportunity(fields, &self.opportunity_statuses, mode),
            Resource::Note | Resource::Call | Resource::Activity => validate::note(fields, mode),
        };
        if let Some(lead) = fields.get("lead_id").and_then(Value::as_str)
            && self.position(Resource::Lead, lead).is_err()
        {
            faults.insert("lead_id".to_owned(), "Object does not exist.".into());
        }
        if faults.is_empty() { Ok(()) } else { Err(Failure::fields(&faults)) }
    }

    /// What a new record has before a client says anything.
    fn defaults(&self, resource: Resource, id: &str) -> Fields {
        let mut fields = Fields::new();
        let common = json!({
            "id": id, "organization_id": self.id, "created_by": self.user_id, "updated_by": self.user_id,
            "date_created": now(), "date_updated": now(),
        });
        let own = match resource {
            Resource::Lead => json!({
                "name": null, "description": "", "url": null, "addresses": [], "tasks": [], "custom": {},
                "html_url": format!("https://app.close.com/lead/{id}/"), "status_id": self.lead_statuses.first(),
            }),
            Resource::Contact => json!({ "name": "", "title": "", "emails": [], "phones": [], "urls": [] }),
            Resource::Opportunity => json!({
                "note": "", "value": null, "value_period": "one_time", "value_currency": "USD", "confidence": 50,
                "status_id": self.opportunity_statuses.first(), "date_won": null,
            }),
            Resource::Note => json!({ "_type": "Note", "note": "", "user_id": self.user_id }),
            Resource::Call | Resource::Activity => json!({
                "_type": "Call", "direction": "outbound", "duration": 0, "user_id": self.user_id,
                "recording_url": format!("https://api.close.com/call/{id}/recording/"),
            }),
        };
        [common, own].into_iter().flat_map(objects).for_each(|mut part| fields.append(&mut part));
        fields
    }

    /// Brings the fields in line that follow from others: a status' label, a name that is displayed.
    fn relabel(&mut self, at: usize) {
        let record = &self.records[at];
        let statuses = match record.resource {
            Resource::Lead => Some(&self.lead_statuses),
            Resource::Opportunity => Some(&self.opportunity_statuses),
            _ => None,
        };
        let label = statuses.and_then(|statuses| statuses.label(record.text("status_id"))).map(str::to_owned);
        let shown = record.text("name").to_owned();
        let record = &mut self.records[at];
        if let Some(label) = label {
            record.fields.insert("status_label".to_owned(), label.into());
        }
        if matches!(record.resource, Resource::Lead | Resource::Contact) {
            record.fields.insert("display_name".to_owned(), shown.into());
        }
    }

    /// A record as clients see it: a lead with its contacts and opportunities.
    fn view(&self, record: &Record) -> Value {
        let mut fields = record.fields.clone();
        if record.resource == Resource::Lead {
            for (name, resource) in [("contacts", Resource::Contact), ("opportunities", Resource::Opportunity)] {
                let children = self.of(resource).filter(|child| child.text("lead_id") == record.text("id"));
                fields.insert(name.to_owned(), children.map(|child| Value::Object(child.fields.clone())).collect());
            }
        }
        Value::Object(fields)
    }

    fn of(&self, resource: Resource) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| resource.covers(record.resource))
    }

    fn position(&self, resource: Resource, id: &str) -> Result<usize, Failure> {
        let found = self.records.iter().position(|each| resource.covers(each.resource) && each.text("id") == id);
        found.ok_or_else(|| Failure::missing(resource))
    }
}

/// The objects in a value: itself, or the items of a list.
fn objects(value: Value) -> Vec<Fields> {
    match value {
        Value::Object(fields) => vec![fields],
        Value::Array(items) => items.into_iter().flat_map(objects).collect(),
        _ => Vec::new(),
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// What no client sets.
const FIXED: [&str; 6] = ["id", "organization_id", "created_by", "date_created", "_type", "_params"];

/// What no update changes.
const KEPT: [&str; 9] =
    ["id", "organization_id", "created_by", "date_created", "_type", "_params", "lead_id", "contacts", "opportunities"];
