//! Finds the library, or builds it: src/lib.rs says how. No other crate is needed.
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const OLDEST: &str = "0.1";
/// Where another machine's CMake toolchain file and C++ compiler are named, as other build scripts have it too: of one target
/// (`…_aarch64_unknown_linux_gnu`), or of whatever is not the host.
const TOOLCHAIN: [&str; 2] = ["CMAKE_TOOLCHAIN_FILE_{}", "TARGET_CMAKE_TOOLCHAIN_FILE"];
const COMPILER: [&str; 2] = ["CXX_{}", "TARGET_CXX"];

fn main() {
    for name in ["REKUR_PREFIX", "REKUR_FROM_SOURCE", "REKUR_CMAKE_ARGS", "PKG_CONFIG", "PKG_CONFIG_PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    for name in TOOLCHAIN.iter().chain(&COMPILER).flat_map(|name| of_target(name)) {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let from_source = env::var("REKUR_FROM_SOURCE").is_ok_and(|v| v == "1");
    if let Some(prefix) = env::var_os("REKUR_PREFIX") {
        link_installed(Path::new(&prefix));
    } else if from_source || !link_by_pkg_config() {
        link_installed(&build());
    }
}

fn fail(message: &str) -> ! {
    eprintln!("rekur-sys: {message}");
    std::process::exit(1)
}

/// What a copy in `prefix` has to be linked with, by its pkg-config file: no pkg-config is needed to read that.
fn link_installed(prefix: &Path) {
    let pc = find(prefix, "rekur.pc", 5)
        .unwrap_or_else(|| fail(&format!("{}: no rekur.pc there, so no rekur is installed there", prefix.display())));
    println!("cargo:rerun-if-changed={}", pc.display());
    let text = fs::read_to_string(&pc).unwrap_or_else(|e| fail(&format!("{}: {e}", pc.display())));
    let libraries = pc.parent().and_then(Path::parent).unwrap_or(prefix);
    println!("cargo:rustc-link-search=native={}", libraries.display());
    println!("cargo:root={}", prefix.display());
    let shared = ["librekur.so", "librekur.dylib", "rekur.dll"].iter().any(|name| libraries.join(name).exists());
    if shared {
        println!("cargo:rustc-link-lib=dylib=rekur");
        return;
    }
    println!("cargo:rustc-link-lib=static=rekur");
    let private = text.lines().find_map(|line| line.strip_prefix("Libs.private:")).unwrap_or("");
    for library in private.split_whitespace().filter_map(|word| word.strip_prefix("-l")) {
        println!("cargo:rustc-link-lib={library}");
    }
}

/// The first file of this name in a folder or those below it, `depth` of them.
fn find(folder: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let file = folder.join(name);
    if file.is_file() {
        return Some(file);
    }
    if depth == 0 {
        return None;
    }
    let mut folders: Vec<_> =
        fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.iter().find_map(|below| find(below, name, depth - 1))
}

/// Whether pkg-config knows the library; it is then linked as it says.
fn link_by_pkg_config() -> bool {
    if is_cross() && env::var_os("PKG_CONFIG").is_none() {
        return false; // that of another machine is named
    }
    let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let ask = |arguments: &[&str]| -> Option<String> {
        let done = Command::new(&tool).args(arguments).arg("rekur").output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
    };
    if ask(&["--atleast-version", OLDEST]).is_none() {
        return false;
    }
    let Some(folder) = ask(&["--variable", "libdir"]) else { return false };
    let shared = ["so", "dylib"].iter().any(|end| Path::new(folder.trim()).join(format!("librekur.{end}")).exists());
    let arguments: &[&str] = if shared { &["--libs"] } else { &["--static", "--libs"] };
    let Some(flags) = ask(arguments) else { return false };
    println!("cargo:rustc-link-search=native={}", folder.trim());
    for word in flags.split_whitespace() {
        if let Some(folder) = word.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        } else if let Some(library) = word.strip_prefix("-l") {
            let kind = if library == "rekur" && !shared { "static=" } else { "" };
            println!("cargo:rustc-link-lib={kind}{library}");
        }
    }
    true
}

