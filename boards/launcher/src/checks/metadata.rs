//! The workspace's packages, as cargo tells them.

use std::path::PathBuf;

use serde::Deserialize;

use crate::workspace::Workspace;

/// What `cargo metadata` says, as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    /// Packages of the workspace.
    pub packages: Vec<Package>,
    /// Identities of the packages that are built for the host by default.
    pub workspace_default_members: Vec<String>,
    /// Top folder.
    pub workspace_root: PathBuf,
}

/// One package.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    /// Identity.
    pub id: String,
    /// Name.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// What is built of it.
    pub targets: Vec<Target>,
}

/// A library, program or test of a package.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// `lib`, `bin`, `test` and others.
    pub kind: Vec<String>,
    /// Its first source.
    pub src_path: PathBuf,
    /// Whether its unit tests are built.
    pub test: bool,
}

/// One dependency of a package.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// Name of the package.
    pub name: String,
    /// `None` for a usual one; `dev` or `build`.
    pub kind: Option<String>,
    /// Folder, for a package of the workspace.
    pub path: Option<PathBuf>,
}

impl Metadata {
    /// Asks cargo.
    pub fn read(workspace: &Workspace) -> Result<Self, String> {
        let output = workspace
            .cargo()
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .output()
            .map_err(|error| format!("cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
    }

    /// The packages that are built for the host.
    pub fn host_packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| self.workspace_default_members.contains(&p.id))
    }

    /// A package's folder relative to the top, such as `kernel-common/mm`.
    #[must_use]
    pub fn folder(&self, package: &Package) -> String {
        let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
        let relative = folder.strip_prefix(&self.workspace_root).unwrap_or(folder);
        relative.to_string_lossy().into_owned()
    }
}
