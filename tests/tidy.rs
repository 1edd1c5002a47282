//! The house rules as tests. The layers of `docs/ARCHITECTURE.md` are data here; each rule is one function from the
//! repository's text to findings, one test that there are none, and one that shows it fail on a small text.

#[path = "tidy/source.rs"]
mod source;

use source::Source;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path as File;
use std::sync::OnceLock;

/// One module of the crate root: what it may import of ours.
struct Layer {
    module: &'static str,
    level: u8,
    /// It may import modules of the levels below this one.
    imports_below: u8,
    except: &'static [&'static str],
}

const fn layer(level: u8, module: &'static str) -> Layer {
    Layer { module, level, imports_below: level, except: &[] }
}

/// Nobody may import it.
const NOBODY: u8 = u8::MAX;

const LAYERS: &[Layer] = &[
    layer(0, "sync"),
    layer(0, "limits"),
    layer(0, "clock"),
    layer(0, "mutant"),
    layer(1, "queue"),
    layer(1, "metrics"),
    layer(2, "message"),
    Layer { imports_below: 3, ..layer(2, "seri") },
    Layer { imports_below: 3, ..layer(2, "wire") },
    layer(3, "registry"),
    layer(3, "runtime"),
    Layer { except: &["runtime"], ..layer(4, "harbor") },
    layer(5, "net"),
    Layer { imports_below: 4, ..layer(5, "services") },
    layer(6, "node"),
    Layer { imports_below: 7, ..layer(NOBODY, "testkit") },
    Layer { imports_below: 5, ..layer(NOBODY, "sim") },
];

/// Modules without clocks, sockets, threads, locks, randomness and `unsafe`: time and seeds are arguments.
const PURE: &[&str] = &["seri", "wire", "registry", "harbor"];
/// Folders that may have `unsafe`; in `net` it is one file.
const UNSAFE: &[&str] = &["sync", "queue", "net"];

/// A name that only some places may say, outside tests.
struct Reserved {
    /// As it is written in a path: its beginning (`a::b`), or any part of it (`…::a::b`).
    name: &'static str,
    /// Folders of `src`, or files.
    places: &'static [&'static str],
    why: &'static str,
}

const fn reserved(name: &'static str, places: &'static [&'static str], why: &'static str) -> Reserved {
    Reserved { name, places, why }
}

const SHIM: &str = "atomics, locks, loom and shuttle are reached through `crate::sync`";
const SOCKETS: &str = "sockets are `net`'s";
const TIME: &str = "time is passed in, or read through `crate::clock`";
const READS_CLOCK: &[&str] = &["clock", "runtime", "net", "node"];
const THREADS: &str = "`node` starts threads";
const NET: &[&str] = &["net"];

const RESERVED: &[Reserved] = &[
    reserved("std::sync::atomic", &["sync"], SHIM),
    reserved("core::sync::atomic", &["sync"], SHIM),
    reserved("std::sync::Mutex", &["sync"], SHIM),
    reserved("std::sync::RwLock", &["sync"], SHIM),
    reserved("std::sync::Condvar", &["sync"], SHIM),
    reserved("loom::…", &["sync"], SHIM),
    reserved("shuttle::…", &["sync", "net/memory.rs"], SHIM),
    reserved("parking_lot", &["sync"], SHIM),
    reserved("polling", NET, SOCKETS),
    reserved("socket2", NET, SOCKETS),
    reserved("std::net::TcpListener", NET, SOCKETS),
    reserved("std::net::TcpStream", NET, SOCKETS),
    reserved("std::net::UdpSocket", NET, SOCKETS),
    reserved("std::net::ToSocketAddrs", NET, "names are resolved by `net`'s resolver"),
    reserved("std::net::*", NET, SOCKETS),
    reserved("std::os::unix::net", NET, SOCKETS),
    reserved("std::time::Instant", &[], TIME),
    reserved("std::time::SystemTime", &[], TIME),
    reserved(
        "…::Instant::now",
        READS_CLOCK,
        "the clock is read by threads' run loops; others are told the time",
    ),
    reserved("…::thread::spawn", &["node"], THREADS),
    reserved("…::thread::Builder", &["node"], THREADS),
    reserved("…::thread::scope", &["node"], THREADS),
    reserved("unsafe", &["sync", "queue", "net/registration.rs"], "memory is `sync`'s and `queue`'s"),
    reserved("fence", &["sync"], "the fences are in `sync/doorbell.rs`"),
];

/// What pure modules may not say, in any line.
const IMPURE: &[&str] = &[
    "std::thread",
    "std::fs",
    "std::process",
    "std::env",
    "std::sync::mpsc",
    "std::sync::OnceLock",
    "std::hash::RandomState",
    "std::os",
    "crate::sync",
    "crossbeam",
    "rustix",
    "tracing",
];

const BANNED_WORDS: &[&str] = &["TODO", "FIXME", "XXX", "unimplemented!", "todo!", "dbg!"];
const BANNED_MODULES: &[&str] = &["util", "utils", "common", "core", "misc", "helpers", "helper"];
/// `sender` and `receiver`, said in full.
const BANNED_NAMES: &[&str] = &["tx", "rx"];
const ORDERINGS: &[&str] = &["Acquire", "Release", "AcqRel", "SeqCst"];
const FILE_LINES_MAX: usize = 700;
const ESSAY_LINES_MAX: usize = 60;
const EXAMPLE_LINES_MAX: usize = 80;

/// Places where the code is right and a rule's text is not: rule, file, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// The repository's text.
#[derive(Default)]
struct House {
    rust: Vec<Source>,
    /// All files that are text, Rust too.
    texts: BTreeMap<String, String>,
}

#[derive(PartialEq)]
struct Finding {
    rule: &'static str,
    place: String,
    what: String,
}

impl fmt::Debug for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.place, self.rule, self.what)
    }
}

