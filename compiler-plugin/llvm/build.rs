//! Builds the shim against the LLVM that `llvm-sys` links.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/shim.cpp");
    println!("cargo::rerun-if-env-changed=LLVM_SYS_221_PREFIX");
    let prefix = std::env::var("LLVM_SYS_221_PREFIX").ok();
    let config = match prefix {
        Some(prefix) => format!("{prefix}/bin/llvm-config"),
        None => "llvm-config-22".to_owned(),
    };
    let Ok(output) = Command::new(&config).arg("--includedir").output() else {
        println!("cargo::error=LLVM 22 is missing ({config}): ./maize test xisa installs it");
        return;
    };
    let include = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("src/shim.cpp")
        .define("_GNU_SOURCE", None)
        .define("__STDC_CONSTANT_MACROS", None)
        .define("__STDC_FORMAT_MACROS", None)
        .define("__STDC_LIMIT_MACROS", None)
        .flag("-isystem")
        .flag(&include)
        .flag("-fno-exceptions")
        .flag("-fno-rtti")
        .warnings(true)
        .opt_level(1)
        .compile("maize-llvm-shim");
}
