//! A C program that links the shared library by its versioned name.

use std::fs;
use std::process::Command;

use super::{compilers, crate_dir, include_dir, library, run, scratch};

#[cfg(target_os = "linux")]
#[test]
fn a_program_finds_the_version_and_the_error_table_of_its_header() {
    let folder = scratch("program");
    // The name that the linker writes into the program is the one that must lie beside it.
    let versioned = folder.join("libevbus.so.1");
    fs::copy(library(), &versioned).expect("a copy of the library");
    for compiler in compilers() {
        let program = folder.join(compiler);
        run(Command::new(compiler)
            .args(["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
            .arg(include_dir())
            .arg(crate_dir().join("tests/program.c"))
            .arg(&versioned)
            .arg("-Wl,-rpath,$ORIGIN")
            .arg("-o")
            .arg(&program));
        let printed = run(&mut Command::new(&program));
        assert_eq!(printed.trim(), format!("evbus {} abi 1", env!("CARGO_PKG_VERSION")), "{compiler}");
    }
}
