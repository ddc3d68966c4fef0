//! The host's Linux: what it does is what is right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use maize_hostlink::boot::Isa;
use maize_launcher::root::{RootError, busybox_path, fetch_busybox};
use maize_launcher::workspace::Workspace;

use crate::build::{BuildError, Programs, build, sources};
use crate::case::{Case, Layout, Libc, manifest};
use crate::foreign::{self, ForeignError};
use crate::transcript::{Ending, Outcome, Transcript};

/// Why nothing could be run on the host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The programs.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The shell.
    #[error(transparent)]
    Busybox(#[from] RootError),
    /// A foreign program.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// A file or the driver.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The driver stopped.
    #[error("the driver stopped ({status}): {said}")]
    Driver {
        /// Its exit status.
        status: String,
        /// What it said.
        said: String,
    },
}

struct HostLayout {
    programs: Programs,
    sources: PathBuf,
    busybox: PathBuf,
    /// Links to busybox, so that no other tool of the host is taken.
    tools: PathBuf,
    /// The folder of foreign programs.
    foreign: PathBuf,
}

impl Layout for HostLayout {
    fn program(&self, libc: Libc, name: &str) -> String {
        self.programs.folder(libc).join(name).display().to_string()
    }

    fn script(&self, name: &str) -> Vec<String> {
        let script = self.sources.join(format!("{name}.sh"));
        [&self.busybox, Path::new("sh"), &script, &self.tools]
            .map(|path: &Path| path.display().to_string())
            .to_vec()
    }

    fn foreign(&self, name: &str) -> Vec<String> {
        let mut command = self.script(&format!("foreign/{name}"));
        command.push(self.foreign.display().to_string());
        command
    }
}

/// Runs cases natively, each in an empty directory of its own.
pub fn run(cases: &[Case], workspace: &Workspace) -> Result<BTreeMap<String, Outcome>, HostError> {
    // The programs print the same for every instruction set, so x86_64 stands for all.
    let programs = build(Isa::X86_64, workspace)?;
    let driver = programs.driver();
    let folder = tempfile::Builder::new()
        .prefix("maize-programs-")
        .tempdir()
        .map_err(|error| HostError::File("temporary folder".into(), error))?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| HostError::File(path, error)
    };
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).map_err(failed(&tools))?;
    let busybox = busybox_path(Isa::X86_64, workspace);
    for case in cases {
        if let Case::Foreign { name } = case {
            foreign::fetch(name, workspace)?;
        }
    }
    if cases.iter().any(|case| matches!(case, Case::Script { .. } | Case::Foreign { .. })) {
        fetch_busybox(Isa::X86_64, workspace)?;
        let installed = Command::new(&busybox).arg("--install").arg("-s").arg(&tools).output();
        installed.map_err(failed(&busybox))?;
    }
    let layout = HostLayout {
        programs,
        sources: sources(workspace),
        busybox,
        tools,
        foreign: foreign::kept(workspace),
    };
    let list = folder.path().join("manifest");
    std::fs::write(&list, manifest(cases, &layout)).map_err(failed(&list))?;
    let work = folder.path().join("run");
    std::fs::create_dir(&work).map_err(failed(&work))?;
    let mark = mark(folder.path());
    let output = Command::new(&driver)
        .arg(&list)
        .arg(&mark)
        .arg(&work)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(failed(&driver))?;
    let transcript = Transcript::parse(&output.stdout, &mark);
    let mut outcomes: BTreeMap<String, Outcome> = transcript.done.into_iter().collect();
    if let Some((name, output)) = transcript.open {
        outcomes.insert(name, Outcome { ending: Ending::Lost("driver".to_owned()), output });
    } else if !transcript.finished {
        return Err(HostError::Driver {
            status: output.status.to_string(),
            said: String::from_utf8_lossy(&transcript.outside).into_owned(),
        });
    }
    Ok(outcomes)
}

/// A mark that no program prints by accident.
pub(crate) fn mark(folder: &Path) -> String {
    let unique = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    format!("%%{}%%", unique.unwrap_or_default())
}