impl House {
    fn read() -> Self {
        let mut texts = BTreeMap::new();
        read_folder(File::new(env!("CARGO_MANIFEST_DIR")), "", &mut texts);
        Self::of(texts)
    }

    fn of(texts: BTreeMap<String, String>) -> Self {
        let mut rust: Vec<Source> = texts
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| Source::new(path, text))
            .collect();
        let tests: Vec<String> = rust
            .iter()
            .flat_map(|file| file.test_modules.iter().flat_map(|name| file.submodule(name)))
            .collect();
        for file in &mut rust {
            file.is_test = tests.iter().any(|test| {
                *test == file.path || file.path.starts_with(&format!("{}/", test.trim_end_matches(".rs")))
            });
        }
        Self { rust, texts }
    }

    /// The library's files.
    fn library(&self) -> impl Iterator<Item = &Source> {
        self.rust.iter().filter(|file| file.path.starts_with("src/"))
    }

    /// The files of all three crates.
    fn crates(&self) -> impl Iterator<Item = &Source> {
        let folders = ["src/", "stress/src/", "node/src/"];
        self.rust.iter().filter(move |file| folders.iter().any(|folder| file.path.starts_with(folder)))
    }

    fn files_below(&self, prefix: &str) -> impl Iterator<Item = &str> {
        self.texts.iter().filter(move |(path, _)| path.starts_with(prefix)).map(|(_, text)| text.as_str())
    }

    /// Whether there is a file of this name, seen from a document, from the root or from `src`.
    fn has(&self, document: &str, name: &str) -> bool {
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        let above = name.strip_prefix("../").unwrap_or(name);
        let places = [format!("{folder}/{name}"), above.to_owned(), format!("src/{name}")];
        places.iter().any(|place| self.texts.contains_key(place.trim_start_matches('/')))
    }

    fn folders(&self) -> Vec<&str> {
        let mut folders: Vec<&str> = self
            .texts
            .keys()
            .filter_map(|path| path.strip_prefix("src/")?.split_once('/').map(|(folder, _)| folder))
            .collect();
        folders.dedup();
        folders
    }
}

fn read_folder(folder: &File, prefix: &str, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().expect("a file's type");
        if kind.is_dir() && !["target", ".git"].contains(&name.as_str()) {
            read_folder(&entry.path(), &path, texts);
        } else if kind.is_file()
            && name != ".git"
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            texts.insert(path, text);
        }
    }
}

