//! Links the kernels of this board by their script.

fn main() {
    println!("cargo::rerun-if-changed=q35.ld");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    if std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default() != "none" {
        return;
    }
    // RUSTFLAGS in the environment replaces what .cargo/config.toml says, and a kernel that is
    // linked to be relocated has nobody to relocate it.
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if !flags.contains("relocation-model=static") {
        println!("cargo::error=maize-q35 needs -Crelocation-model=static; is RUSTFLAGS set?");
    }
    let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rustc-link-arg-bins=-T{dir}/q35.ld");
    println!("cargo::rustc-link-arg-bins=--no-dynamic-linker");
    println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
}
