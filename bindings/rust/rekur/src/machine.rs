use crate::error::{check, Error, ErrorKind};
use rekur_sys as ffi;
use std::ffi::{c_char, CStr};

/// A string that the library keeps for ever; None of a null pointer.
fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: the library's strings end in a zero.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// The library's version, such as `"0.1.0"`.
pub fn version() -> String {
    // SAFETY: asks nothing of the caller.
    text(unsafe { ffi::rekur_version() }).unwrap_or_default()
}

/// Threads of one call of [`Model::predict`](crate::Model::predict). At first `REKUR_NUM_THREADS` of the environment, else
/// `OMP_NUM_THREADS`, else the cores this process may run on.
///
/// # Errors
/// A malformed `REKUR_NUM_THREADS`.
pub fn num_threads() -> Result<usize, Error> {
    // SAFETY: asks nothing of the caller.
    match unsafe { ffi::rekur_num_threads() } {
        0 => Err(Error::last(ErrorKind::InvalidArgument)),
        threads => Ok(usize::try_from(threads).unwrap_or(1)),
    }
}

/// Sets the threads of one call, 1 to 1024, for the whole process; results never depend on it.
///
/// # Errors
/// A number out of that range.
pub fn set_num_threads(threads: usize) -> Result<(), Error> {
    // SAFETY: asks nothing of the caller.
    check(unsafe { ffi::rekur_set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX)) })
}

/// The instruction set in use, such as `"avx2"`: the widest the machine has, or what `REKUR_ISA` of the environment says.
///
/// # Errors
/// A wrong `REKUR_ISA`; a machine that has none that the library was built for.
pub fn isa() -> Result<String, Error> {
    // SAFETY: asks nothing of the caller.
    text(unsafe { ffi::rekur_isa() }).ok_or_else(|| Error::last(ErrorKind::InvalidArgument))
}

/// The instruction sets that this library and this machine have, narrowest first.
pub fn available_isas() -> Vec<String> {
    // SAFETY: asks nothing of the caller; null behind the last.
    (0..).map_while(|index| text(unsafe { ffi::rekur_available_isa(index) })).collect()
}
