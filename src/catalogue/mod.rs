//! The catalogue: Close's documented operations, found by method and path without an allocation.
//!
//! A literal segment wins over a parameter. What is not in the table is not an error: Close has undocumented paths.

use std::sync::LazyLock;

use http::Method;

use crate::path::DecisionPath;

/// One documented operation.
#[derive(Debug)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// The path template, such as `/api/v1/lead/{id}/`: what metrics and records call the operation.
    pub endpoint: &'static str,
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

    /// The operation that a method on a path is, if it is documented.
    pub fn lookup(&self, method: &Method, path: &DecisionPath<'_>) -> Option<&Operation> {
        let text = path.as_str();
        self.descend(0, text.strip_prefix('/')?, method)
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
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.split('\t');
            if let (Some(method), Some(endpoint)) = (columns.next(), columns.next())
                && let Ok(method) = Method::from_bytes(method.as_bytes())
            {
                catalogue.add(method, endpoint);
            }
        }
        catalogue
    }

    fn add(&mut self, method: Method, endpoint: &'static str) {
        let mut at = 0;
        for segment in endpoint.split('/').filter(|segment| !segment.is_empty()) {
            at = self.child(at, segment);
        }
        self.nodes[at].operations.push(self.operations.len());
        self.operations.push(Operation { method, endpoint });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_under_its_own_path() {
        let close = Catalogue::close();
        assert_eq!(close.operations().count(), 290);
        for operation in close.operations() {
            let path = operation.endpoint.replace(['{', '}'], "");
            let found = close.lookup(&operation.method, &DecisionPath::of(&path)).unwrap();
            assert_eq!((&found.method, found.endpoint), (&operation.method, operation.endpoint));
        }
    }

    #[test]
    fn a_literal_wins_over_a_parameter_and_what_is_unknown_is_not_found() {
        let found =
            |method, path: &str| Catalogue::close().lookup(&method, &DecisionPath::of(path)).map(|o| o.endpoint);
        assert_eq!(found(Method::GET, "/api/v1//lead//lead_1"), Some("/api/v1/lead/{id}/"));
        assert_eq!(found(Method::POST, "/api/v1/lead/merge/"), Some("/api/v1/lead/merge/"));
        assert_eq!(found(Method::GET, "/api/v1/me"), Some("/api/v1/me/"));
        assert_eq!(found(Method::PATCH, "/api/v1/me"), None);
        assert_eq!(found(Method::GET, "/api/v1/no/such/thing"), None);
        assert_eq!(found(Method::GET, "/"), None);
    }
}
