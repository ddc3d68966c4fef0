//! Metadata of two files: one link, the same sites, the same values in the same order.

use maize_xisa_metadata::{Callee, Location, Program, Site};

use super::{Property, Report};
use crate::elf::Elf;

/// Checks that the files' metadata agree.
pub fn check(first: &Elf, second: &Elf, report: &mut Report) {
    let (a, b) = (&first.program, &second.program);
    report.sites = a.sites.len();
    if a.build_id != b.build_id {
        let text = format!("the files come from two links: {} and {}", a.build_id, b.build_id);
        report.find(Property::BuildId, None, text);
    }
    for elf in [first, second] {
        if elf.build_id.as_deref() != Some(&elf.program.build_id.0) {
            let text = "the metadata is of another link than the code".to_owned();
            report.find(Property::BuildId, Some(elf.isa), text);
        }
    }
    if a.thread_locals != b.thread_locals {
        let text = format!("{:?} and {:?}", a.thread_locals, b.thread_locals);
        report.find(Property::ThreadLocals, None, text);
    }
    if a.transparent != b.transparent || a.functions != b.functions {
        let text = "the files list other functions that may be on the stack".to_owned();
        report.find(Property::Sites, None, text);
    }
    if a.sites.len() != b.sites.len() {
        let text = format!("{} sites and {} sites", a.sites.len(), b.sites.len());
        report.find(Property::Sites, None, text);
    }
    for ((number, one), other) in a.numbered_sites().zip(&b.sites) {
        if let Some(difference) = site_difference(one, other) {
            let text = format!("site {number}{}: {difference}", in_function(a, one));
            report.find(Property::Sites, None, text);
        }
    }
}

fn in_function(program: &Program, site: &Site) -> String {
    program.function_of(site).map_or_else(String::new, |f| format!(" in {}", f.name))
}

/// How two sites differ, if they do.
pub(crate) fn site_difference(one: &Site, other: &Site) -> Option<String> {
    if one == other {
        return None;
    }
    let describe_callee = |callee: &Callee| match callee {
        Callee::Direct(name) => name.clone(),
        Callee::Indirect => "a pointer".to_owned(),
    };
    let line = |location: &Option<Location>| location.map_or(0, |location| location.line);
    Some(if one.function != other.function {
        format!("in function {} and {}", one.function, other.function)
    } else if one.callee != other.callee {
        format!("calls {} and {}", describe_callee(&one.callee), describe_callee(&other.callee))
    } else if one.result != other.result {
        format!("its call returns {:?} and {:?}", one.result, other.result)
    } else if one.record_bytes != other.record_bytes {
        format!("a record of {} and of {} bytes", one.record_bytes, other.record_bytes)
    } else if one.values.len() != other.values.len() {
        format!("{} and {} values", one.values.len(), other.values.len())
    } else if let Some((a, b)) = one.values.iter().zip(&other.values).find(|(a, b)| a != b) {
        format!("{} {} at {} and {} {} at {}", a.kind, a.name, a.offset, b.kind, b.name, b.offset)
    } else if line(&one.location) != line(&other.location) {
        format!("at line {} and {}", line(&one.location), line(&other.location))
    } else {
        "other details".to_owned()
    })
}
