//! Rules of the form `METHOD[,METHOD] PATTERN`: what a route or a key allows and denies (contract.md 3 "Rules").
//!
//! `*` is one segment; `**` at the end is the place itself and everything below it. A trailing slash makes no
//! difference, so `/api/v1/lead/**` covers `/api/v1/lead/` as well. Segments are compared decoded: a rule that names
//! `a@b` covers `a%40b`, and `%2A` is how a rule names a star.

use std::fmt;

use http::Method;

use crate::path::{DecisionPath, PathFault, RequestPath};

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// Not of the form `METHOD[,METHOD] PATTERN`.
    #[error("a rule is `METHOD[,METHOD] PATTERN`, such as `GET,HEAD /api/v1/lead/**`")]
    Malformed,
    /// A method that is not written in capitals.
    #[error("a rule's methods are words in capitals, such as `GET,HEAD`, or `*` for any")]
    Method,
    /// `**` before the end, or a `*` beside other characters of a segment.
    #[error("in a rule's pattern `*` is a whole segment, and `**` stands at the end")]
    Wildcard,
    /// A pattern that no request's path can be.
    #[error("a rule's pattern is a path that a request may have: {0}")]
    Path(#[from] PathFault),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As it was written.
    text: String,
    /// Empty: any.
    methods: Vec<Method>,
    /// The segments before the first star, decoded, each behind its slash.
    lead: String,
    /// Those from there on.
    rest: Vec<Segment>,
    /// Whether what lies below matches too.
    below: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Any,
    Literal(String),
}

/// The rules of one route or key: `deny` wins over `allow`; with any `allow` the rest is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is permitted; empty: everything.
    pub allow: Vec<Rule>,
    /// What is refused, whatever `allow` says.
    pub deny: Vec<Rule>,
}

/// What the rules of one route or key say of a request, and which of them says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling<R> {
    /// This `deny` covers it.
    Denied(R),
    /// There is an `allow`, and none covers it.
    Unlisted,
    /// This `allow` covers it.
    Allowed(R),
    /// No `deny` covers it, and there is no `allow`.
    Unruled,
}

impl Rule {
    /// Parses `GET,HEAD /api/v1/**` or `* /api/v1/lead/*`.
    pub fn parse(text: &str) -> Result<Self, RuleFault> {
        let (methods, pattern) = text.split_once(' ').ok_or(RuleFault::Malformed)?;
        let methods = parse_methods(methods)?;
        RequestPath::parse(pattern)?;
        let mut segments: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
        let below = segments.last() == Some(&"**");
        if below {
            segments.pop();
        }
        let (mut lead, mut rest) = (String::new(), Vec::new());
        for segment in segments {
            match parse_segment(segment)? {
                Segment::Literal(literal) if rest.is_empty() => lead.extend(["/", &literal]),
                segment => rest.push(segment),
            }
        }
        Ok(Self { text: text.to_owned(), methods, lead, rest, below })
    }

    fn covers(&self, method: &Method, path: &DecisionPath<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(method)) && self.covers_path(path)
    }

    fn covers_path(&self, path: &DecisionPath<'_>) -> bool {
        let Some(behind) = path.as_str().strip_prefix(self.lead.as_str()) else { return false };
        // The last segment of the lead may be the beginning of a longer one.
        if !behind.is_empty() && !behind.starts_with('/') {
            return false;
        }
        let mut asked = behind.split('/').filter(|segment| !segment.is_empty());
        for segment in &self.rest {
            let fits = asked.next().is_some_and(|asked| match segment {
                Segment::Any => true,
                Segment::Literal(literal) => literal == asked,
            });
            if !fits {
                return false;
            }
        }
        self.below || asked.next().is_none()
    }
}

fn parse_methods(text: &str) -> Result<Vec<Method>, RuleFault> {
    if text == "*" {
        return Ok(Vec::new());
    }
    let parse = |word: &str| {
        let capitals = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let method = if capitals { Method::from_bytes(word.as_bytes()).ok() } else { None };
        method.ok_or(RuleFault::Method)
    };
    text.split(',').map(parse).collect()
}

fn parse_segment(segment: &str) -> Result<Segment, RuleFault> {
    match segment {
        "*" => Ok(Segment::Any),
        literal if literal.contains('*') => Err(RuleFault::Wildcard),
        literal => Ok(Segment::Literal(DecisionPath::of(literal).as_str().to_owned())),
    }
}

impl Rules {
    /// Judges the method on the path, as the upstream sees it.
    pub fn judge<'r>(&'r self, method: &Method, path: &DecisionPath<'_>) -> Ruling<&'r Rule> {
        let covering = |rules: &'r [Rule]| rules.iter().find(|rule| rule.covers(method, path));
        if let Some(rule) = covering(&self.deny) {
            return Ruling::Denied(rule);
        }
        match covering(&self.allow) {
            Some(rule) => Ruling::Allowed(rule),
            None if self.allow.is_empty() => Ruling::Unruled,
            None => Ruling::Unlisted,
        }
    }
}

