use rekur_sys as ffi;
use std::ffi::CStr;
use std::fmt;

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What the caller can get wrong: the message says what was expected and what came.
    InvalidArgument,
    /// A file that cannot be opened, read or understood; also one in memory.
    Io,
    /// There is not enough memory.
    OutOfMemory,
    /// A fault of the library or of the system.
    Internal,
}

/// Why a call failed; nothing has then changed, but what stands in output slices is unspecified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn argument(message: String) -> Self {
        Error { kind: ErrorKind::InvalidArgument, message }
    }

    /// What the library said last on this thread.
    pub(crate) fn last(kind: ErrorKind) -> Self {
        // SAFETY: never null, ends in a zero, and is valid until the next failure on this thread.
        let message = unsafe { CStr::from_ptr(ffi::rekur_last_error()) };
        Error { kind, message: message.to_string_lossy().into_owned() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

pub(crate) fn check(code: ffi::rekur_code) -> Result<(), Error> {
    let kind = match code {
        ffi::REKUR_OK => return Ok(()),
        ffi::REKUR_INVALID_ARGUMENT => ErrorKind::InvalidArgument,
        ffi::REKUR_IO => ErrorKind::Io,
        ffi::REKUR_OUT_OF_MEMORY => ErrorKind::OutOfMemory,
        _ => ErrorKind::Internal,
    };
    Err(Error::last(kind))
}
