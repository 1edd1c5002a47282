//! The reader of Skynet's own form.
//!
//! Skynet runs a configuration as a Lua program (`skynet_main.c`). What such files contain in practice is this, and
//! nothing else is read:
//!
//! ```text
//! file    := { statement [";"] }
//! statement := ["local"] name "=" value | "include" text | "include" "(" text ")"
//! value   := part { ".." part }
//! part    := text | ["-"] number | "true" | "false" | "nil" | "{" "}" | name that was set above | "(" value ")"
//! ```
//!
//! A statement that is anything else is code, an error; reading goes on at the next line that starts like a
//! statement.

use super::entry::{Entries, Entry, Literal};
use super::lexer::{Lookup, Token, Word, words};
use super::problem::{Fault, Place};
use super::read_text;
use crate::limits::{INCLUDE_DEPTH_MAX, INCLUDE_FILES_MAX};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep parentheses of one value may nest.
const PARENTHESES_MAX: usize = 32;
/// Words with which a statement of code starts.
const KEYWORDS: [&str; 18] = [
    "and", "break", "do", "else", "elseif", "end", "for", "function", "goto", "if", "in", "not", "or",
    "repeat", "return", "then", "until", "while",
];

/// Reads a text and what it includes.
pub(super) fn read(text: &str, file: Option<&Path>, directory: &Path, variable: Lookup<'_>) -> Entries {
    let mut reader =
        Reader { variable, found: Entries::default(), known: BTreeMap::new(), open: Vec::new(), files: 1 };
    reader.open.extend(file.and_then(|file| fs::canonicalize(file).ok()));
    reader.text(text, file.map(Arc::from), directory);
    reader.found
}

/// Whether the text's first line that says anything is a Lua comment or an `include`.
pub(super) fn looks_like(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let lua = |line: &str| line.starts_with("--") || line.starts_with("include");
    first.is_some_and(lua) || text.lines().any(|line| line.trim_start().starts_with("--"))
}

struct Reader<'a> {
    variable: Lookup<'a>,
    found: Entries,
    /// Every name that was set, `local` ones too.
    known: BTreeMap<String, Literal>,
    /// The files that are being read, the outermost first.
    open: Vec<PathBuf>,
    files: usize,
}

impl Reader<'_> {
    fn text(&mut self, text: &str, file: Option<Arc<Path>>, directory: &Path) {
        let (tokens, faults) = words(text, self.variable);
        for (line, fault) in faults {
            self.found.error(Place { file: file.clone(), line }, fault);
        }
        Statements { reader: self, text, file, directory, tokens: &tokens, line: 1 }.read();
    }

    fn include(&mut self, written: &str, directory: &Path, place: Place) {
        let path = directory.join(written);
        let canonical = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if self.open.contains(&canonical) {
            return self.found.error(place, Fault::IncludeCycle { path: written.to_owned() });
        }
        if self.open.len() >= INCLUDE_DEPTH_MAX || self.files >= INCLUDE_FILES_MAX {
            let fault = Fault::IncludeTooMany { files_max: INCLUDE_FILES_MAX, depth_max: INCLUDE_DEPTH_MAX };
            return self.found.error(place, fault);
        }
        self.files += 1;
        match read_text(&path) {
            Ok(text) => {
                self.open.push(canonical);
                let inner = path.parent().unwrap_or(Path::new("")).to_owned();
                self.text(&text, Some(Arc::from(path)), &inner);
                self.open.pop();
            }
            Err(reason) => {
                let fault = Fault::IncludeUnreadable { path: written.to_owned(), reason: reason.to_string() };
                self.found.error(place, fault);
            }
        }
    }
}

/// Why a statement was given up.
enum Refused {
    /// It is code.
    Code,
    /// It names something that is not set.
    NotSet(String),
}

struct Statements<'r, 'a, 't> {
    reader: &'r mut Reader<'a>,
    text: &'t str,
    file: Option<Arc<Path>>,
    directory: &'t Path,
    tokens: &'t [Token],
    /// The line of the word that was passed last.
    line: u32,
}

