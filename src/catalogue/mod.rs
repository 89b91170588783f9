//! The catalogue: Close's documented operations, found by method and path without an allocation.
//!
//! A literal segment wins over a parameter. What is not in the table is not an error: Close has undocumented paths, and
//! [`Catalogue::judge`] has a scope for each.

use std::sync::LazyLock;

use http::Method;

use crate::path::DecisionPath;
use crate::scope::Scope;

/// One documented operation.
#[derive(Debug)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// The path template, such as `/api/v1/lead/{id}/`: what metrics and records call the operation.
    pub endpoint: &'static str,
    /// What Close limits together, such as `lead.read`; `operations.tsv` says how the groups were chosen.
    pub group: &'static str,
    /// The scope that it takes.
    pub demand: Demand,
}

/// The scope that an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// This one, whatever its body says.
    Fixed(Scope),
    /// The body decides: `send` where its `status` is `outbox` or `scheduled`, and where that cannot be read; else `write`.
    ByStatus,
}

/// What the catalogue says of a method on a path, documented or not.
#[derive(Debug, Clone, Copy)]
pub struct Judgement {
    /// The operation, if it is documented.
    pub operation: Option<&'static Operation>,
    /// The scope that it takes.
    pub demand: Demand,
}

/// All documented operations, as a tree of segments.
pub struct Catalogue {
    operations: Vec<Operation>,
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    literals: Vec<(&'static str, usize)>,
    parameter: Option<usize>,
    operations: Vec<usize>,
}

static CLOSE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read(include_str!("operations.tsv")));

impl Catalogue {
    /// The operations of Close's API.
    pub fn close() -> &'static Self {
        &CLOSE
    }

    /// The operation that a method on a path is, if it is documented. HEAD is the GET of which it asks the head.
    pub fn lookup(&self, method: &Method, path: &DecisionPath<'_>) -> Option<&Operation> {
        let text = path.as_str();
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.descend(0, text.strip_prefix('/')?, method)
    }

    /// What the catalogue says of a method on a path (contract.md 4 "Decision"): what it does not know is `read` for GET
    /// and HEAD, and `admin` for the rest.
    pub fn judge(&'static self, method: &Method, path: &DecisionPath<'_>) -> Judgement {
        let operation = self.lookup(method, path);
        let demand = operation.map_or_else(|| Demand::Fixed(undocumented(method, path)), |found| found.demand);
        Judgement { operation, demand }
    }

    /// All operations, by path.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter()
    }

    fn descend(&self, node: usize, rest: &str, method: &Method) -> Option<&Operation> {
        let node = &self.nodes[node];
        if rest.is_empty() {
            return node.operations.iter().map(|at| &self.operations[*at]).find(|found| found.method == *method);
        }
        let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        let (segment, after) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
        let literal = node.literals.binary_search_by_key(&segment, |(name, _)| name).ok().map(|at| node.literals[at].1);
        let by_literal = literal.and_then(|child| self.descend(child, after, method));
        by_literal.or_else(|| node.parameter.and_then(|child| self.descend(child, after, method)))
    }

    fn read(table: &'static str) -> Self {
        let mut catalogue = Self { operations: Vec::new(), nodes: vec![Node::default()] };
        for operation in table.lines().filter_map(Operation::parse) {
            catalogue.add(operation);
        }
        catalogue
    }

    fn add(&mut self, operation: Operation) {
        let mut at = 0;
        for segment in operation.endpoint.split('/').filter(|segment| !segment.is_empty()) {
            at = self.child(at, segment);
        }
        self.nodes[at].operations.push(self.operations.len());
        self.operations.push(operation);
    }

    fn child(&mut self, parent: usize, segment: &'static str) -> usize {
        let fresh = self.nodes.len();
        let node = &mut self.nodes[parent];
        let child = if segment.starts_with('{') {
            *node.parameter.get_or_insert(fresh)
        } else {
            match node.literals.binary_search_by_key(&segment, |(name, _)| name) {
                Ok(at) => node.literals[at].1,
                Err(at) => {
                    node.literals.insert(at, (segment, fresh));
                    fresh
                }
            }
        };
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }
}

impl Operation {
    /// A line of the table: method, path template, group, scope. Comments are none.
    fn parse(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t');
        let mut column = || columns.next().filter(|text| !text.is_empty());
        let (method, endpoint, group, demand) = (column()?, column()?, column()?, column()?);
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        Some(Self { method, endpoint, group, demand: Demand::parse(demand)? })
    }
}

impl Demand {
    fn parse(text: &str) -> Option<Self> {
        if text == Self::ByStatus.as_str() { Some(Self::ByStatus) } else { Scope::parse(text).map(Self::Fixed) }
    }

    /// The scope that it takes where nothing is known of the body.
    pub const fn strictest(self) -> Scope {
        match self {
            Self::Fixed(scope) => scope,
            Self::ByStatus => Scope::Send,
        }
    }

    /// `read` and so on; `write|send` where the body decides.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fixed(scope) => scope.as_str(),
            Self::ByStatus => "write|send",
        }
    }
}

impl Judgement {
    /// The group in which Close limits it; what is undocumented shares two.
    pub fn group(&self, method: &Method) -> &'static str {
        match self.operation {
            Some(operation) => operation.group,
            None if *method == Method::GET || *method == Method::HEAD => "undocumented.read",
            None => "undocumented.write",
        }
    }
}

