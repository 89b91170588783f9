//! The records that every simulated organisation begins with.

use serde_json::{Value, json};

use super::ids::Ids;
use super::records::{Fields, Organisation, Resource};

/// An organisation with a few leads, and for each a contact, an opportunity, a note and a call.
pub(super) fn organisation(name: &str, ids: &mut Ids) -> Organisation {
    let mut organisation = Organisation::new(name, ids);
    for (at, (company, person, value)) in COMPANIES.into_iter().enumerate() {
        add_lead(&mut organisation, ids, at, company, person, value);
    }
    organisation
}

fn add_lead(to: &mut Organisation, ids: &mut Ids, at: usize, company: &str, person: &str, value: u32) {
    let host = format!("{}.example", company.split(' ').next().unwrap_or_default().to_lowercase());
    let user = person.split(' ').next().unwrap_or_default().to_lowercase();
    let lead = json!({
        "name": company,
        "url": format!("https://{host}/"),
        "description": format!("{company} came through the web form."),
        "status_id": to.lead_statuses.id(at % 4),
    });
    let lead = to.insert(Resource::Lead, fields(lead), ids);
    let contact = json!({
        "lead_id": lead,
        "name": person,
        "title": "Head of Operations",
        "emails": [{ "email": format!("{user}@{host}"), "type": "office" }],
        "phones": [{ "phone": format!("+1202555{:04}", 100 + at), "type": "office" }],
    });
    let contact = to.insert(Resource::Contact, fields(contact), ids);
    let status = to.opportunity_statuses.id(at % 3);
    let opportunity = json!({ "lead_id": lead, "contact_id": contact, "value": value * 100, "status_id": status });
    to.insert(Resource::Opportunity, fields(opportunity), ids);
    to.insert(Resource::Note, fields(json!({ "lead_id": lead, "note": format!("Spoke with {person}.") })), ids);
    to.insert(Resource::Call, fields(json!({ "lead_id": lead, "contact_id": contact, "duration": 312 })), ids);
}

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

/// Name of the company, a person there, and what the opportunity is worth in dollars.
const COMPANIES: [(&str, &str, u32); 5] = [
    ("Bluth Company", "Tobias Fünke", 12_000),
    ("Wayne Enterprises", "Lucius Fox", 480_000),
    ("Acme Corporation", "Marvin Martian", 7_500),
    ("Initech", "Peter Gibbons", 31_000),
    ("Tyrell Corporation", "Rachael Rosen", 95_000),
];
