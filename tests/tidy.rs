//! Reads the sources and fails on what reviews miss: long files and functions, imports against the crates'
//! direction, stray debug prints, `unsafe` outside its places, folders missing from the code map, files that
//! nothing uses, and paths of somebody's machine. Each detector is itself tested below on small texts, so that it
//! is known to be able to fail.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 80;
/// Maximum number of lines between an `unsafe` and the SAFETY line above it.
const SAFETY_LINES_ABOVE: usize = 8;
/// The modules of `engine` that `raft` may use; capitalised names are the crate's root re-exports.
const ENGINE_FOR_RAFT: [&str; 12] = [
    "io",
    "ids",
    "hash",
    "placement",
    "peer",
    "buf",
    "error",
    "limits",
    "Error",
    "FixedState",
    "canary",
    "reach",
];
/// Where `unsafe` is allowed.
const UNSAFE_PLACES: [&str; 3] = ["engine/io/uring", "engine/buf", "engine/hash"];
const STRAY: [&str; 7] = ["println!", "eprintln!", "print!", "eprint!", "dbg!", "todo!", "unimplemented!"];

/// One file: its path relative to the repository, its text, and the text with comments and literals blanked.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank_comments_and_literals(text) }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` that belong to the project, sorted: nothing hidden (but CI's folder), nothing built.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && name != ".ci";
        if hidden || name.starts_with("target") || name == "hamster-data" || name == "__pycache__" {
            continue;
        }
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

fn all_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files_below(&root(), &mut found);
    found
}

fn rust_sources() -> Vec<Source> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|e| e == "rs");
    let read = |path: PathBuf| Source::new(&relative(&path), &std::fs::read_to_string(&path).unwrap());
    all_files().into_iter().filter(is_rust).map(read).collect()
}

/// The text with every comment, string and character literal replaced by blanks; lines stay where they were.
fn blank_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at).or_else(|| comment_end(bytes, at));
        if let Some(end) = end {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn comment_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes[at..].starts_with(b"//") {
        return Some(bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n));
    }
    if !bytes[at..].starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut end) = (0, at);
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            (depth, end) = (depth + 1, end + 2);
        } else if bytes[end..].starts_with(b"*/") {
            (depth, end) = (depth - 1, end + 2);
            if depth == 0 {
                return Some(end);
            }
        } else {
            end += 1;
        }
    }
    Some(bytes.len())
}

/// The end of the string, raw string or character literal that starts at `at`; none where a lifetime starts.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let after_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match bytes[at] {
        b'"' => Some(quoted_end(bytes, at + 1, b'"')),
        b'\'' => {
            let rest = &bytes[at + 1..];
            let width = std::str::from_utf8(&rest[..rest.len().min(4)])
                .unwrap_or_else(|e| std::str::from_utf8(&rest[..e.valid_up_to()]).unwrap())
                .chars()
                .next()
                .map_or(1, char::len_utf8);
            let is_char = rest.first() == Some(&b'\\') || rest.get(width) == Some(&b'\'');
            is_char.then(|| quoted_end(bytes, at + 1, b'\''))
        }
        b'r' if !after_name || (at > 0 && bytes[at - 1] == b'b') => {
            let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
            if bytes.get(at + 1 + hashes) != Some(&b'"') {
                return None;
            }
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            let body = at + 2 + hashes;
            let length =
                bytes[body..].windows(close.len()).position(|w| w == close).unwrap_or(bytes.len() - body);
            Some((body + length + close.len()).min(bytes.len()))
        }
        _ => None,
    }
}

fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The offsets at which `word` occurs in `code` with no letter, digit or underscore around it.
fn words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let ends_open = !word.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| at == 0 || !is_word_byte(bytes[at - 1]))
        .filter(|&at| ends_open || bytes.get(at + word.len()).is_none_or(|&b| !is_word_byte(b)))
        .collect()
}

fn line_of(code: &str, at: usize) -> usize {
    code.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1
}

fn long_file(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let found = (lines > FILE_LINES_MAX)
        .then(|| format!("{}: {lines} lines, more than {FILE_LINES_MAX}", source.path));
    found.into_iter().collect()
}

fn long_functions(source: &Source) -> Vec<String> {
    let bytes = source.code.as_bytes();
    let mut found = Vec::new();
    for at in words(&source.code, "fn") {
        let Some(open) = body_start(bytes, at) else { continue };
        let mut depth = 0_usize;
        for (offset, byte) in bytes[open..].iter().enumerate() {
            depth = match byte {
                b'{' => depth + 1,
                b'}' => depth - 1,
                _ => depth,
            };
            if depth == 0 {
                let (first, last) = (line_of(&source.code, at), line_of(&source.code, open + offset));
                let lines = last - first + 1;
                if lines > FUNCTION_LINES_MAX {
                    found.push(format!(
                        "{}:{first}: a function of {lines} lines, more than {FUNCTION_LINES_MAX}",
                        source.path
                    ));
                }
                break;
            }
        }
    }
    found
}