/// Below `/api/v1/export` nothing is merely read, however it is spelled: whether Close regards case is not known.
fn undocumented(method: &Method, path: &DecisionPath<'_>) -> Scope {
    let export = path.as_str().as_bytes().get(..EXPORT.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(EXPORT));
    match *method {
        Method::GET | Method::HEAD if export => Scope::Export,
        Method::GET | Method::HEAD => Scope::Read,
        _ => Scope::Admin,
    }
}

const EXPORT: &[u8] = b"/api/v1/export/";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn judged(method: &str, path: &str) -> &'static str {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Catalogue::close().judge(&method, &DecisionPath::of(path)).demand.as_str()
    }

    #[test]
    fn every_operation_is_found_under_its_own_path() {
        let close = Catalogue::close();
        assert_eq!(close.operations().count(), 294);
        for operation in close.operations() {
            let path = operation.endpoint.replace(['{', '}'], "");
            let found = close.lookup(&operation.method, &DecisionPath::of(&path)).unwrap();
            assert_eq!((&found.method, found.endpoint), (&operation.method, operation.endpoint));
        }
    }

    #[test]
    fn every_line_of_the_table_is_an_operation() {
        let lines = include_str!("operations.tsv").lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            assert!(Operation::parse(line).is_some(), "{line}");
        }
    }

    #[test]
    fn a_literal_wins_over_a_parameter_and_what_is_unknown_is_not_found() {
        let found =
            |method, path: &str| Catalogue::close().lookup(&method, &DecisionPath::of(path)).map(|o| o.endpoint);
        assert_eq!(found(Method::GET, "/api/v1//lead//lead_1"), Some("/api/v1/lead/{id}/"));
        assert_eq!(found(Method::POST, "/api/v1/lead/merge/"), Some("/api/v1/lead/merge/"));
        assert_eq!(found(Method::GET, "/api/v1/me"), Some("/api/v1/me/"));
        assert_eq!(found(Method::HEAD, "/api/v1/me"), Some("/api/v1/me/"));
        assert_eq!(found(Method::PATCH, "/api/v1/me"), None);
        assert_eq!(found(Method::GET, "/api/v1/no/such/thing"), None);
        assert_eq!(found(Method::GET, "/"), None);
    }

    /// contract.md 4 "Decision", clause by clause.
    #[test]
    fn scopes_are_those_of_the_contract() {
        for (scope, operations) in [
            (
                "read",
                "GET /api/v1/lead/, HEAD /api/v1/lead/x, POST /api/v1/data/search/, POST /api/v1/report/activity/, \
                 GET /api/v1/webhook/, GET /api/v1/membership/x/pinned_views, GET /api/v1/no/such, HEAD /",
            ),
            (
                "write",
                "POST /api/v1/lead/, PUT /api/v1/task/, POST /api/v1/bulk_action/edit/, PUT /api/v1/phone_number/x",
            ),
            ("write|send", "POST /api/v1/activity/email, PUT /api/v1/activity/sms/x, PUT /api/v1/activity/email/x"),
            (
                "send",
                "POST /api/v1/bulk_action/email/, POST /api/v1/bulk_action/sequence_subscription/, \
                 POST /api/v1/sequence_subscription/, PUT /api/v1/sequence_subscription/x, \
                 POST /api/v1/activity/whatsapp_message/, PUT /api/v1/activity/whatsapp_message/x",
            ),
            (
                "export",
                "GET /api/v1/export/, HEAD /api/v1/export/x, POST /api/v1/export/lead/, GET /api/v1/export/x/file, GET /API/v1/Export/x",
            ),
            (
                "delete",
                "DELETE /api/v1/lead/x, POST /api/v1/bulk_action/delete/, POST /api/v1/lead/merge/, \
                 DELETE /api/v1/activity/email/x",
            ),
            (
                "admin",
                "POST /api/v1/membership/, PUT /api/v1/membership/x, PUT /api/v1/organization/x, POST /api/v1/role/, \
                 DELETE /api/v1/role/x, PUT /api/v1/webhook/x, DELETE /api/v1/webhook/x, \
                 POST /api/v1/phone_number/request/internal/, POST /api/v1/enrich_field/, POST /api/v1/no/such, \
                 DELETE /api/v1/no/such, PATCH /api/v1/lead/x, OPTIONS /api/v1/lead/, FROB /, POST /api/v1/Lead/",
            ),
        ] {
            for operation in operations.split(", ") {
                let (method, path) = operation.trim().split_once(' ').unwrap();
                assert_eq!(judged(method, path), scope, "{operation}");
            }
        }
    }

    #[test]
    fn reading_and_changing_are_limited_apart() {
        let close = Catalogue::close();
        let kinds = |kind: &str| {
            let of_kind = close.operations().filter(|operation| operation.group.ends_with(kind));
            of_kind.map(|operation| operation.group).collect::<BTreeSet<_>>()
        };
        assert!(kinds(".read").len() > 50 && kinds(".write").len() > 50);
        for operation in close.operations() {
            let reads = operation.method == Method::GET || operation.demand == Demand::Fixed(Scope::Read);
            assert_eq!(operation.group.ends_with(".read"), reads, "{operation:?}");
        }
        let group = |method, path: &str| close.judge(&method, &DecisionPath::of(path)).group(&method);
        assert_eq!(group(Method::GET, "/api/v1/lead/x"), group(Method::GET, "/api/v1/lead"));
        assert_eq!(group(Method::POST, "/api/v1/no/such"), "undocumented.write");
        assert_eq!(group(Method::HEAD, "/api/v1/no/such"), "undocumented.read");
    }
}