/// Collects what one rule finds.
struct Report(&'static str, Vec<Finding>);

impl Report {
    fn new(rule: &'static str) -> Self {
        Self(rule, Vec::new())
    }

    fn add(&mut self, place: impl fmt::Display, what: impl Into<String>) {
        self.1.push(Finding { rule: self.0, place: place.to_string(), what: what.into() });
    }

    fn at(&mut self, file: &Source, line: usize, what: impl Into<String>) {
        self.add(format_args!("{}:{}", file.path, line + 1), what);
    }
}

// ---- rules --------------------------------------------------------------------------------------------------------

/// Modules import only what the table of layers lets them.
fn imports(house: &House) -> Vec<Finding> {
    let mut report = Report::new("imports");
    for file in house.library() {
        let Some(module) = file.module() else { continue };
        let Some(from) = LAYERS.iter().find(|layer| layer.module == module) else {
            report.add(&file.path, format!("`{module}` is no layer: add it to the table"));
            continue;
        };
        for path in &file.paths {
            let Some(named) = root_name(&path.segments, file.depth() + path.inline) else { continue };
            if named == module {
                continue;
            }
            let Some(to) = LAYERS.iter().find(|layer| layer.module == named) else {
                report.at(
                    file,
                    path.line,
                    format!("`crate::{named}` is no module: name the one it comes from"),
                );
                continue;
            };
            if to.level >= from.imports_below || from.except.contains(&to.module) {
                report.at(file, path.line, format!("`{module}` may not import `{named}`"));
            }
        }
    }
    report.1
}

/// The name in the crate root that a path goes through, if it does, seen from so many modules below the root.
fn root_name(segments: &[String], depth: usize) -> Option<&str> {
    if segments[0] == "skyharbor" {
        return Some("skyharbor");
    }
    let climbs = match segments[0].as_str() {
        "crate" => return segments.get(1).map(String::as_str),
        "self" | "super" => segments.iter().filter(|segment| *segment == "super").count(),
        _ => return None,
    };
    let named = segments.iter().find(|segment| *segment != "super" && *segment != "self")?;
    (climbs >= depth && climbs > 0).then_some(named)
}

/// Some names belong to some modules.
fn reserved_names(house: &House) -> Vec<Finding> {
    let mut report = Report::new("reserved names");
    for file in house.library() {
        let place = file.path.strip_prefix("src/").unwrap_or(&file.path);
        for path in &file.paths {
            let code_of_tests = file.is_test_line(path.line);
            for Reserved { name, places, why } in RESERVED {
                let may = places.iter().any(|may| Some(*may) == file.module() || *may == place);
                if says(&path.segments, name) && !may && (!code_of_tests || *name == "unsafe") {
                    report.at(file, path.line, format!("`{name}`: {why}"));
                }
            }
        }
    }
    let members = house.crates().filter(|file| !file.path.starts_with("src/"));
    for (file, path) in members.flat_map(|file| file.paths.iter().map(move |path| (file, path))) {
        if says(&path.segments, "unsafe") {
            report.at(file, path.line, "`unsafe` in a program");
        }
    }
    report.1
}

fn says(segments: &[String], name: &str) -> bool {
    let same = |(segment, part): (&String, &str)| segment == part;
    if let Some(tail) = name.strip_prefix("…::") {
        let len = tail.split("::").count();
        return segments.windows(len).any(|part| part.iter().zip(tail.split("::")).all(same));
    }
    // `loom::…`: the crate, not the word in `cfg(loom)`.
    let (name, longer) = name.strip_suffix("::…").map_or((name, 0), |name| (name, 1));
    segments.len() >= name.split("::").count() + longer && segments.iter().zip(name.split("::")).all(same)
}

/// Pure modules have time, randomness and input passed in, and say that they have no `unsafe`.
fn purity(house: &House) -> Vec<Finding> {
    let mut report = Report::new("purity");
    for file in house.library().filter(|file| file.module().is_some_and(|module| PURE.contains(&module))) {
        for path in file.paths.iter().filter(|path| !file.is_test_line(path.line)) {
            if let Some(name) = IMPURE.iter().find(|name| says(&path.segments, name)) {
                report.at(file, path.line, format!("`{name}` in a pure module"));
            }
        }
    }
    for folder in house.folders().into_iter().filter(|folder| !UNSAFE.contains(folder)) {
        let path = format!("src/{folder}/mod.rs");
        let text = house.texts.get(&path).map_or("", String::as_str);
        if !text.contains("\n#![forbid(unsafe_code)]\n") {
            report.add(path, "`#![forbid(unsafe_code)]` is missing");
        }
    }
    report.1
}

/// Every ordering that is not relaxed is half of a pair that the module's essay lists.
fn orderings(house: &House) -> Vec<Finding> {
    let mut report = Report::new("orderings");
    let mut sites: BTreeMap<(&str, String), Vec<(&Source, usize)>> = BTreeMap::new();
    let mut essays: BTreeMap<&str, String> = BTreeMap::new();
    for file in house.library() {
        let Some(module) = file.module() else { continue };
        let essay = essays.entry(module).or_default();
        file.essay().for_each(|line| essay.extend([line, "\n"]));
        let ordered =
            file.paths.iter().filter(|path| ORDERINGS.contains(&path.segments.last().unwrap().as_str()));
        for path in ordered.filter(|path| !file.is_test_line(path.line)) {
            let labels = labels_at(file, path.line);
            if labels.is_empty() {
                report.at(
                    file,
                    path.line,
                    "an ordering without a label, on its line or in the comment above",
                );
            }
            for label in labels {
                sites.entry((module, label)).or_default().push((file, path.line));
            }
        }
    }
    for ((module, label), places) in &sites {
        let (file, line) = places[0];
        if places.iter().all(|place| *place == places[0]) {
            report.at(file, line, format!("[{label}] has no partner in `{module}`"));
        }
        if !listed(&essays[module]).contains(label) {
            report.at(file, line, format!("[{label}] is not listed in the essay of `{module}`"));
        }
    }
    for (module, essay) in &essays {
        for label in listed(essay).into_iter().filter(|label| !sites.contains_key(&(*module, label.clone())))
        {
            report.add(format_args!("src/{module}"), format!("[{label}] is listed, and no line carries it"));
        }
    }
    report.1
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

/// The labels on a line and in the comment directly above it.
fn labels_at(file: &Source, line: usize) -> Vec<String> {
    let above = file.lines[..line].iter().rev().take_while(|line| line.code.trim().is_empty());
    let above = above.take_while(|line| line.comment.starts_with("//"));
    let comments = above.chain([&file.lines[line]]).map(|line| line.comment.as_str());
    comments.flat_map(|comment| comment.split('[').skip(1)).filter_map(label).collect()
}

/// `P1` of `P1] …`.
fn label(text: &str) -> Option<String> {
    let (label, _) = text.split_once(']')?;
    is_label(label).then(|| label.to_owned())
}

fn is_label(text: &str) -> bool {
    let digits = text.strip_prefix(|first: char| first.is_ascii_uppercase()).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The labels in the table of an essay: `//! | P1 | …`.
fn listed(essay: &str) -> Vec<String> {
    let first_cell = |line: &str| Some(line.strip_prefix("//! | ")?.split_once(" |")?.0.to_owned());
    essay.lines().filter_map(first_cell).filter(|cell| is_label(cell)).collect()
}

/// Fences are called in the one file that argues them.
fn fences(house: &House) -> Vec<Finding> {
    let mut report = Report::new("fences");
    for file in house.library().filter(|file| file.path != "src/sync/doorbell.rs") {
        for (number, line) in file.lines.iter().enumerate() {
            if line.code.contains("fence(") && !file.is_test_line(number) {
                report.at(file, number, "a fence outside `sync/doorbell.rs`");
            }
        }
    }
    report.1
}

/// Files, essays and examples keep their sizes.
fn sizes(house: &House) -> Vec<Finding> {
    let mut report = Report::new("sizes");
    for file in house.crates().filter(|file| !file.is_test) {
        let lines = file.lines.iter().filter(|line| !line.is_test).count();
        if lines > FILE_LINES_MAX {
            report.add(
                &file.path,
                format!("{lines} lines, {FILE_LINES_MAX} at most: split it by state or role"),
            );
        }
        // The crate's front page holds the example.
        let essay = if file.path == "src/lib.rs" { 0 } else { file.essay().count() };
        if essay > ESSAY_LINES_MAX {
            report.add(&file.path, format!("an essay of {essay} lines, {ESSAY_LINES_MAX} at most"));
        }
    }
    for file in house.rust.iter().filter(|file| file.path.starts_with("examples/")) {
        if file.lines.len() > EXAMPLE_LINES_MAX {
            let lines = file.lines.len();
            report.add(&file.path, format!("{lines} lines, {EXAMPLE_LINES_MAX} at most"));
        }
    }
    report.1
}

/// Words and names that say that something is unfinished or means nothing.
fn words(house: &House) -> Vec<Finding> {
    let mut report = Report::new("words");
    for file in house.crates() {
        for (number, line) in house.texts[&file.path].lines().enumerate() {
            if let Some(word) = BANNED_WORDS.iter().find(|word| line.contains(**word)) {
                report.at(file, number, format!("`{word}`"));
            }
        }
        let parts = file.path.trim_end_matches(".rs").split('/');
        if let Some(part) = parts.into_iter().find(|part| BANNED_MODULES.contains(part)) {
            report.add(&file.path, format!("`{part}` says nothing"));
        }
        for path in &file.paths {
            let is_name = path.segments.len() == 1;
            let name = path.segments.last().map_or("", String::as_str);
            if is_name && BANNED_NAMES.contains(&name) {
                report.at(file, path.line, format!("`{name}`"));
            }
        }
        for (number, line) in file.lines.iter().enumerate() {
            let module = line.code.trim_start().trim_start_matches("pub ").strip_prefix("mod ");
            let name = module.map(|name| name.trim_end_matches([';', '{', ' ']));
            if let Some(name) = name.filter(|name| BANNED_MODULES.contains(name)) {
                report.at(file, number, format!("`{name}` says nothing"));
            }
            let silences = line.code.contains("[allow(") || line.code.contains("[expect(");
            let explains = file.lines[number..].iter().take(4).any(|line| line.code.contains("reason ="));
            if silences && !explains {
                report.at(file, number, "a lint is silenced without a reason");
            }
            if line.code.contains("fn get_") {
                report.at(file, number, "a getter is named by what it gives");
            }
        }
    }
    // Tests are anywhere.
    for file in &house.rust {
        for (number, _) in file.lines.iter().enumerate().filter(|(_, line)| line.code.contains("#[ignore")) {
            report.at(file, number, "an ignored test");
        }
    }
    report.1
}

/// The documents follow the code and each other.
fn documents(house: &House) -> Vec<Finding> {
    let mut report = Report::new("documents");
    let text = |path: &str| house.texts.get(path).map_or("", String::as_str);
    let architecture = text("docs/ARCHITECTURE.md");
    for folder in house.folders() {
        if !architecture.contains(&format!("`{folder}`")) && !architecture.contains(&format!("{folder}/")) {
            report.add("docs/ARCHITECTURE.md", format!("does not name `src/{folder}`"));
        }
    }
    let (english, chinese) = (outline(text("README.md")), outline(text("README.zh-CN.md")));
    if english != chinese {
        let place = english.iter().zip(&chinese).take_while(|(one, other)| one == other).count();
        report
            .add("README.zh-CN.md", format!("differs from README.md at heading or code block {}", place + 1));
    }
    let examples: String = house.files_below("examples/").collect();
    for readme in ["README.md", "README.zh-CN.md"] {
        for block in rust_blocks(text(readme)).filter(|block| !examples.contains(block)) {
            let first = block.lines().next().unwrap_or_default();
            report.add(readme, format!("its program is no example: {first}"));
        }
    }
    for (path, markdown) in house.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (number, line) in markdown.lines().enumerate() {
            for file in files_named(line).filter(|file| !house.has(path, file)) {
                report.add(format_args!("{path}:{}", number + 1), format!("`{file}` does not exist"));
            }
            for name in sentences_named(line) {
                let is_there = [format!("fn {name}"), format!("\"{name}")];
                if !house.texts.values().any(|text| is_there.iter().any(|one| text.contains(one))) {
                    report.add(format_args!("{path}:{}", number + 1), format!("no test is `{name}`"));
                }
            }
        }
    }
    report.1
}

/// The programs of a document.
fn rust_blocks(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// Tests and recorded scenarios that a line of a document names: their names are sentences, of which the beginning is enough.
fn sentences_named(line: &str) -> impl Iterator<Item = &str> {
    let is_sentence = |name: &&str| {
        let is_word =
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        is_word && name.matches('_').count() >= 3
    };
    line.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches('…')).filter(is_sentence)
}

/// Files that a line of a document names: `folder/file.rs` in backticks, and `(links)` into the repository.
fn files_named(line: &str) -> impl Iterator<Item = &str> {
    let is_file =
        |text: &&str| text.contains('/') && [".rs", ".md", ".toml"].iter().any(|end| text.ends_with(end));
    let quoted = line.split('`').skip(1).step_by(2).filter(is_file);
    let linked = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    quoted.chain(linked.filter(|link| !link.contains("://") && !link.starts_with('#')))
}

/// Headings by their level and code blocks by their language.
fn outline(markdown: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut outline = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            if in_block {
                outline.push(line.trim_start());
            }
        } else if !in_block && line.starts_with('#') {
            outline.push(line.split(' ').next().unwrap_or_default());
        }
    }
    outline
}

