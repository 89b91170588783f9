//! Tells the crate which revision and compiler it is built with, for `build_info`.
//!
//! `CLOSEGATE_REVISION` names the revision where there is no repository, as in a container's build. Nothing here fails a
//! build: what cannot be found out is `unknown`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CLOSEGATE_REVISION");
    // The log of HEAD grows with every commit and checkout.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = output("git", &["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    let given = env::var("CLOSEGATE_REVISION").ok().filter(|revision| !revision.is_empty());
    // Unpacked inside somebody else's repository, the crate has no revision.
    let tracked = || output("git", &["ls-files", "--error-unmatch", "Cargo.toml"]);
    let revision = given.or_else(|| tracked().and_then(|_| output("git", &["rev-parse", "--short=12", "HEAD"])));
    let rustc = env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    tell("CLOSEGATE_BUILD_REVISION", revision);
    tell("CLOSEGATE_BUILD_RUSTC", rustc.and_then(|line| line.split(' ').nth(1).map(str::to_owned)));
}

fn tell(name: &str, value: Option<String>) {
    println!("cargo::rustc-env={name}={}", value.as_deref().unwrap_or("unknown"));
}

/// The first line that a program prints; nothing when it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}
