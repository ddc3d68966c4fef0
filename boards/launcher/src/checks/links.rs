//! The book and the README: every chapter is listed, every relative link leads somewhere.

use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

/// Checks `README.md` and everything under `docs/src`.
pub fn check(workspace: &Workspace) -> Result<String, String> {
    let chapters = workspace.root().join("docs/src");
    let mut wrong = Vec::new();
    let mut files = vec![workspace.root().join("README.md")];
    collect(&chapters, &mut files).map_err(|e| format!("{}: {e}", chapters.display()))?;
    let summary = read(&chapters.join("SUMMARY.md"))?;
    let listed: Vec<PathBuf> =
        links(&summary).into_iter().map(|link| chapters.join(link)).collect();
    let mut count = 0;
    for file in &files {
        let folder = file.parent().unwrap_or(file);
        let name = file.strip_prefix(workspace.root()).unwrap_or(file).display();
        for link in links(&read(file)?) {
            count += 1;
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !folder.join(path).exists() {
                wrong.push(format!("{name}: {link} leads nowhere"));
            }
        }
        let is_chapter = file.starts_with(&chapters) && !file.ends_with("SUMMARY.md");
        if is_chapter && !listed.contains(file) {
            wrong.push(format!("{name}: not in SUMMARY.md"));
        }
    }
    if wrong.is_empty() {
        Ok(format!("{} files, {count} links", files.len()))
    } else {
        Err(wrong.join("\n"))
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    Ok(())
}

/// The relative targets of Markdown links, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Outside of code spans, which backquotes delimit.
        for part in line.split('`').step_by(2) {
            for rest in part.split("](").skip(1) {
                let target = rest.split(')').next().unwrap_or_default();
                if !target.contains("://") && !target.starts_with("mailto:") {
                    found.push(target.to_owned());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_links_are_found() {
        let text = "a [b](c.md) and [d](e/f.md#g)\n[web](https://x)\n```\n[code](no.md)\n```\n`[x](y)` [z](#here)\n";
        assert_eq!(links(text), ["c.md", "e/f.md#g", "#here"]);
    }
}
