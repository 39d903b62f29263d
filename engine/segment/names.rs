//! Names of segment files. The path follows from core, class and id, so that any core can open a segment.

use std::path::{Path, PathBuf};

use super::Class;

/// The role of a file in a core's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Log,
    Extent,
    Free,
    New,
}

const PREFIXES: [(Role, &str); 4] =
    [(Role::Log, "log-"), (Role::Extent, "extent-"), (Role::Free, "free-"), (Role::New, "new-")];

/// The folder of a core's segments.
pub fn core_dir(data_dir: &Path, core: usize) -> PathBuf {
    data_dir.join(format!("core-{core:02}"))
}

/// The file of a segment.
pub fn segment_path(data_dir: &Path, core: usize, class: Class, segment: u32) -> PathBuf {
    let role = match class {
        Class::Log => Role::Log,
        Class::Extent => Role::Extent,
    };
    core_dir(data_dir, core).join(file_name(role, segment))
}

pub(super) fn file_name(role: Role, segment: u32) -> String {
    let prefix = PREFIXES.iter().find(|(known, _)| *known == role).map_or("", |(_, prefix)| prefix);
    format!("{prefix}{segment:08x}.seg")
}

pub(super) fn parse(path: &Path) -> Option<(Role, u32)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    PREFIXES.iter().find_map(|(role, prefix)| {
        let digits = stem.strip_prefix(prefix)?;
        let canonical = digits.len() == 8 && !digits.starts_with('+');
        canonical.then(|| u32::from_str_radix(digits, 16).ok()).flatten().map(|id| (*role, id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_foreign_files_are_ignored() {
        for role in [Role::Log, Role::Extent, Role::Free, Role::New] {
            assert_eq!(parse(Path::new(&file_name(role, 0xbeef))), Some((role, 0xbeef)));
        }
        for junk in ["log-1.seg", "log-0000000g.seg", "lost+found", "log-+0000001.seg", "log-00000001"] {
            assert_eq!(parse(Path::new(junk)), None, "{junk}");
        }
    }
}
