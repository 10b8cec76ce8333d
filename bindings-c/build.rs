//! Gives the shared library the name under which the dynamic linker looks for it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(name).unwrap_or_default();
    // The number is EVBUS_ABI_VERSION, held by a test.
    match (&*target("CARGO_CFG_TARGET_FAMILY"), &*target("CARGO_CFG_TARGET_VENDOR")) {
        ("unix", "apple") => println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libevbus.1.dylib"),
        ("unix", _) => println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libevbus.so.1"),
        _ => {}
    }
}
