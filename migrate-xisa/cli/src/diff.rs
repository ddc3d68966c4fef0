//! What is different between the metadata of two builds.

use std::collections::BTreeMap;

use maize_xisa_metadata::{Program, Site};

use crate::inspect::callee;
use crate::verify::agree::site_difference;

/// The sites of each function, in their order.
fn by_function(program: &Program) -> BTreeMap<&str, Vec<&Site>> {
    let mut functions: BTreeMap<&str, Vec<&Site>> = BTreeMap::new();
    for site in &program.sites {
        if let Some(function) = program.function_of(site) {
            functions.entry(&function.name).or_default().push(site);
        }
    }
    functions
}

/// Lines that say what has changed from one program to another; none if nothing has.
#[must_use]
pub fn lines(old: &Program, new: &Program) -> Vec<String> {
    let mut lines = Vec::new();
    if old.polls != new.polls {
        lines.push(format!("polls: {:?} -> {:?}", old.polls, new.polls));
    }
    if old.thread_locals != new.thread_locals {
        let (a, b) = (old.thread_locals.bytes, new.thread_locals.bytes);
        lines.push(format!("thread-local variables: {a} -> {b} bytes"));
    }
    let (before, after) = (by_function(old), by_function(new));
    for (name, sites) in &before {
        match after.get(name) {
            None => lines.push(format!("- {name}: {} sites", sites.len())),
            Some(now) => lines.extend(changed(name, sites, now)),
        }
    }
    for (name, sites) in &after {
        if !before.contains_key(name) {
            lines.push(format!("+ {name}: {} sites", sites.len()));
        }
    }
    lines
}

fn changed(name: &str, before: &[&Site], after: &[&Site]) -> Vec<String> {
    if before.len() != after.len() {
        return vec![format!("~ {name}: {} -> {} sites", before.len(), after.len())];
    }
    let pairs = before.iter().zip(after);
    pairs
        .filter_map(|(old, new)| {
            // Indices of functions move with their neighbours, and mean nothing here.
            let mut new = (*new).clone();
            new.function = old.function;
            let difference = site_difference(old, &new)?;
            Some(format!("~ {name}, call of {}: {difference}", callee(old)))
        })
        .collect()
}
