//! The C library from outside: its header, its exports, and a C program that uses both.

mod exports;
mod header;
mod programs;
mod sources;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The folder of this crate.
fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn include_dir() -> PathBuf {
    crate_dir().join("../include")
}

/// The shared library, built by the profile of this test. Cargo builds no cdylib for the tests of its own package.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // target/<profile>/deps/integration-<hash>
        let exe = std::env::current_exe().expect("the path of the test");
        let profile_dir = exe.ancestors().nth(2).expect("the folder of the profile");
        let target_dir = profile_dir.parent().expect("the target folder");
        let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") => "dev",
            Some(profile) => profile,
            None => panic!("{} has no profile", exe.display()),
        };
        // The whole workspace, because another choice of packages means other features and a new build of the C code.
        run(Command::new(env!("CARGO"))
            .args(["build", "--workspace", "--lib", "--offline", "--quiet", "--profile", profile, "--target-dir"])
            .arg(target_dir)
            .current_dir(crate_dir().join("..")));
        let name = format!("{}evbus{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let library = profile_dir.join(name);
        assert!(library.is_file(), "cargo built no {}", library.display());
        library
    })
}

/// The C compilers of this machine; there is at least one, as the C libraries were built.
fn compilers() -> Vec<&'static str> {
    let found: Vec<_> = ["gcc", "clang", "cc"]
        .into_iter()
        .filter(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
        .collect();
    assert!(!found.is_empty(), "neither gcc nor clang nor cc runs");
    found
}

/// Runs a command that has to succeed; its standard output.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A folder of one test, for what it compiles.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder in the target folder");
    folder
}
