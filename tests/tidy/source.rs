//! Rust text as the rules see it: code and comments of each line apart, paths with their groups spread out, and which
//! lines are tests.

/// One Rust file.
pub(crate) struct Source {
    /// Its path in the repository, with `/`.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) paths: Vec<Path>,
    /// Modules in files of their own that exist for tests only.
    pub(crate) test_modules: Vec<String>,
    /// The whole file is such a module.
    pub(crate) is_test: bool,
}

#[derive(Default)]
pub(crate) struct Line {
    /// Without comments, strings emptied.
    pub(crate) code: String,
    /// The text of its comment, with the slashes.
    pub(crate) comment: String,
    pub(crate) is_test: bool,
}

/// `a::b::c`, also out of `a::{b::c, d}`; a single word is one too.
#[derive(Debug, PartialEq)]
pub(crate) struct Path {
    /// Counted from 0.
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    /// How many inline modules it stands in.
    pub(crate) inline: usize,
}

#[derive(Clone, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Mark(char),
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut source = Self {
            path: path.into(),
            lines: split(text),
            paths: Vec::new(),
            test_modules: Vec::new(),
            is_test: false,
        };
        let tokens = source.tokens();
        source.mark_tests(&tokens);
        source.paths = paths(&tokens);
        source
    }

    /// The folder of `src` that it belongs to, or the name of a file that is a module of its own.
    pub(crate) fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        inside.split(['/', '.']).next().filter(|module| *module != "lib")
    }

    /// How many modules deep it is: 1 for a module of the crate root.
    pub(crate) fn depth(&self) -> usize {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path).trim_end_matches(".rs");
        inside.split('/').filter(|part| *part != "mod" && *part != "lib").count()
    }

    /// Where the file of its submodule `name` would be.
    pub(crate) fn submodule(&self, name: &str) -> [String; 2] {
        let base = self.path.trim_end_matches(".rs");
        let folder = base.strip_suffix("/mod").or_else(|| base.strip_suffix("/lib")).unwrap_or(base);
        [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]
    }

    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.lines[line].is_test
    }

    /// The module's text, `//!`.
    pub(crate) fn essay(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.comment.as_str()).filter(|comment| comment.starts_with("//!"))
    }

    fn tokens(&self) -> Vec<(usize, Token)> {
        let mut tokens = Vec::new();
        for (number, line) in self.lines.iter().enumerate() {
            let mut rest = line.code.trim_start();
            while let Some(first) = rest.chars().next() {
                let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let (token, len) = match first {
                    _ if word > 0 => (Token::Word(rest[..word].into()), word),
                    ':' if rest.starts_with("::") => (Token::Path, 2),
                    _ => (Token::Mark(first), first.len_utf8()),
                };
                tokens.push((number, token));
                rest = rest[len..].trim_start();
            }
        }
        tokens
    }

    /// Marks the lines of items under `#[cfg(test)]` and `#[cfg(all(test, …))]`.
    fn mark_tests(&mut self, tokens: &[(usize, Token)]) {
        let plain: Vec<Token> = tokens.iter().map(|(_, token)| token.clone()).collect();
        for start in (0..tokens.len()).filter(|start| plain[*start] == Token::Mark('#')) {
            let here: String = plain[start..].iter().take(7).map(Token::text).collect();
            if !here.starts_with("#[cfg(test)") && !here.starts_with("#[cfg(all(test") {
                continue;
            }
            let attribute = end_of_group(&plain, start + 1);
            let end = end_of_item(&plain, attribute + 1);
            for line in tokens[start].0..=tokens[end].0 {
                self.lines[line].is_test = true;
            }
            let item: Vec<String> = plain[attribute + 1..=end].iter().map(Token::text).collect();
            if let [.., module, name, last] = item.as_slice()
                && (module.as_str(), last.as_str()) == ("mod", ";")
            {
                self.test_modules.push(name.clone());
            }
        }
    }
}

impl Token {
    fn text(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Path => "::".into(),
            Self::Mark(mark) => mark.to_string(),
        }
    }

    fn word(&self) -> Option<&str> {
        if let Self::Word(word) = self { Some(word) } else { None }
    }
}

/// The end of the bracketed group that opens at `start`.
fn end_of_group(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            Token::Word(_) | Token::Path | Token::Mark(_) => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// The end of the item that begins at `start`: its semicolon, or its last brace.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    while index < tokens.len() {
        match &tokens[index] {
            Token::Mark(';') => return index,
            Token::Mark('{') => {
                let end = end_of_group(tokens, index);
                return if tokens.get(end + 1) == Some(&Token::Mark(';')) { end + 1 } else { end };
            }
            Token::Mark('(' | '[') => index = end_of_group(tokens, index) + 1,
            Token::Word(_) | Token::Path | Token::Mark(_) => index += 1,
        }
    }
    tokens.len() - 1
}

fn paths(tokens: &[(usize, Token)]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut braces: Vec<bool> = Vec::new();
    let mut index = 0;
    while let Some((_, token)) = tokens.get(index) {
        match token {
            Token::Word(_) => {
                let inline = braces.iter().filter(|is_module| **is_module).count();
                index = read_path(tokens, index, &[], inline, &mut found);
                continue;
            }
            Token::Mark('{') => {
                let before = |back: usize| index.checked_sub(back).and_then(|at| tokens[at].1.word());
                braces.push(before(2) == Some("mod"));
            }
            Token::Mark('}') => drop(braces.pop()),
            // `<T as Trait>::name` and `Type::<T>::name` go on with what is no path of its own.
            Token::Path if matches!(tokens.get(index + 1), Some((_, Token::Word(_)))) => index += 1,
            Token::Path | Token::Mark(_) => {}
        }
        index += 1;
    }
    found
}

