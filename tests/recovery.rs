//! Each module that recovers has a table with a row for each state that a crash or an accident leaves. Each row has
//! a name, such as `S7`, and exactly one test cites it (`S7: `).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The tables: the letter of their rows, and where they are.
const TABLES: [(char, &str); 6] = [
    ('S', "engine/segment/open.rs"),
    ('B', "engine/segment/recovery.rs"),
    ('L', "raft/wal/recovery.rs"),
    ('T', "raft/reconcile.rs"),
    ('D', "src/data_dir.rs"),
    ('I', "src/identity/mod.rs"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files of the crates, not of `tests/`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names of a table's rows, which are in its first column.
fn rows(letter: char, text: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("//! | ")?.split('|').next()?.trim().to_owned());
    text.lines().filter_map(name).filter(|name| is_row(letter, name)).collect()
}

fn is_row(letter: char, name: &str) -> bool {
    name.strip_prefix(letter).is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The rows that tests cite: `S7: ` in a doc comment or at the start of a text.
fn cited(text: &str) -> Vec<String> {
    let names = text.split([' ', '"', '\n']).filter_map(|word| word.strip_suffix(':'));
    names.filter(|name| TABLES.iter().any(|(letter, _)| is_row(*letter, name))).map(str::to_owned).collect()
}

#[test]
fn each_row_of_a_recovery_table_has_exactly_one_test() {
    let mut files = Vec::new();
    ["engine", "raft", "src"].iter().for_each(|folder| sources(&root().join(folder), &mut files));
    let mut citations: BTreeMap<String, usize> = BTreeMap::new();
    for path in files {
        for name in cited(&std::fs::read_to_string(&path).expect("readable")) {
            *citations.entry(name).or_default() += 1;
        }
    }
    let mut all = Vec::new();
    for (letter, file) in TABLES {
        let text = std::fs::read_to_string(root().join(file)).expect("a table");
        let rows = rows(letter, &text);
        let expected: Vec<String> = (1..=rows.len()).map(|number| format!("{letter}{number}")).collect();
        assert!(!rows.is_empty() && rows == expected, "{file}: the rows are numbered in order: {rows:?}");
        all.extend(rows);
    }
    for row in &all {
        assert_eq!(citations.remove(row), Some(1), "row {row} has one test");
    }
    assert!(citations.is_empty(), "rows that are in no table: {citations:?}");
}

#[test]
fn rows_and_citations_are_found() {
    let text = "//! | S1  | x |\n//! |-----|---|\n//! | S2 | y |\n//! | name | z |\n// | S3 | no |";
    assert_eq!(rows('S', text), ["S1", "S2"]);
    assert_eq!(cited("/// S1: a row. S2: another.\n(\"T3: x\", S4, B5:, XS6: )"), ["S1", "S2", "T3"]);
}
