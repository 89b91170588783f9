//! Rust source as a row of tokens: enough to follow paths and calls, without comments and with literals apart.

/// A token of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, `::`, or one sign.
    Code(String),
    /// What a string literal holds.
    Text(String),
}

impl Token {
    pub(super) fn is(&self, code: &str) -> bool {
        matches!(self, Self::Code(own) if own == code)
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Code(text) | Self::Text(text) => text,
        }
    }
}

/// Takes source apart.
pub(super) fn of(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => push_text(&mut tokens, rest, 1, string(rest), 1),
            'r' | 'b' | 'c' if raw_string(rest).is_some() => {
                let (open, end, close) = raw_string(rest).unwrap();
                push_text(&mut tokens, rest, open, end, close)
            }
            '\'' => quote(rest),
            ':' if rest.starts_with("::") => push_code(&mut tokens, rest, 2),
            word if is_word(word) => push_code(&mut tokens, rest, rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            space if space.is_whitespace() => space.len_utf8(),
            sign => push_code(&mut tokens, rest, sign.len_utf8()),
        };
        rest = &rest[length..];
    }
    tokens
}

/// Whether the token at a place is this code.
pub(super) fn is_at(tokens: &[Token], at: usize, code: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.is(code))
}

/// The first segments of what follows `crate::`: one name, or each of a group.
pub(super) fn first_segments(tokens: &[Token]) -> Vec<String> {
    if !is_at(tokens, 0, "{") {
        return tokens.first().map(|token| token.text().to_owned()).into_iter().collect();
    }
    let mut segments = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        if depth == 1 && at > 0 && (tokens[at - 1].is(",") || tokens[at - 1].is("{")) && !token.is("}") {
            segments.push(token.text().to_owned());
        }
        depth += nesting(token, "{", "}");
        if depth == 0 {
            break;
        }
    }
    segments
}

/// The tokens of a call's first argument, from behind its opening parenthesis.
pub(super) fn first_argument(tokens: &[Token]) -> impl Iterator<Item = &Token> {
    let mut depth = 1;
    tokens.iter().take_while(move |token| {
        depth += nesting(token, "(", ")");
        depth > 0 && !(depth == 1 && token.is(","))
    })
}

/// The tokens without the items behind `#[cfg(test)]`.
pub(super) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if MARK.iter().enumerate().all(|(place, code)| is_at(tokens, at + place, code)) {
            at += MARK.len() + item(&tokens[at + MARK.len()..]);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// How many tokens an item has: to its `;`, or to the end of its first block.
fn item(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        depth += nesting(token, "{", "}");
        if depth == 0 && (token.is(";") || token.is("}")) {
            return at + 1;
        }
    }
    tokens.len()
}

fn nesting(token: &Token, open: &str, close: &str) -> i32 {
    i32::from(token.is(open)) - i32::from(token.is(close))
}

/// How deep below the root of the crate a place in a file is, inline modules counted.
pub(super) struct Modules {
    file: usize,
    braces: i32,
    inline: Vec<i32>,
}

impl Modules {
    /// The depth of a file's own module.
    pub(super) fn below(file: usize) -> Self {
        Self { file, braces: 0, inline: Vec::new() }
    }

    /// Passes a token, in order.
    pub(super) fn pass(&mut self, tokens: &[Token], at: usize) {
        self.braces += nesting(&tokens[at], "{", "}");
        if tokens[at].is("{") && at >= 2 && tokens[at - 2].is("mod") {
            self.inline.push(self.braces);
        }
        self.inline.retain(|braces| *braces <= self.braces);
    }

    /// The depth at the token passed last.
    pub(super) fn now(&self) -> usize {
        self.file + self.inline.len()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn push_code(tokens: &mut Vec<Token>, rest: &str, length: usize) -> usize {
    tokens.push(Token::Code(rest[..length].to_owned()));
    length
}

fn push_text(tokens: &mut Vec<Token>, rest: &str, open: usize, end: usize, close: usize) -> usize {
    tokens.push(Token::Text(rest[open..end - close].to_owned()));
    end
}

/// Where a nested block comment ends.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    for (at, _) in rest.char_indices() {
        if rest[at..].starts_with("/*") {
            depth += 1;
        } else if rest[..at].ends_with("*/") && at > 2 {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    rest.len()
}

/// Where a string literal ends.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// Length of the opening, end, and length of the closing of a raw string literal, if one begins here.
fn raw_string(rest: &str) -> Option<(usize, usize, usize)> {
    let marked = rest.strip_prefix("br").or(rest.strip_prefix("cr")).or(rest.strip_prefix('r'))?;
    let body = marked.trim_start_matches('#').strip_prefix('"')?;
    let open = rest.len() - body.len();
    let hashes = marked.len() - body.len() - 1;
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&closing).map_or(rest.len(), |at| open + at + closing.len());
    Some((open, end, closing.len()))
}

/// Length of a character literal, or of the quote that begins a lifetime.
fn quote(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(rest.len(), |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