/// Reads the path that begins at `start`, behind `prefix`; returns where the text goes on.
fn read_path(
    tokens: &[(usize, Token)],
    start: usize,
    prefix: &[String],
    inline: usize,
    found: &mut Vec<Path>,
) -> usize {
    let mut segments = prefix.to_vec();
    let (line, mut index) = (tokens[start].0, start);
    while let Some((_, Token::Word(word))) = tokens.get(index) {
        segments.push(word.clone());
        index += 1;
        if tokens.get(index).map(|(_, token)| token) != Some(&Token::Path) {
            break;
        }
        index += 1;
        match tokens.get(index).map(|(_, token)| token) {
            Some(Token::Mark('*')) => segments.push("*".into()),
            Some(Token::Mark('{')) => return read_group(tokens, index, &segments, inline, found),
            Some(Token::Word(_) | Token::Path | Token::Mark(_)) | None => {}
        }
    }
    found.push(Path { line, segments, inline });
    index
}

/// Reads `{a::b, c}` of a `use`, which opens at `start`.
fn read_group(
    tokens: &[(usize, Token)],
    start: usize,
    prefix: &[String],
    inline: usize,
    found: &mut Vec<Path>,
) -> usize {
    let mut index = start + 1;
    while let Some((line, token)) = tokens.get(index) {
        match token {
            Token::Word(word) if word == "as" => index += 2,
            Token::Word(_) => index = read_path(tokens, index, prefix, inline, found),
            Token::Mark('*') => {
                let segments = prefix.iter().cloned().chain(["*".into()]).collect();
                found.push(Path { line: *line, segments, inline });
                index += 1;
            }
            Token::Mark('}') => return index + 1,
            Token::Path | Token::Mark(_) => index += 1,
        }
    }
    index
}

/// What the text is inside of.
#[derive(Clone, Copy)]
enum Inside {
    Code,
    LineComment,
    /// Block comments nest.
    BlockComment(usize),
    /// A string that ends with a quote and so many `#`; only plain ones have escapes.
    String {
        hashes: Option<usize>,
    },
}

/// Splits a file into lines of code and comments.
fn split(text: &str) -> Vec<Line> {
    let mut inside = Inside::Code;
    let split_line = |line: &str| {
        let mut split = Line::default();
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let len;
            (inside, len) = match inside {
                Inside::Code => code_step(rest, first, &mut split),
                Inside::LineComment => comment_step(rest, &mut split),
                Inside::BlockComment(depth) => block_step(rest, first, depth, &mut split),
                Inside::String { hashes } => string_step(rest, first, hashes),
            };
            rest = &rest[len..];
        }
        if let Inside::LineComment = inside {
            inside = Inside::Code;
        }
        split
    };
    text.lines().map(split_line).collect()
}

fn code_step(rest: &str, first: char, line: &mut Line) -> (Inside, usize) {
    if rest.starts_with("//") {
        return (Inside::LineComment, 0);
    }
    if rest.starts_with("/*") {
        return (Inside::BlockComment(1), 2);
    }
    let is_word = line.code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    if let Some((hashes, len)) = raw_string(rest).filter(|_| !is_word) {
        line.code.push_str("\"\"");
        return (Inside::String { hashes: Some(hashes) }, len);
    }
    if first == '"' {
        line.code.push_str("\"\"");
        return (Inside::String { hashes: None }, 1);
    }
    if let Some(len) = char_literal(rest) {
        line.code.push_str("' '");
        return (Inside::Code, len);
    }
    line.code.push(first);
    (Inside::Code, first.len_utf8())
}

fn comment_step(rest: &str, line: &mut Line) -> (Inside, usize) {
    line.comment.push_str(rest);
    (Inside::LineComment, rest.len())
}

fn block_step(rest: &str, first: char, depth: usize, line: &mut Line) -> (Inside, usize) {
    if rest.starts_with("*/") {
        return (if depth == 1 { Inside::Code } else { Inside::BlockComment(depth - 1) }, 2);
    }
    if rest.starts_with("/*") {
        return (Inside::BlockComment(depth + 1), 2);
    }
    line.comment.push(first);
    (Inside::BlockComment(depth), first.len_utf8())
}

fn string_step(rest: &str, first: char, hashes: Option<usize>) -> (Inside, usize) {
    let end = format!("\"{}", "#".repeat(hashes.unwrap_or(0)));
    if rest.starts_with(&end) {
        return (Inside::Code, end.len());
    }
    let escaped = hashes.is_none() && first == '\\';
    let len = if escaped { 1 + rest[1..].chars().next().map_or(0, char::len_utf8) } else { first.len_utf8() };
    (Inside::String { hashes }, len)
}

/// `r"`, `r#"`, `br"`: how many `#`, and how long the beginning is.
fn raw_string(rest: &str) -> Option<(usize, usize)> {
    let body = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let begin = rest.len() - body.len() + hashes + 1;
    body[hashes..].starts_with('"').then_some((hashes, begin))
}

/// How long the char literal is that begins here; a lifetime is none.
fn char_literal(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let mut chars = body.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        return body[2..].find('\'').map(|end| end + 4);
    }
    let (end, quote) = chars.next()?;
    (quote == '\'').then_some(end + 2)
}
