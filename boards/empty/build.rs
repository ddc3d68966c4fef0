//! Links each empty kernel by its script.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    for machine in ["q35", "virt"] {
        println!("cargo::rerun-if-changed={machine}.ld");
        if std::env::var_os(format!("CARGO_FEATURE_{}", machine.to_uppercase())).is_some() {
            println!("cargo::rustc-link-arg-bin=empty-{machine}=-T{folder}/{machine}.ld");
            println!("cargo::rustc-link-arg-bin=empty-{machine}=--no-pie");
        }
    }
}
