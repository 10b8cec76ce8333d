//! Who may import whom, and what only one file may do. What no compiler checks is checked here.

mod paths;

use std::fs;
use std::path::Path;

use paths::{Place, code, imports, paths, words};

/// Each room of the core and what it may import. A new one needs a line, and a thought.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("iso", &[]),
    ("sync", &[]),
    ("event", &["error", "codec"]),
    ("policy", &["event"]),
    ("config", &["error", "event", "policy"]),
    ("codec", &["error", "event", "iso"]),
    ("frame", &["error", "event", "codec", "transport"]),
    ("log", &["error", "event"]),
    ("transport", &["error", "event", "config"]),
    ("runtime", &["error", "log", "sync"]),
    ("metrics", &["error", "event", "runtime"]),
    ("shutdown", &["error", "log", "runtime"]),
    ("health", &["error", "event", "log", "metrics", "runtime", "transport", "subscribe"]),
    ("kafka", &["error", "event", "config", "transport", "codec", "runtime", "log", "metrics"]),
    ("memory", &["error", "event", "config", "transport", "codec", "runtime", "log", "metrics"]),
    ("publish", BUS_HALF),
    ("subscribe", BUS_HALF),
    ("dead_letters", BUS_HALF),
    ("testing", &["error", "event", "config", "runtime", "log", "kafka"]),
];

/// What publishing and subscribing stand on: never a client, never each other.
const BUS_HALF: &[&str] =
    &["error", "event", "policy", "config", "transport", "frame", "codec", "runtime", "metrics", "log", "shutdown"];

/// They see everything.
const ROOFS: [&str; 2] = ["lib", "bus"];

/// Where unsafe code may be: one module of the core, with its parts, and one file of the C library.
const UNSAFE_CORE: &str = "core/src/kafka/ffi";
const UNSAFE_C: &str = "bindings-c/src/boundary.rs";

/// Everything that breaks a rule, a line each, over files given as (path from the root, text).
fn broken(files: &[(String, String)]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut unsafe_in_node = Vec::new();
    for (path, text) in files {
        let place = Place::of(path);
        let mut complain = |what: String| broken.push(format!("{path}: {what}"));
        let everything = code(text);
        let product = paths::without_tests(&everything);
        if !place.is_test {
            if place.krate == "core" {
                if let Err(why) = check_imports(&place, &product) {
                    why.into_iter().for_each(&mut complain);
                }
                if place.room != "runtime" {
                    for spawn in paths(&product).into_iter().filter(|path| spawns(path)) {
                        complain(format!("{} belongs into runtime.rs", spawn.join("::")));
                    }
                }
            }
            let may_name_client = place.krate == "core" && matches!(&*place.room, "kafka" | "testing");
            if !may_name_client && words(&product).any(|word| matches!(word, "rdkafka" | "rdkafka_sys")) {
                complain("only core/src/kafka and core/src/testing.rs name rdkafka".into());
            }
        }
        match &*place.krate {
            "core" if !is_unsafe_core(path) && has_unsafe(&everything) => {
                complain(format!("unsafe code of the core lives in {UNSAFE_CORE}"));
            }
            "bindings-c" if path != UNSAFE_C && has_unsafe_block(&everything) => {
                complain(format!("unsafe blocks of the C library live in {UNSAFE_C}"));
            }
            "bindings-node" if has_unsafe_block(&everything) => unsafe_in_node.push(path.clone()),
            _ => {}
        }
    }
    if unsafe_in_node.len() > 1 {
        broken.push(format!("one file of bindings-node may hold unsafe blocks, not {}", unsafe_in_node.join(", ")));
    }
    broken
}

fn check_imports(place: &Place, product: &str) -> Result<(), Vec<String>> {
    if ROOFS.contains(&&*place.room) {
        return Ok(());
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == place.room) else {
        return Err(vec![format!(
            "the room `{}` is not in ROOMS of architecture.rs: say whom it may import",
            place.room
        )]);
    };
    let is_room = |name: &str| ROOFS.contains(&name) || ROOMS.iter().any(|(room, _)| *room == name);
    let mut strangers: Vec<String> = imports(place, product)
        .into_iter()
        .filter(|name| is_room(name) && *name != place.room && !allowed.contains(&&**name))
        .map(|name| format!("{} may not import {name}", place.room))
        .collect();
    strangers.sort();
    strangers.dedup();
    if strangers.is_empty() { Ok(()) } else { Err(strangers) }
}

