//! The declarations of `rekur.h`, the C interface of rekur, as bindgen writes them. What they promise and ask for stands in
//! that header, and is here as the functions' documentation. The crate `rekur` is the safe face.
//!
//! Nothing here needs the standard library.
//!
//! # Which library
//!
//! The build script takes, in this order:
//!
//! 1. with `REKUR_PREFIX` in the environment, the copy installed there (`cmake --install … --prefix DIR`);
//! 2. with `REKUR_FROM_SOURCE=1`, none that is installed;
//! 3. what `pkg-config rekur` finds;
//! 4. the source around this crate, which CMake (3.22 or later) and a C++20 compiler build, for inference. `REKUR_CMAKE_ARGS`
//!    are further words for CMake, such as `-DREKUR_ISAS=avx2`.
//!
//! For another machine, `cargo build --target aarch64-unknown-linux-gnu`, pkg-config is asked only where `PKG_CONFIG` names that of
//! the target, and CMake is given the toolchain file that `CMAKE_TOOLCHAIN_FILE_aarch64_unknown_linux_gnu` (or
//! `TARGET_CMAKE_TOOLCHAIN_FILE`) names, or else the C++ compiler of `CXX_aarch64_unknown_linux_gnu` (or `TARGET_CXX`). Without
//! either, 64-bit ARM and RISC-V under Linux have the source's own toolchain files, which take Debian's cross compilers; other
//! targets are an error that says this. Rust's own linker is named to cargo, as ever.
#![no_std]
#![allow(non_camel_case_types, rustdoc::broken_intra_doc_links, clippy::doc_lazy_continuation)]

include!("bindings.rs");

// The structures keep their size for good.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(core::mem::size_of::<rekur_tensor>() == 128 && core::mem::size_of::<rekur_tensor_info>() == 96);