/// Builds the source that this crate lies in; returns where it is installed.
fn build() -> PathBuf {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let source = here.join("../../..");
    if !source.join("cpp/include/rekur/rekur.h").is_file() {
        fail("no rekur is installed (REKUR_PREFIX, pkg-config), and there is no source of it around this crate");
    }
    println!("cargo:rerun-if-changed={}", source.join("CMakeLists.txt").display());
    println!("cargo:rerun-if-changed={}", source.join("cpp").display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let (folder, prefix) = (out.join("build"), out.join("installed"));
    let feature = |name: &str| if env::var_os(format!("CARGO_FEATURE_{name}")).is_some() { "ON" } else { "OFF" };
    // A toolchain that is named anew counts only for a folder that CMake has not seen.
    let _ = fs::remove_file(folder.join("CMakeCache.txt"));
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(&source).arg("-B").arg(&folder);
    configure.args([
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_SHARED_LIBS=OFF",
        "-DREKUR_INSTALL=ON",
        "-DREKUR_TESTS=OFF",
    ]);
    if is_cross() {
        configure.args(cross(&source));
    }
    // The C interface neither trains nor throws.
    configure.args(["-DREKUR_TRAINING=OFF", "-DREKUR_EXCEPTIONS=OFF"]);
    configure.arg(format!("-DREKUR_THREADS={}", feature("THREADS")));
    configure.arg(format!("-DREKUR_IMPORT={}", feature("IMPORT")));
    configure.args(env::var("REKUR_CMAKE_ARGS").unwrap_or_default().split_whitespace());
    run(&mut configure);
    let jobs = env::var("NUM_JOBS").unwrap_or_else(|_| "1".to_owned());
    run(Command::new("cmake").arg("--build").arg(&folder).args(["--config", "Release", "--parallel", &jobs]));
    run(Command::new("cmake").arg("--install").arg(&folder).args(["--config", "Release"]).arg("--prefix").arg(&prefix));
    prefix
}

fn target() -> String {
    env::var("TARGET").expect("cargo sets it")
}

fn is_cross() -> bool {
    env::var("HOST").is_ok_and(|host| host != target())
}

/// The variables that a pattern stands for, the one of the target as it is written first.
fn of_target(pattern: &str) -> Vec<String> {
    let target = target();
    let mut names = vec![pattern.replace("{}", &target), pattern.replace("{}", &target.replace('-', "_"))];
    names.dedup();
    names
}

fn first_set(patterns: &[&str]) -> Option<String> {
    patterns.iter().flat_map(|pattern| of_target(pattern)).find_map(|name| env::var(name).ok())
}

/// What CMake has to be told of another machine: a toolchain file that is named, a compiler that is named, or one of the source's
/// own toolchain files, which have Debian's compilers.
fn cross(source: &Path) -> Vec<String> {
    let toolchain = |file: &str| vec![format!("-DCMAKE_TOOLCHAIN_FILE={file}")];
    if let Some(file) = first_set(&TOOLCHAIN) {
        return toolchain(&file);
    }
    let target = target();
    let of_cargo = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).expect("cargo sets it");
    if let Some(compiler) = first_set(&COMPILER) {
        let os = of_cargo("OS");
        let system = match os.as_str() {
            "none" => "Generic",
            "macos" => "Darwin",
            "ios" => "iOS",
            other => other,
        };
        let system = system[..1].to_uppercase() + &system[1..];
        let processor = of_cargo("ARCH");
        return vec![
            format!("-DCMAKE_SYSTEM_NAME={system}"),
            format!("-DCMAKE_SYSTEM_PROCESSOR={processor}"),
            format!("-DCMAKE_CXX_COMPILER={compiler}"),
        ];
    }
    let own = match target.as_str() {
        "aarch64-unknown-linux-gnu" => "aarch64-linux-gnu",
        "riscv64gc-unknown-linux-gnu" => "riscv64-linux-gnu",
        _ => fail(&format!(
            "the library is to be built for {target}: name CMake's toolchain file for it in {}, its C++ compiler in {}, \
             or an installed copy in REKUR_PREFIX",
            of_target(TOOLCHAIN[0]).last().unwrap(), // as a shell can write it
            of_target(COMPILER[0]).last().unwrap(),
        )),
    };
    toolchain(&source.join(format!("cpp/cmake/toolchains/{own}.cmake")).display().to_string())
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("{command:?}: {status}")),
        Err(error) => fail(&format!("{command:?} cannot be run ({error}): the library is built by CMake")),
    }
}
