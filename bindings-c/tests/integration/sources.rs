//! What the sources promise and no compiler checks.

use std::fs;

use super::crate_dir;

/// Exported functions whose body is not one guard.
fn unguarded(source: &str) -> Vec<String> {
    source
        .split("#[unsafe(no_mangle)]")
        .skip(1)
        .filter_map(|export| {
            let name = export.split_once("fn ").and_then(|(_, rest)| rest.split('(').next()).unwrap_or("?").to_owned();
            let end = export.find("\n}").unwrap_or(export.len());
            let body = export[..end].split_once(" {\n").map_or("", |(_, body)| body.trim());
            let guarded = body.starts_with("boundary!(") && body.ends_with(')') && closes_at_end(body);
            (!guarded).then_some(name)
        })
        .collect()
}

/// The first parenthesis is closed by the last one.
fn closes_at_end(body: &str) -> bool {
    let mut depth = 0;
    for (index, letter) in body.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return index + 1 == body.len();
        }
    }
    false
}

#[test]
fn every_exported_body_is_guarded() {
    let mut exports = 0;
    for entry in fs::read_dir(crate_dir().join("src")).expect("the sources") {
        let path = entry.expect("an entry").path();
        let source = fs::read_to_string(&path).expect("a source");
        exports += source.matches("#[unsafe(no_mangle)]").count();
        assert_eq!(unguarded(&source), Vec::<String>::new(), "{}", path.display());
    }
    let listed = fs::read_to_string(crate_dir().join("exports.txt")).expect("exports.txt").lines().count();
    assert_eq!(exports, listed, "exports.txt lists another number of functions than the sources export");
}

#[test]
fn a_body_without_a_guard_is_found() {
    let export =
        |body: &str| format!("#[unsafe(no_mangle)]\npub extern \"C\" fn evbus_x(a: i32) -> i32 {{\n{body}\n}}\n");
    for guarded in ["    boundary!(0 => a)", "    boundary!(0 => {\n        f(a)\n    })"] {
        assert!(unguarded(&export(guarded)).is_empty(), "{guarded}");
    }
    for bare in [
        "    a",
        "    f();\n    boundary!(0 => a)",
        "    boundary!(0 => a) + (1)",
        "    let b = boundary!(0 => a);\n    b",
    ] {
        assert_eq!(unguarded(&export(bare)), ["evbus_x"], "{bare}");
    }
}

#[test]
fn cargo_c_names_the_library_by_its_abi() {
    let manifest = fs::read_to_string(crate_dir().join("Cargo.toml")).expect("the manifest");
    let (_, library) = manifest.split_once("[package.metadata.capi.library]").expect("a section for the library");
    let version = library.lines().find_map(|line| line.strip_prefix("version = \"")).expect("a version");
    let source = fs::read_to_string(crate_dir().join("src/version.rs")).expect("a source");
    let (_, abi) = source.split_once("EVBUS_ABI_VERSION: i32 = ").expect("the number of the ABI");
    let abi = abi.split(';').next().expect("a number");
    let (_, rest) = env!("CARGO_PKG_VERSION").split_once('.').expect("minor and patch");
    assert_eq!(version.trim_end_matches('"'), format!("{abi}.{rest}"));
}