/// Starts a thread or a task, or makes what can. A `JoinSet` is left out: its tasks end with the task that owns it.
fn spawns(path: &[String]) -> bool {
    const SPAWNING: [&[&str]; 8] = [
        &["thread", "spawn"],
        &["thread", "Builder"],
        &["thread", "scope"],
        &["tokio", "spawn"],
        &["tokio", "runtime"],
        &["tokio", "task", "spawn"],
        &["tokio", "task", "spawn_blocking"],
        &["tokio", "task", "spawn_local"],
    ];
    SPAWNING.iter().any(|spawning| path.windows(spawning.len()).any(|part| part == *spawning))
}

fn has_unsafe(code: &str) -> bool {
    words(code).any(|word| word == "unsafe")
}

fn is_unsafe_core(path: &str) -> bool {
    path.strip_prefix(UNSAFE_CORE).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Blocks and implementations; attributes and signatures of exported functions are not meant.
fn has_unsafe_block(code: &str) -> bool {
    code.match_indices("unsafe").any(|(at, word)| {
        let before = code[..at].chars().next_back().is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        let after = code[at + word.len()..].trim_start();
        !before && (after.starts_with('{') || after.starts_with("impl"))
    })
}

#[test]
fn every_file_keeps_to_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for krate in ["core", "bindings-c", "bindings-node"] {
        read(&root, &Path::new(krate).join("src"), &mut files);
    }
    assert!(files.iter().any(|(path, _)| path == "core/src/error.rs"), "the sources were not found");
    let broken = broken(&files);
    assert!(broken.is_empty(), "broken rules:\n{}", broken.join("\n"));
}

fn read(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder of sources") {
        let entry = entry.expect("an entry");
        let path = folder.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            read(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path)).expect("a source");
            files.push((path.to_str().expect("a path in UTF-8").replace('\\', "/"), text));
        }
    }
}

#[test]
fn the_core_denies_unsafe_code_and_missing_documentation() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("lib.rs");
    for attribute in ["#![deny(unsafe_code)]", "#![deny(missing_docs)]"] {
        assert!(lib.contains(attribute), "{attribute} is missing in core/src/lib.rs");
    }
}

/// What the rules say about one file.
fn said(path: &str, text: &str) -> Vec<String> {
    broken(&[(path.to_owned(), text.to_owned())])
}

#[test]
fn forbidden_imports_are_found_however_they_are_written() {
    for (path, text) in [
        ("core/src/error.rs", "use crate::event::Record;"),
        ("core/src/transport.rs", "use crate::{error::Error, kafka::KafkaTransport};"),
        ("core/src/memory/consumer.rs", "use super::super::kafka;"),
        ("core/src/memory/consumer.rs", "fn f() { crate::kafka::connect() }"),
        ("core/src/memory.rs", "use super::{error, kafka};"),
        ("core/src/kafka/mod.rs", "use super::memory::MemoryBroker;"),
        ("core/src/kafka/producer.rs", "pub(crate) use crate::{\n  // why\n  memory as other,\n};"),
        ("core/src/publish.rs", "use crate::subscribe::Handler;"),
        ("core/src/subscribe/engine.rs", "use crate::bus::Bus;"),
        ("core/src/subscribe/engine/lanes.rs", "use super::super::super::publish::Publisher;"),
    ] {
        assert_eq!(said(path, text).len(), 1, "{path}: {text}: {:?}", said(path, text));
        assert!(said(path, text)[0].contains("may not import"), "{path}: {text}");
    }
    assert!(said("core/src/novelty.rs", "")[0].contains("not in ROOMS"));
}

