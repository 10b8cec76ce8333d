//! `include/evbus.h` is what the sources say, and a strict compiler takes it.

use std::fs;
use std::process::Command;

use super::{compilers, crate_dir, include_dir, run, scratch};

/// The files in the order of the header: what comes first in it explains what follows.
const SOURCES: [&str; 16] = [
    "version.rs",
    "error.rs",
    "text.rs",
    "callback.rs",
    "config.rs",
    "log.rs",
    "bus.rs",
    "event.rs",
    "slots.rs",
    "publish.rs",
    "delivery.rs",
    "options.rs",
    "subscribe.rs",
    "dead_letters.rs",
    "seek.rs",
    "testing.rs",
];

/// Files that declare types only.
const TYPES: [&str; 2] = ["callback.rs", "slots.rs"];

fn generated() -> String {
    let config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).expect("cbindgen.toml");
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |all, file| {
        all.with_src(crate_dir().join("src").join(file))
    });
    let mut header = Vec::new();
    builder.generate().expect("a header").write(&mut header);
    String::from_utf8(header).expect("text")
}

#[test]
fn the_header_is_what_the_sources_say() {
    let path = include_dir().join("evbus.h");
    let generated = generated();
    if std::env::var_os("EVBUS_UPDATE_HEADER").is_some_and(|value| value == "1") {
        fs::write(&path, &generated).expect("include/evbus.h can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/evbus.h is not what the sources say; run EVBUS_UPDATE_HEADER=1 cargo test -p evbus and commit it. \
         First difference: {:?}",
        first_difference(&committed, &generated)
    );
}

fn first_difference<'a>(committed: &'a str, generated: &'a str) -> Option<(usize, Option<&'a str>, Option<&'a str>)> {
    let (mut old, mut new) = (committed.lines(), generated.lines());
    (1..)
        .map(|line| (line, old.next(), new.next()))
        .take_while(|(_, old, new)| old.is_some() || new.is_some())
        .find(|(_, old, new)| old != new)
}

#[test]
fn every_exported_function_is_in_a_file_that_the_header_is_made_of() {
    for entry in fs::read_dir(crate_dir().join("src")).expect("the sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let exports = fs::read_to_string(&path).expect("a source").contains("#[unsafe(no_mangle)]");
        assert_eq!(exports, SOURCES.contains(&&*name) && !TYPES.contains(&&*name), "{name}");
    }
}

#[test]
fn strict_compilers_take_the_header() {
    let folder = scratch("header");
    let source = "#include <evbus.h>\n#include <evbus.h>\nint main(void) { return EVBUS_OK; }\n";
    for (file, language, standards) in
        [("header.c", "c", &["c99", "c11"][..]), ("header.cpp", "c++", &["c++11", "c++17"])]
    {
        let path = folder.join(file);
        fs::write(&path, source).expect("a file in the target folder");
        for compiler in compilers() {
            for standard in standards {
                run(Command::new(compiler)
                    .args(["-fsyntax-only", "-Wall", "-Wextra", "-pedantic", "-Werror", "-x", language])
                    .arg(format!("-std={standard}"))
                    .arg("-I")
                    .arg(include_dir())
                    .arg(&path));
            }
        }
    }
}