/// No text names the machine that it was written on.
fn machine_paths(house: &House) -> Vec<Finding> {
    // Put together here, so that this file does not name them.
    let roots = ["home", "root", "Users", "work", "tmp/w", "tmp/t"].map(|root| format!("/{root}/"));
    let mut report = Report::new("machine paths");
    for (path, text) in &house.texts {
        for (number, line) in text.lines().enumerate() {
            let starts = |at: usize| {
                !line[..at].ends_with(|last: char| last.is_alphanumeric() || "_-.}".contains(last))
            };
            let found = roots.iter().find(|root| line.match_indices(root.as_str()).any(|(at, _)| starts(at)));
            if let Some(root) = found {
                report
                    .add(format_args!("{path}:{}", number + 1), format!("a path of some machine: `{root}`"));
            }
        }
    }
    report.1
}

// ---- the repository keeps them ---------------------------------------------------------------------------------------

type Rule = fn(&House) -> Vec<Finding>;

fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(House::read)
}

fn keeps(rule: Rule) {
    let mut findings = rule(house());
    findings.retain(|finding| {
        !EXCEPTIONS.iter().any(|(rule, file, _)| *rule == finding.rule && finding.place.starts_with(file))
    });
    assert!(findings.is_empty(), "{} finding(s):\n{findings:#?}", findings.len());
}