/// Where the body of the function at `at` opens; none for a declaration without one or a function pointer's type.
fn body_start(bytes: &[u8], at: usize) -> Option<usize> {
    let mut brackets = 0_i32;
    let mut named = false;
    for (offset, &byte) in bytes[at + 2..].iter().enumerate() {
        match byte {
            b'(' if !named => return None,
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b'{' if brackets == 0 => return Some(at + 2 + offset),
            b';' if brackets == 0 => return None,
            b if is_word_byte(b) => named = true,
            _ => {}
        }
        if brackets < 0 {
            return None;
        }
    }
    None
}

/// The first segments of all paths into crate `name`: of `name::a::b` it is `a`, of `name::{a::b, c}` both `a` and `c`.
fn segments_used(code: &str, name: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, &format!("{name}::")) {
        if code[..at].ends_with("::") {
            continue;
        }
        let rest = &code[at + name.len() + 2..];
        let first = |text: &str| {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        };
        if !rest.starts_with('{') {
            found.push((at, first(rest)));
            continue;
        }
        let (mut depth, mut start) = (0, 1);
        for (offset, byte) in rest.bytes().enumerate() {
            depth += i32::from(byte == b'{') - i32::from(byte == b'}');
            if (byte == b',' && depth == 1) || depth == 0 {
                found.push((at, first(&rest[start..offset])));
                start = offset + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    found.retain(|(_, segment)| !segment.is_empty());
    found
}

fn wrong_imports(source: &Source) -> Vec<String> {
    let place = source.path.split('/').next().unwrap();
    let banned: &[&str] = match place {
        "engine" => &["raft::", "s3::", "hamster::", "openraft", "fjall"],
        "raft" => &["s3::", "hamster::", "io_uring"],
        "s3" => &["hamster::", "io_uring", "openraft", "fjall"],
        "src" => &["openraft", "fjall"],
        _ => return Vec::new(),
    };
    let mut found = Vec::new();
    for word in banned {
        for at in words(&source.code, word) {
            let before = &source.code[..at];
            let own_module = before.ends_with("::") || before.ends_with("mod ");
            if own_module && word.ends_with("::") {
                continue;
            }
            let line = line_of(&source.code, at);
            found.push(format!(
                "{}:{line}: {place}/ may not name `{}`",
                source.path,
                word.trim_end_matches(':')
            ));
        }
    }
    if place == "engine" && !source.path.starts_with("engine/io/uring") {
        for (at, _) in segments_used(&source.code, "io_uring") {
            let line = line_of(&source.code, at);
            found.push(format!("{}:{line}: only engine/io/uring names io_uring", source.path));
        }
    }
    if place == "raft" && !source.path.ends_with("tests.rs") {
        for (at, segment) in segments_used(&source.code, "engine") {
            if !ENGINE_FOR_RAFT.contains(&segment.as_str()) {
                let line = line_of(&source.code, at);
                found.push(format!("{}:{line}: raft may not use engine::{segment}", source.path));
            }
        }
    }
    found
}

/// Prints that no `allow(clippy::print_...)` above them in the file allows, and those that are never allowed.
fn stray_prints(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for word in STRAY {
        let to_stderr = word.starts_with('e');
        let lint = if to_stderr { "allow(clippy::print_stderr" } else { "allow(clippy::print_stdout" };
        let admitted_from = source.text.find(lint).filter(|_| word.contains("print"));
        for at in words(&source.code, word) {
            if admitted_from.is_none_or(|from| at < from) {
                found.push(format!("{}:{}: stray {word}", source.path, line_of(&source.code, at)));
            }
        }
    }
    found
}

fn unsafe_out_of_place(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for at in words(&source.code, "unsafe") {
        let line = line_of(&source.code, at);
        if !UNSAFE_PLACES.iter().any(|place| source.path.starts_with(place)) {
            found.push(format!("{}:{line}: unsafe outside {}", source.path, UNSAFE_PLACES.join(", ")));
            continue;
        }
        let next = source.code[at + "unsafe".len()..].trim_start();
        let above = &lines[line.saturating_sub(1 + SAFETY_LINES_ABOVE)..line];
        if (next.starts_with('{') || next.starts_with("impl")) && !above.iter().any(|l| l.contains("SAFETY"))
        {
            found.push(format!("{}:{line}: unsafe without a SAFETY line", source.path));
        }
    }
    found
}

/// Paths that exist on one machine only. Assembled here, so that this file does not contain them.
fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let marks =
        [concat!("/wo", "rk/"), concat!("/tmp/", "wt"), concat!("/tmp/", "target"), concat!("/ro", "ot/")];
    let report = |(n, _): (usize, &str)| format!("{path}:{}: a path of somebody's machine", n + 1);
    text.lines()
        .enumerate()
        .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)))
        .map(report)
        .collect()
}