impl Ruling<&Rule> {
    /// Whether the request is permitted.
    pub fn permits(self) -> bool {
        match self {
            Self::Allowed(_) | Self::Unruled => true,
            Self::Denied(_) | Self::Unlisted => false,
        }
    }

    /// The same with a rule of its own.
    pub fn cloned(self) -> Ruling<Rule> {
        match self {
            Self::Denied(rule) => Ruling::Denied(rule.clone()),
            Self::Unlisted => Ruling::Unlisted,
            Self::Allowed(rule) => Ruling::Allowed(rule.clone()),
            Self::Unruled => Ruling::Unruled,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(allow: &[&str], deny: &[&str], method: Method, path: &str) -> bool {
        let parse = |rules: &[&str]| rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect();
        Rules { allow: parse(allow), deny: parse(deny) }.judge(&method, &DecisionPath::of(path)).permits()
    }

    #[test]
    fn a_pattern_covers_whole_segments() {
        let lead = ["GET,HEAD /api/v1/lead/**"];
        for path in ["/api/v1/lead", "/api/v1/lead/", "/api//v1/lead//lead_1/", "/api/v1/lead/a/b"] {
            assert!(permits(&lead, &[], Method::GET, path), "{path}");
        }
        for path in ["/api/v1/leads", "/api/v1", "/", "/API/v1/lead", "/x/api/v1/lead"] {
            assert!(!permits(&lead, &[], Method::GET, path), "{path}");
        }
        assert!(!permits(&lead, &[], Method::PUT, "/api/v1/lead"));
        assert!(permits(&["* /api/*/lead"], &[], Method::DELETE, "/api/v2/lead/"));
        assert!(!permits(&["* /api/*/lead"], &[], Method::DELETE, "/api/lead"));
        assert!(permits(&["* /**"], &[], Method::DELETE, "/"));
        assert!(permits(&["* /"], &[], Method::GET, "/") && !permits(&["* /"], &[], Method::GET, "/a"));
    }

    /// security.md 22: the upstream decodes what it is sent, so a rule must not be got round by another encoding.
    #[test]
    fn no_encoding_gets_round_a_rule() {
        for path in ["/u/a@b+c", "/u/a%40b+c/", "/u//a%40b%2bc", "/u/a%40b%2Bc"] {
            assert!(!permits(&[], &["* /u/a@b+c"], Method::GET, path), "{path}");
            assert!(!permits(&[], &["* /u/a%40b%2bc"], Method::GET, path), "{path}");
        }
        assert!(!permits(&[], &["* /caf%C3%A9"], Method::GET, "/caf%c3%a9"));
        assert!(!permits(&[], &["* /%2A"], Method::GET, "/*"));
        assert!(permits(&[], &["* /%2A"], Method::GET, "/a"));
    }

    #[test]
    fn deny_wins_and_an_allow_refuses_the_rest() {
        assert!(permits(&[], &[], Method::GET, "/a"));
        assert!(!permits(&["* /**"], &["* /a/**"], Method::GET, "/a/b"));
        assert!(permits(&[], &["* /a/**"], Method::GET, "/b"));
        assert!(!permits(&["GET /a"], &[], Method::GET, "/b"));
    }

    #[test]
    fn a_ruling_names_its_rule() {
        let parse = |rules: &[&str]| rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect::<Vec<_>>();
        let rules = Rules { allow: parse(&["GET /a/**", "GET /b", "* /**"]), deny: parse(&["* /a/b", "* /b"]) };
        let judge = |path| rules.judge(&Method::GET, &DecisionPath::of(path));
        assert_eq!(judge("/a/b/"), Ruling::Denied(&rules.deny[0]));
        assert_eq!(judge("/a/c"), Ruling::Allowed(&rules.allow[0]));
        assert_eq!(judge("/c"), Ruling::Allowed(&rules.allow[2]));
        let one = Rules { allow: parse(&["GET /a"]), deny: Vec::new() };
        assert_eq!(one.judge(&Method::GET, &DecisionPath::of("/b")), Ruling::Unlisted);
        assert_eq!(Rules::default().judge(&Method::GET, &DecisionPath::of("/b")), Ruling::Unruled);
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (text, fault) in [
            ("", RuleFault::Malformed),
            ("GET", RuleFault::Malformed),
            ("get /a", RuleFault::Method),
            ("GET, /a", RuleFault::Method),
            ("GET a", RuleFault::Path(PathFault::Relative)),
            ("GET  /a", RuleFault::Path(PathFault::Relative)),
            ("GET /a/../b", RuleFault::Path(PathFault::DotSegment)),
            ("GET /**/a", RuleFault::Wildcard),
            ("GET /a*", RuleFault::Wildcard),
        ] {
            assert_eq!(Rule::parse(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn a_rule_prints_as_it_is_read() {
        for text in ["GET,HEAD /api/v1/**", "* /api/*/lead", "* /", "* /**", "* /a%2A/"] {
            assert_eq!(Rule::parse(text).unwrap().to_string(), text);
        }
    }
}