#[test]
fn modules_import_only_what_lies_below_them() {
    keeps(imports);
}

#[test]
fn reserved_names_stay_where_they_belong() {
    keeps(reserved_names);
}

#[test]
fn pure_modules_are_pure() {
    keeps(purity);
}

#[test]
fn every_ordering_has_a_label_with_a_partner() {
    keeps(orderings);
}

#[test]
fn fences_are_in_one_file() {
    keeps(fences);
}

#[test]
fn files_keep_their_sizes() {
    keeps(sizes);
}

#[test]
fn no_word_is_banned() {
    keeps(words);
}

#[test]
fn documents_follow_the_code() {
    keeps(documents);
}

#[test]
fn no_path_of_a_machine_is_named() {
    keeps(machine_paths);
}

#[test]
fn every_exception_is_still_needed() {
    if EXCEPTIONS.is_empty() {
        return;
    }
    let rules: [Rule; 9] =
        [imports, reserved_names, purity, orderings, fences, sizes, words, documents, machine_paths];
    let findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(house())).collect();
    for (rule, file, reason) in EXCEPTIONS {
        let needed = findings.iter().any(|finding| finding.rule == *rule && finding.place.starts_with(file));
        assert!(needed, "{file} keeps `{rule}` now, drop the exception ({reason})");
    }
}

#[path = "tidy/proofs.rs"]
mod proofs;