/// The files that `mod` declarations in `source` name, those of `#[path]` among them; not all need exist.
fn declared_files(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.strip_suffix(".rs").unwrap();
    let is_root = matches!(stem, "lib" | "main" | "mod")
        || matches!(folder, "tests" | "benches")
        || folder.ends_with("/benches");
    let children = if is_root { folder.to_owned() } else { format!("{folder}/{stem}") };
    let text: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for at in words(&source.code, "mod") {
        let rest = source.code[at + 3..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || !rest[name.len()..].trim_start().starts_with(';') {
            continue;
        }
        let line = line_of(&source.code, at);
        let mut above = text[..line - 1].iter().rev().take_while(|l| l.trim_start().starts_with("#["));
        let given = above.find_map(|l| Some(l.split_once("#[path = \"")?.1.split_once('"')?.0));
        match given {
            Some(path) => found.push(format!("{folder}/{path}")),
            None => found.extend([format!("{children}/{name}.rs"), format!("{children}/{name}/mod.rs")]),
        }
    }
    found
}

/// Files that Cargo starts from: crate roots, and each file straight in a tests or benches folder.
fn is_crate_root(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let crates =
        ["src/main.rs", "src/lib.rs", "engine/lib.rs", "raft/lib.rs", "s3/lib.rs", "tests/fuzz/lib.rs"];
    crates.contains(&path)
        || path == "build.rs"
        || matches!(folder, "tests" | "benches" | "src/bin" | "examples")
        || folder.ends_with("/benches")
        || (folder.ends_with("/tests") && !folder.starts_with("src") && folder.matches('/').count() == 1)
        || folder.ends_with("/fuzz_targets")
        || (folder.starts_with("tests/") && file == "main.rs")
}

fn unreachable_files(sources: &[Source]) -> Vec<String> {
    let declared: BTreeSet<String> = sources.iter().flat_map(declared_files).collect();
    let unused = |s: &&Source| !is_crate_root(&s.path) && !declared.contains(&s.path);
    sources.iter().filter(unused).map(|s| format!("{}: no `mod` declares it", s.path)).collect()
}

/// Folders whose last name, with a slash, is missing from the code map. A fuzz target's seeds are in a folder of
/// its name.
fn unnamed_folders(map: &str, folders: &BTreeSet<String>) -> Vec<String> {
    let named = |folder: &&String| {
        let name = folder.rsplit('/').next().unwrap();
        let by_their_parent = ["tests/fuzz/corpus/", "tests/compat/sdk/"];
        by_their_parent.iter().any(|parent| folder.starts_with(parent))
            || !words(map, &format!("{name}/")).is_empty()
    };
    let report =
        |folder: &String| format!("{folder}/: the code map in docs/ARCHITECTURE.md does not name it");
    folders.iter().filter(|f| !named(f)).map(report).collect()
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
}

fn check_all(detector: fn(&Source) -> Vec<String>) {
    let sources = rust_sources();
    assert!(sources.len() > 3, "the sources were not found below {}", root().display());
    assert_none(sources.iter().flat_map(detector).collect());
}

#[test]
fn no_file_is_too_long() {
    check_all(long_file);
}

#[test]
fn no_function_is_too_long() {
    check_all(long_functions);
}

#[test]
fn imports_go_one_way() {
    check_all(wrong_imports);
}

#[test]
fn no_debug_print_was_left() {
    check_all(stray_prints);
}

#[test]
fn unsafe_stays_in_its_places_and_says_why_it_is_sound() {
    check_all(unsafe_out_of_place);
}

#[test]
fn every_file_is_used() {
    assert_none(unreachable_files(&rust_sources()));
}

#[test]
fn the_code_map_names_every_folder() {
    let document =
        std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the document is missing");
    let (_, map) = document.split_once("## Code map").expect("the document has a code map");
    let folders =
        all_files().iter().filter_map(|p| relative(p).rsplit_once('/').map(|(f, _)| f.to_owned())).collect();
    assert_none(unnamed_folders(map, &folders));
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let mut found = Vec::new();
    for path in all_files() {
        if let Ok(text) = std::fs::read_to_string(&path) {
            found.extend(machine_paths(&relative(&path), &text));
        }
    }
    assert_none(found);
}

/// The detectors themselves.
mod detectors {
    use super::*;

    fn count(detector: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
        detector(&Source::new(path, text)).len()
    }

    #[test]
    fn blank_comments_strings_and_characters_but_not_lifetimes() {
        let text = "a /* b /* c */ d */ e // f\n\"g\\\"h\" 'i' '\\'' &'j k r#\"l\"m\"# b\"n\" 'é' o";
        let code = blank_comments_and_literals(text);
        let left: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(left, ["a", "e", "&'j", "k", "b", "o"]);
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn see_long_files_and_functions() {
        assert_eq!(count(long_file, "a.rs", &"x\n".repeat(600)), 0);
        assert_eq!(count(long_file, "a.rs", &"x\n".repeat(601)), 1);
        let function =
            |lines: usize| format!("fn a(b: [u8; 4]) -> C {{\n{}}}\nfn d();\n", "x;\n".repeat(lines - 2));
        assert_eq!(count(long_functions, "a.rs", &function(80)), 0);
        assert_eq!(count(long_functions, "a.rs", &function(81)), 1);
        assert_eq!(count(long_functions, "a.rs", "struct A { f: fn(u8) -> u8 }\nfn b() { \"}\" }"), 0);
    }

    #[test]
    fn see_imports_against_the_direction() {
        for (path, text) in [
            ("engine/a.rs", "use raft::command;"),
            ("engine/a.rs", "fn f() { s3::x() }"),
            ("engine/io/mod.rs", "use io_uring::IoUring;"),
            ("raft/a.rs", "use engine::segment::Log;"),
            ("raft/a.rs", "use engine::{io::File, write};"),
            ("raft/a.rs", "use s3::op;"),
            ("s3/a.rs", "use openraft::Raft;"),
            ("s3/a.rs", "use io_uring::IoUring;"),
            ("src/a.rs", "let x = fjall::open();"),
        ] {
            assert_eq!(count(wrong_imports, path, text), 1, "{path}: {text}");
        }
        for (path, text) in [
            ("engine/io/uring/ring.rs", "use io_uring::IoUring;"),
            ("engine/a.rs", "// raft::x is not ours\nlet s = \"openraft\";"),
            ("raft/a.rs", "use engine::{io::{File, Task}, ids};\nuse openraft::Raft;"),
            ("s3/a.rs", "use engine::write;\nuse raft::command;\nuse crate::raft::x;"),
        ] {
            assert_eq!(count(wrong_imports, path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn see_stray_prints_and_unsafe() {
        assert_eq!(count(stray_prints, "s3/a.rs", "fn f() { dbg!(1); println!(); eprint!(); }"), 3);
        assert_eq!(
            count(stray_prints, "s3/a.rs", "#[allow(clippy::print_stderr)]\nfn f() { eprintln!() }"),
            0
        );
        assert_eq!(
            count(stray_prints, "s3/a.rs", "#[allow(clippy::print_stderr)]\nfn f() { println!() }"),
            1
        );
        assert_eq!(count(stray_prints, "s3/a.rs", "// dbg!\nwriteln!(out, \"todo!\")"), 0);
        assert_eq!(count(unsafe_out_of_place, "s3/a.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(count(unsafe_out_of_place, "s3/a.rs", "#![forbid(unsafe_code)] // unsafe"), 0);
        assert_eq!(count(unsafe_out_of_place, "engine/buf/a.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(count(unsafe_out_of_place, "engine/buf/a.rs", "// SAFETY: g is pure.\nunsafe { g() }"), 0);
    }

    #[test]
    fn see_files_that_nothing_declares() {
        let tree = |extra: &str| {
            vec![
                Source::new("engine/lib.rs", &format!("mod a;\npub mod b; {extra}")),
                Source::new("engine/a.rs", "#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\nmod inner;"),
                Source::new("engine/a_tests.rs", ""),
                Source::new("engine/a/inner.rs", ""),
                Source::new("engine/b/mod.rs", "mod inline { }"),
                Source::new("engine/c.rs", ""),
                Source::new("tests/tidy.rs", ""),
            ]
        };
        assert_eq!(unreachable_files(&tree("")).len(), 1);
        assert_eq!(unreachable_files(&tree("mod c;")).len(), 0);
        assert_eq!(unreachable_files(&tree("// mod c;")).len(), 1);
    }

    #[test]
    fn see_folders_that_the_code_map_forgot_and_machine_paths() {
        let folders = ["engine", "engine/io", "perf"].map(str::to_owned).into();
        assert_eq!(unnamed_folders("`engine/` with `io/`; perf", &folders).len(), 1);
        assert_eq!(unnamed_folders("engine/ io/ and perf/run", &folders).len(), 0);
        assert_eq!(unnamed_folders("", &["tests/fuzz/corpus/range".to_owned()].into()).len(), 0);
        assert_eq!(unnamed_folders("", &["tests/fuzz/corpus".to_owned()].into()).len(), 1);
        assert_eq!(machine_paths("a.md", &format!("ok\nsee {}x", concat!("/wo", "rk/"))).len(), 1);
        assert_eq!(machine_paths("a.md", "see target/ and ../work").len(), 0);
    }
}
