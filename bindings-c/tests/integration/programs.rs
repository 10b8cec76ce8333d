//! C and C++ programs that use the library, files of `tests/c` and `tests/cpp`: they check and end with status 0.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{compilers, crate_dir, include_dir, library, run, scratch};

/// A program of `tests/c`.
fn compiled(name: &str) -> PathBuf {
    strictly(name, &crate_dir().join(format!("tests/c/{name}.c")))
}

/// Compiles a program with every compiler, strictly, and gives what the first one made.
fn strictly(name: &str, source: &Path) -> PathBuf {
    let folder = scratch(&format!("programs/{name}"));
    // The name that the linker writes into the program is the one that must lie beside it.
    let versioned = folder.join("libevbus.so.1");
    fs::copy(library(), &versioned).expect("a copy of the library");
    let (standard, runtime) = match source.extension().and_then(|extension| extension.to_str()) {
        Some("cpp") => ("-std=c++17", Some("-lstdc++")),
        _ => ("-std=c99", None),
    };
    let programs: Vec<PathBuf> = compilers()
        .into_iter()
        .map(|compiler| {
            let program = folder.join(compiler);
            run(Command::new(compiler)
                .args([standard, "-O1", "-g", "-Wall", "-Wextra", "-pedantic", "-Werror", "-pthread", "-I"])
                .arg(include_dir())
                .arg(source)
                .arg(&versioned)
                .arg("-Wl,-rpath,$ORIGIN")
                .args(runtime)
                .arg("-o")
                .arg(&program));
            program
        })
        .collect();
    programs.into_iter().next().expect("a compiler")
}

/// One test per file, so that they run side by side.
macro_rules! programs {
    ($($(#[$doc:meta])* $test:ident = $name:literal;)+) => {
        const ALL: &[&str] = &[$($name),+];
        $( $(#[$doc])* #[test] fn $test() { assert_eq!(run(&mut Command::new(compiled($name))).trim(), "ok"); } )+
    };
}

#[cfg(target_os = "linux")]
programs! {
    the_header_belongs_to_the_library = "version";
    misuse_is_told_and_crashes_nothing = "misuse";
    events_and_records_are_published = "publish";
    events_are_handled_and_polled = "subscribe";
    subscriptions_have_options_of_their_own = "options";
    dead_letters_are_listed_and_replayed = "dead_letters";
    closing_keeps_its_promises = "close";
    probes_are_answered = "health";
    partitions_are_read_from_another_place = "seek";
    many_threads_share_a_bus = "threads";
    a_child_of_a_fork_is_refused = "fork";
}

#[cfg(target_os = "linux")]
#[test]
fn partitions_are_read_from_another_place_in_cpp() {
    let program = strictly("cpp/seek", &crate_dir().join("tests/cpp/seek.cpp"));
    assert_eq!(run(&mut Command::new(program)).trim(), "ok");
}

#[cfg(target_os = "linux")]
#[test]
fn the_program_of_the_readme_prints_what_it_says() {
    let readme = fs::read_to_string(crate_dir().join("../README.md")).expect("the README");
    let (_, rest) = readme.split_once("```c\n").expect("a block of C");
    let (program, _) = rest.split_once("```").expect("its end");
    let source = scratch("readme").join("readme.c");
    fs::write(&source, program).expect("a file in the target folder");
    let printed = run(&mut Command::new(strictly("readme", &source)));
    assert!(program.contains(&format!("/* {} */", printed.trim())), "it printed {printed}");
}

#[cfg(target_os = "linux")]
#[test]
fn every_program_is_run() {
    let mut found: Vec<String> = fs::read_dir(crate_dir().join("tests/c"))
        .expect("the programs")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"))
        .filter_map(|name| name.strip_suffix(".c").map(str::to_owned))
        .collect();
    found.sort();
    let mut all = ALL.to_vec();
    all.sort_unstable();
    assert_eq!(found, all);
}
