//! The shared library exports what is listed, under the name that is promised, and needs nothing but the C library.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::{crate_dir, library, run};

#[cfg(target_os = "linux")]
#[test]
fn the_library_exports_what_is_listed_and_nothing_else() {
    let listed = fs::read_to_string(crate_dir().join("exports.txt")).expect("exports.txt");
    let listed: Vec<&str> = listed.lines().collect();
    assert!(listed.is_sorted(), "exports.txt is not sorted");
    let symbols = run(Command::new("nm").args(["-D", "--defined-only", "-P"]).arg(library()));
    let exported: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(exported.into_iter().collect::<Vec<_>>(), listed, "exports.txt is not what the library exports");
}

#[cfg(target_os = "linux")]
#[test]
fn the_library_carries_its_versioned_name_and_needs_only_the_c_library() {
    let dynamic = run(Command::new("readelf").args(["-d", "-W"]).arg(library()));
    let names = |tag: &str| -> Vec<&str> {
        dynamic
            .lines()
            .filter(|line| line.contains(tag))
            .filter_map(|line| line.split_once('[')?.1.split(']').next())
            .collect()
    };
    assert_eq!(names("(SONAME)"), ["libevbus.so.1"]);
    let known = ["libc.so", "libm.so", "libgcc_s.so", "libpthread.so", "libdl.so", "librt.so", "ld-linux"];
    let needed = names("(NEEDED)");
    assert!(!needed.is_empty(), "{dynamic}");
    let strangers: Vec<_> = needed.iter().filter(|name| !known.iter().any(|known| name.starts_with(known))).collect();
    assert!(strangers.is_empty(), "the library needs {strangers:?}");
}