#[test]
fn allowed_imports_comments_strings_and_tests_are_left_alone() {
    for (path, text) in [
        ("core/src/event.rs", "use crate::error::{Error, Result};"),
        ("core/src/bus.rs", "use crate::{kafka, memory, publish, subscribe};"),
        ("core/src/memory/group.rs", "use super::member::Member; use super::kafka;"),
        ("core/src/error.rs", "//! See [`crate::bus::Bus`].\n/* use crate::bus; /* nested */ use crate::bus; */"),
        (
            "core/src/error.rs",
            r##"const A: &str = "crate::bus"; const B: &str = r#"use "crate::bus""#; const C: char = '"';"##,
        ),
        ("core/src/error.rs", "#[cfg(test)]\nmod tests { use crate::bus::Bus; fn f() { std::thread::spawn(g); } }"),
        ("core/src/error.rs", "#[cfg(test)]\nuse crate::bus;"),
        ("core/src/memory/tests/threads.rs", "use crate::kafka; fn f() { std::thread::scope(g) }"),
        ("core/src/memory/tests.rs", "use crate::kafka;"),
        ("core/src/error.rs", "fn f<'a>(a: &'a str) -> &'a str { a }"),
    ] {
        assert_eq!(said(path, text), Vec::<String>::new(), "{path}: {text}");
    }
    let after_test = "#[cfg(test)]\nmod tests { }\nuse crate::bus::Bus;";
    assert_eq!(said("core/src/error.rs", after_test).len(), 1, "code behind a test is code");
}

#[test]
fn the_client_library_is_named_in_its_room_only() {
    for path in ["core/src/bus.rs", "core/src/memory.rs", "bindings-c/src/bus.rs", "bindings-node/src/lib.rs"] {
        for text in ["use rdkafka::ClientConfig;", "fn f() { rdkafka_sys::rd_kafka_version(); }"] {
            assert_eq!(said(path, text).len(), 1, "{path}: {text}");
        }
    }
    for path in ["core/src/kafka/mod.rs", "core/src/kafka/ffi.rs", "core/src/kafka.rs", "core/src/testing.rs"] {
        assert!(said(path, "use rdkafka::ClientConfig;").is_empty(), "{path}");
    }
    assert!(said("core/src/bus.rs", "/// Further properties for librdkafka.\nfn librdkafka() {}").is_empty());
}

#[test]
fn threads_and_tasks_start_in_the_runtime_only() {
    for text in [
        "fn f() { std::thread::spawn(g); }",
        "use std::thread::{self, Builder};",
        "use std::{sync::Mutex, thread::spawn};",
        "fn f() { thread::Builder::new(); }",
        "fn f() { tokio::spawn(g()); }",
        "fn f() { tokio::task::spawn_blocking(g); }",
        "use tokio::runtime::Handle;",
    ] {
        assert_eq!(said("core/src/publish.rs", text).len(), 1, "{text}");
        assert!(said("core/src/runtime.rs", text).is_empty(), "{text}");
    }
    assert!(
        said("core/src/publish.rs", "use crate::runtime; fn f() { runtime::spawn(g()); thread::yield_now(); }")
            .is_empty()
    );
}

#[test]
fn unsafe_code_is_found_outside_its_files() {
    let block = "fn f() { unsafe { g() } }";
    let export = "#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn evbus_f() {}";
    assert_eq!(said("core/src/bus.rs", block).len(), 1);
    assert_eq!(said("core/src/bus.rs", export).len(), 1);
    assert_eq!(said("core/src/bus.rs", "#[cfg(test)]\nmod tests { unsafe impl Send for A {} }").len(), 1);
    for path in ["core/src/kafka/ffi.rs", "core/src/kafka/ffi/event.rs"] {
        assert!(said(path, block).is_empty(), "{path}");
    }
    for path in ["core/src/kafka/ffi_more.rs", "core/src/kafka/producer.rs", "core/src/memory.rs"] {
        assert_eq!(said(path, block).len(), 1, "{path}");
    }
    assert_eq!(said("bindings-c/src/bus.rs", block).len(), 1);
    assert!(said("bindings-c/src/bus.rs", export).is_empty());
    assert!(said(UNSAFE_C, block).is_empty());
    assert!(said("core/src/bus.rs", "// unsafe { }\n#![deny(unsafe_code)]").is_empty());
    let node = |name: &str| (format!("bindings-node/src/{name}.rs"), block.to_owned());
    assert!(broken(&[node("publish")]).is_empty());
    assert_eq!(broken(&[node("publish"), node("subscribe")]).len(), 1);
}