impl Statements<'_, '_, '_> {
    fn read(&mut self) {
        while let [first, ..] = self.tokens {
            let (line, statement) = (first.line, self.tokens);
            if let Err(refused) = self.statement() {
                // The line is looked for from the top of the text.
                let shown =
                    |line| if self.reader.found.is_full() { String::new() } else { self.source_line(line) };
                let fault = match refused {
                    Refused::Code => Fault::Code { what: shown(line) },
                    Refused::NotSet(name) => Fault::NotSet { name },
                };
                self.reader.found.error(self.place(line), fault);
                self.tokens = next_statement(statement);
            }
        }
    }

    fn place(&self, line: u32) -> Place {
        Place { file: self.file.clone(), line }
    }

    /// The statement's first line, for people.
    fn source_line(&self, line: u32) -> String {
        const SHOWN_MAX: usize = 60;
        let source = self.text.lines().nth(line as usize - 1).unwrap_or("").trim();
        let shown: String = source.chars().take(SHOWN_MAX).collect();
        if shown.len() < source.len() { format!("`{shown}…`") } else { format!("`{shown}`") }
    }

    fn next_word(&mut self) -> Option<&Word> {
        let (first, rest) = self.tokens.split_first()?;
        (self.tokens, self.line) = (rest, first.line);
        Some(&first.word)
    }

    /// Passes this mark if it is next.
    fn take(&mut self, mark: &str) -> bool {
        let next = matches!(self.tokens.first(), Some(Token { word: Word::Mark(next), .. }) if *next == mark);
        if next {
            self.next_word();
        }
        next
    }

    fn statement(&mut self) -> Result<(), Refused> {
        if self.take(";") {
            return Ok(());
        }
        let line = self.tokens[0].line;
        let Some(Word::Name(mut name)) = self.next_word().cloned() else { return Err(Refused::Code) };
        if name == "include" && !self.take("=") {
            return self.include_statement(line);
        }
        let local = name == "local";
        if local {
            let Some(Word::Name(named)) = self.next_word().cloned() else { return Err(Refused::Code) };
            name = named;
        }
        if KEYWORDS.contains(&name.as_str()) || (name != "include" && !self.take("=")) {
            return Err(Refused::Code);
        }
        let value = self.value(0)?;
        self.end_of_statement()?;
        self.reader.known.insert(name.clone(), value.clone());
        if !local {
            let place = self.place(line);
            self.reader.found.entries.push(Entry { key: name, value, place });
        }
        Ok(())
    }

    fn include_statement(&mut self, line: u32) -> Result<(), Refused> {
        let parenthesis = self.take("(");
        let Literal::Text(path) = self.value(0)? else { return Err(Refused::Code) };
        if parenthesis && !self.take(")") {
            return Err(Refused::Code);
        }
        self.end_of_statement()?;
        let place = self.place(line);
        self.reader.include(&path, self.directory, place);
        Ok(())
    }

    /// Behind a value comes a statement, or the value is a part of something that is not a literal.
    fn end_of_statement(&self) -> Result<(), Refused> {
        let Some(next) = self.tokens.first() else { return Ok(()) };
        match &next.word {
            Word::Mark(";") => Ok(()),
            Word::Name(name) if !matches!(name.as_str(), "and" | "or") => Ok(()),
            Word::Text(_) | Word::Int(_) | Word::Float(_) if next.line > self.line => Ok(()),
            _ => Err(Refused::Code),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Literal, Refused> {
        let first = self.part(depth)?;
        if !self.take("..") {
            return Ok(first);
        }
        let mut text = as_text(first)?;
        loop {
            let part = self.part(depth)?;
            text.push_str(&as_text(part)?);
            if !self.take("..") {
                return Ok(Literal::Text(text));
            }
        }
    }

    fn part(&mut self, depth: usize) -> Result<Literal, Refused> {
        if depth > PARENTHESES_MAX {
            return Err(Refused::Code);
        }
        match self.next_word().cloned() {
            Some(Word::Text(text)) => Ok(Literal::Text(text)),
            Some(Word::Int(int)) => Ok(Literal::Int(int)),
            Some(Word::Float(float)) => Ok(Literal::Float(float)),
            Some(Word::Name(name)) => self.named(name),
            Some(Word::Mark("-")) => match self.next_word() {
                Some(Word::Int(int)) => Ok(Literal::Int(int.wrapping_neg())),
                Some(Word::Float(float)) => Ok(Literal::Float(-float)),
                _ => Err(Refused::Code),
            },
            Some(Word::Mark("{")) if self.take("}") => Ok(Literal::Table(Vec::new())),
            Some(Word::Mark("(")) => {
                let value = self.value(depth + 1)?;
                if self.take(")") { Ok(value) } else { Err(Refused::Code) }
            }
            Some(Word::Mark(_)) | None => Err(Refused::Code),
        }
    }

    fn named(&self, name: String) -> Result<Literal, Refused> {
        let code_follows = match self.tokens.first().map(|token| &token.word) {
            Some(Word::Mark(mark)) => matches!(*mark, "(" | "." | "[" | ":" | "{" | "="),
            Some(Word::Text(_)) => true,
            _ => false,
        };
        match (name.as_str(), self.reader.known.get(&name)) {
            ("true", _) => Ok(Literal::Bool(true)),
            ("false", _) => Ok(Literal::Bool(false)),
            ("nil", _) => Ok(Literal::Nil),
            (word, _) if KEYWORDS.contains(&word) || code_follows => Err(Refused::Code),
            (_, Some(value)) => Ok(value.clone()),
            (_, None) => Err(Refused::NotSet(name)),
        }
    }
}

/// The words from the next line on that starts like a statement; `tokens` start with the one that was refused.
fn next_statement(tokens: &[Token]) -> &[Token] {
    let starts = |at: usize| match &tokens[at..] {
        [Token { word: Word::Name(name), .. }, ..] if name == "include" => true,
        [Token { word: Word::Name(_), .. }, Token { word: Word::Mark("="), .. }, ..] => true,
        _ => false,
    };
    let first_of_line = |at: usize| tokens[at - 1].line < tokens[at].line;
    let next = (1..tokens.len()).find(|&at| first_of_line(at) && starts(at));
    &tokens[next.unwrap_or(tokens.len())..]
}

/// What Lua's `..` makes of a value; it takes texts and numbers.
fn as_text(value: Literal) -> Result<String, Refused> {
    match value {
        Literal::Text(text) => Ok(text),
        Literal::Int(int) => Ok(int.to_string()),
        Literal::Float(float) => Ok(format!("{float:?}")),
        Literal::Nil | Literal::Bool(_) | Literal::Table(_) | Literal::List(_) | Literal::Date => {
            Err(Refused::Code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_here(text: &str) -> Entries {
        read(text, None, Path::new(""), &|name| (name == "IP").then(|| "10.0.0.1".to_owned()))
    }

    #[test]
    fn what_real_files_contain() {
        let found = read_here(
            "-- a node\nroot = \"./\"\nlocal port = 2526; harbor = 0x01\naddress = '$IP:' .. port\n\
             luaservice = root..\"service/?.lua;\"..(root .. 'x')\nprofile = true\ndaemon = nil\nempty = {}\nlow = -3\n",
        );
        assert_eq!(found.problems, []);
        let values: Vec<_> = found
            .entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry.value.clone(), entry.place.line))
            .collect();
        assert_eq!(
            values,
            [
                ("root", Literal::Text("./".into()), 2),
                ("harbor", Literal::Int(1), 3),
                ("address", Literal::Text("10.0.0.1:2526".into()), 4),
                ("luaservice", Literal::Text("./service/?.lua;./x".into()), 5),
                ("profile", Literal::Bool(true), 6),
                ("daemon", Literal::Nil, 7),
                ("empty", Literal::Table(vec![]), 8),
                ("low", Literal::Int(-3), 9),
            ]
        );
    }

    #[test]
    fn code_is_an_error_with_its_line_and_the_rest_is_read() {
        for code in [
            "thread = os.getenv('N')",
            "thread = 4 * 2",
            "thread = tonumber '8'",
            "thread = #root",
            "thread = not true",
            "thread = x == 1",
            "thread = true or false",
            "thread = { 1 }",
            "thread = { harbor = 1 }",
            "thread = function() end",
            "thread = true .. 'x'",
            "thread =",
            "a, b = 1, 2",
            "a.b = 1",
            "print('x')",
            "include(path())",
            "include 3",
            "if true then",
            "return {}",
            "end",
            "local function f()",
            "; = 1",
            "4",
            "thread = -'x'",
        ] {
            let found = read_here(&format!("x = 1\n{code}\nafter = 2\n"));
            let [problem] = &found.problems[..] else { panic!("{code}: {:?}", found.problems) };
            assert!(matches!(problem.fault, Fault::Code { .. }), "{code}: {problem}");
            assert_eq!(problem.place.as_ref().unwrap().line, 2, "{code}");
            assert_eq!(found.entries.last().unwrap().key, "after", "{code}");
        }
    }

    #[test]
    fn a_name_must_be_set_above() {
        let found = read_here("a = b\nb = 1\nc = b\n");
        let texts: Vec<_> = found.problems.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["line 1: error: b is not set above this line"]);
        assert_eq!(found.entries.last().unwrap().value, Literal::Int(1));
    }

    #[test]
    fn parentheses_are_bounded() {
        let deep = format!("a = {}1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(read_here(&deep).problems.len(), 1);
    }

    #[test]
    fn includes_are_relative_to_their_file_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sub/inner", "include 'deeper'\nharbor = 2\nbad = f()\n");
        write("sub/deeper", "port = 1\n");
        write("loop", "include \"loop\"\n");
        let text = "include \"sub/inner\"\naddress = \"h:\" .. port\ninclude 'missing'\ninclude(\"loop\")\n";
        let found = read(text, None, folder.path(), &|_| None);
        let keys: Vec<_> = found.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["port", "harbor", "address"]);
        let texts: Vec<_> = found.problems.iter().map(ToString::to_string).collect();
        assert!(texts[0].contains("inner:3: error: `bad = f()` is code"), "{texts:?}");
        assert!(texts[1].starts_with("line 3: error: include \"missing\" cannot be read"), "{texts:?}");
        assert!(texts[2].contains("loop:1: error: include \"loop\" leads back to itself"), "{texts:?}");

        for level in 0..40 {
            write(&format!("l{level}"), &format!("include 'l{}'\n", level + 1));
        }
        let found = read("include 'l0'", None, folder.path(), &|_| None);
        assert!(matches!(found.problems[0].fault, Fault::IncludeTooMany { .. }), "{:?}", found.problems);
        write("wide", "");
        let found = read(&"include 'wide'\n".repeat(200), None, folder.path(), &|_| None);
        assert_eq!(found.problems.len(), 200 - (INCLUDE_FILES_MAX - 1));
    }
}
