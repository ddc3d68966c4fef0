//! What memory takes: `smaps` by areas, `smaps_rollup` all together.

use alloc::format;
use alloc::vec::Vec;

use maize_mm::AreaUsage;

use super::Area;
use super::task::{PAGE, area};

/// Lines of bytes, each with its name.
type Lines<'a> = &'a [(&'static str, u64)];

/// What both show after the proportional parts.
fn kinds(usage: &AreaUsage) -> [(&'static str, u64); 6] {
    [
        ("Shared_Clean:", usage.shared_clean),
        ("Shared_Dirty:", usage.shared_dirty),
        ("Private_Clean:", usage.private_clean),
        ("Private_Dirty:", usage.private_dirty),
        ("Referenced:", usage.resident()),
        ("Anonymous:", usage.anonymous),
    ]
}

/// What both end with: nothing is paged out, and there are no huge pages.
const NONE: Lines<'_> = &[
    ("LazyFree:", 0),
    ("AnonHugePages:", 0),
    ("ShmemPmdMapped:", 0),
    ("FilePmdMapped:", 0),
    ("Shared_Hugetlb:", 0),
    ("Private_Hugetlb:", 0),
    ("Swap:", 0),
    ("SwapPss:", 0),
    ("Locked:", 0),
];

fn put(text: &mut Vec<u8>, lines: Lines<'_>) {
    for (name, bytes) in lines {
        text.extend(format!("{name:<16}{:>8} kB\n", bytes / 1024).into_bytes());
    }
}

/// The text of `smaps`.
pub(super) fn by_area(areas: &[(Area, AreaUsage)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (shown, usage) in areas {
        text.extend(area(shown));
        let sizes = [("Size:", shown.end - shown.start), ("KernelPageSize:", PAGE)];
        put(&mut text, &sizes);
        put(&mut text, &[("MMUPageSize:", PAGE), ("Rss:", usage.resident())]);
        put(&mut text, &[("Pss:", usage.proportional), ("Pss_Dirty:", usage.proportional_dirty)]);
        put(&mut text, &kinds(usage));
        put(&mut text, NONE);
        text.extend_from_slice(b"THPeligible:           0\nVmFlags:");
        let [read, write, execute] = shown.access;
        for (has, flag) in [(read, " rd"), (write, " wr"), (execute, " ex"), (shown.shared, " sh")]
        {
            text.extend_from_slice(if has { flag.as_bytes() } else { b"" });
        }
        text.push(b'\n');
    }
    text
}

/// The text of `smaps_rollup`; none if there is no memory.
pub(super) fn together(areas: &[(Area, AreaUsage)]) -> Vec<u8> {
    let (Some((first, _)), Some((last, _))) = (areas.first(), areas.last()) else {
        return Vec::new();
    };
    let all = areas.iter().fold(AreaUsage::default(), |all, (_, usage)| all.with(*usage));
    let anonymous = |shared: bool| -> u64 {
        let of_these = areas.iter().filter(|(area, _)| area.shared == shared);
        of_these.map(|(_, usage)| usage.proportional_anonymous).sum()
    };
    let name = b"[rollup]".to_vec();
    let mut text = area(&Area { start: first.start, end: last.end, name, ..Area::default() });
    put(&mut text, &[("Rss:", all.resident()), ("Pss:", all.proportional)]);
    let of_files = all.proportional - all.proportional_anonymous;
    let parts = [
        ("Pss_Dirty:", all.proportional_dirty),
        ("Pss_Anon:", anonymous(false)),
        ("Pss_File:", of_files),
        ("Pss_Shmem:", anonymous(true)),
    ];
    put(&mut text, &parts);
    put(&mut text, &kinds(&all));
    put(&mut text, NONE);
    text
}
