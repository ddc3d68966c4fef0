//! What memory takes: `smaps` by areas, `smaps_rollup` all together.

use alloc::format;
use alloc::vec::Vec;

use maize_mm::AreaUsage;

use super::task::{PAGE, area};
use super::text::AREAS;
use super::{Area, ProcSource};

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

/// What `smaps` says of an area.
pub(super) fn of_area((shown, usage): &(Area, AreaUsage)) -> Vec<u8> {
    let mut text = area(shown);
    put(&mut text, &[("Size:", shown.end - shown.start), ("KernelPageSize:", PAGE)]);
    put(&mut text, &[("MMUPageSize:", PAGE), ("Rss:", usage.resident())]);
    put(&mut text, &[("Pss:", usage.proportional), ("Pss_Dirty:", usage.proportional_dirty)]);
    put(&mut text, &kinds(usage));
    put(&mut text, NONE);
    text.extend_from_slice(b"THPeligible:           0\nVmFlags:");
    let [read, write, execute] = shown.access;
    for (has, flag) in [(read, " rd"), (write, " wr"), (execute, " ex"), (shown.shared, " sh")] {
        text.extend_from_slice(if has { flag.as_bytes() } else { b"" });
    }
    text.push(b'\n');
    text
}

/// The text of `smaps_rollup`; none if there is no memory.
pub(super) fn together(source: &dyn ProcSource, pid: u32) -> Vec<u8> {
    let mut bounds: Option<(u64, u64)> = None;
    let mut all = AreaUsage::default();
    let (mut of_processes, mut of_objects) = (0, 0);
    loop {
        let from = bounds.map_or(0, |(_, end)| end);
        let areas = source.areas_in_use(pid, from, AREAS);
        for (area, usage) in &areas {
            all = all.with(*usage);
            let anonymous = if area.shared { &mut of_objects } else { &mut of_processes };
            *anonymous += usage.proportional_anonymous;
            bounds = Some((bounds.map_or(area.start, |(start, _)| start), area.end));
        }
        if areas.len() < AREAS {
            break;
        }
    }
    let Some((start, end)) = bounds else { return Vec::new() };
    let name = b"[rollup]".to_vec();
    let mut text = area(&Area { start, end, name, ..Area::default() });
    put(&mut text, &[("Rss:", all.resident()), ("Pss:", all.proportional)]);
    let parts = [
        ("Pss_Dirty:", all.proportional_dirty),
        ("Pss_Anon:", of_processes),
        ("Pss_File:", all.proportional - all.proportional_anonymous),
        ("Pss_Shmem:", of_objects),
    ];
    put(&mut text, &parts);
    put(&mut text, &kinds(&all));
    put(&mut text, NONE);
    text
}
