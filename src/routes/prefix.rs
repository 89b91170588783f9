//! The longest prefix at a segment boundary, at a cost that does not grow with the number of routes.

use std::collections::HashMap;
use std::sync::Arc;

use super::Route;
use crate::id::RouteName;
use crate::path::RequestPath;

/// All routes.
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    by_prefix: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    by_name: HashMap<RouteName, u32>,
    root: Option<u32>,
    /// Most segments of a prefix.
    depth: usize,
}

/// A route and what follows its prefix.
#[derive(Debug)]
pub struct Match<'t, 'p> {
    /// The route.
    pub route: &'t Arc<Route>,
    /// The path after the prefix: empty, or it begins with a slash.
    pub rest: &'p str,
}

/// A path repeats a slash inside the prefix of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubled {
    /// The route that somebody else would read in it, by its place in the table.
    pub meant: Option<u32>,
}

impl RouteTable {
    /// A table of routes in the order of their indexes; the configuration has found the prefixes unique.
    pub fn new(routes: Vec<Route>) -> Self {
        let mut table = Self {
            routes: Vec::with_capacity(routes.len()),
            by_prefix: HashMap::default(),
            by_name: HashMap::new(),
            root: None,
            depth: 0,
        };
        for (index, route) in (0..).zip(routes) {
            let prefix = route.prefix.as_str();
            if route.prefix.is_root() {
                table.root = Some(index);
            } else {
                table.depth = table.depth.max(prefix.matches('/').count());
                table.by_prefix.insert(prefix.into(), index);
            }
            table.by_name.insert(route.name.clone(), index);
            table.routes.push(Arc::new(route));
        }
        table
    }

    /// The route with the longest prefix of the path, if any.
    ///
    /// A repeated slash before the end of a prefix is a fault: somebody else would read it as the prefix.
    pub fn find<'t, 'p>(&'t self, path: RequestPath<'p>) -> Result<Option<Match<'t, 'p>>, Doubled> {
        let found = self.longest(path.as_str());
        if path.has_repeated_slashes() {
            let collapsed = crate::path::DecisionPath::of(path.as_str());
            let meant = self.longest(collapsed.as_str());
            let [found, meant] = [&found, &meant].map(|one| one.as_ref().map(|one| one.route.index));
            if found != meant {
                return Err(Doubled { meant });
            }
        }
        Ok(found)
    }

    fn longest<'t, 'p>(&'t self, path: &'p str) -> Option<Match<'t, 'p>> {
        let mut longest = None;
        // Every boundary that a prefix may end at: before each further slash, and the end.
        let ends = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]).take(self.depth) {
            if let Some(index) = self.by_prefix.get(&path[..end]) {
                longest = Some((*index, end));
            }
        }
        let (index, end) = longest.or(self.root.map(|root| (root, 0)))?;
        Some(Match { route: &self.routes[index as usize], rest: &path[end..] })
    }

    /// The route that a path seems to lead to which is not known to be canonical: nothing is sent there for it.
    pub fn guess(&self, path: &str) -> Option<&Arc<Route>> {
        self.longest(path).map(|found| found.route)
    }

    /// The route of a name.
    pub fn named(&self, name: &RouteName) -> Option<&Arc<Route>> {
        self.by_index(*self.by_name.get(name)?)
    }

    /// The route at a place of the table.
    pub fn by_index(&self, index: u32) -> Option<&Arc<Route>> {
        self.routes.get(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::route;
    use super::*;

    fn find<'p>(table: &RouteTable, path: &'p str) -> Result<Option<(u32, &'p str)>, Doubled> {
        let found = table.find(RequestPath::parse(path).unwrap())?;
        Ok(found.map(|found| (found.route.index, found.rest)))
    }

    fn table(prefixes: &[&str]) -> RouteTable {
        RouteTable::new((0..).zip(prefixes).map(|(index, prefix)| route(index, prefix, "https://h")).collect())
    }

    #[test]
    fn the_longest_prefix_at_a_segment_boundary_wins() {
        let table = table(&["/sales", "/sales/eu", "/s"]);
        assert_eq!(find(&table, "/sales/api/"), Ok(Some((0, "/api/"))));
        assert_eq!(find(&table, "/sales/eu/api"), Ok(Some((1, "/api"))));
        assert_eq!(find(&table, "/sales/eu"), Ok(Some((1, ""))));
        assert_eq!(find(&table, "/sales/europe"), Ok(Some((0, "/europe"))));
        assert_eq!(find(&table, "/salesx"), Ok(None));
        assert_eq!(find(&table, "/S/x"), Ok(None));
        assert_eq!(find(&table, "/"), Ok(None));
    }

    #[test]
    fn repeated_slashes_stand_after_the_prefix_only() {
        let table = table(&["/sales", "/sales/eu"]);
        assert_eq!(find(&table, "/sales//api//v1"), Ok(Some((0, "//api//v1"))));
        assert_eq!(find(&table, "//sales/api"), Err(Doubled { meant: Some(0) }));
        assert_eq!(find(&table, "/sales//eu/api"), Err(Doubled { meant: Some(1) }));
    }

    #[test]
    fn the_root_takes_what_nobody_else_does() {
        let table = table(&["/", "/sales"]);
        assert_eq!(find(&table, "/api/v1/me/"), Ok(Some((0, "/api/v1/me/"))));
        assert_eq!(find(&table, "/"), Ok(Some((0, "/"))));
        assert_eq!(find(&table, "/sales"), Ok(Some((1, ""))));
        assert_eq!(find(&table, "//api"), Ok(Some((0, "//api"))));
        assert_eq!(find(&table, "//sales"), Err(Doubled { meant: Some(1) }));
    }

    #[test]
    fn ten_thousand_routes_are_each_found() {
        let prefixes: Vec<String> = (0..10_000).map(|number| format!("/team-{number}")).collect();
        let table = table(&prefixes.iter().map(String::as_str).collect::<Vec<_>>());
        for (index, prefix) in (0..).zip(&prefixes) {
            assert_eq!(find(&table, &format!("{prefix}/x")), Ok(Some((index, "/x"))));
        }
        assert_eq!(find(&table, "/team-10000/x"), Ok(None));
    }
}
