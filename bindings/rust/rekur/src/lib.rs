//! rekur: recurrent networks on ordinary CPUs, in Rust.
//!
//! A [`Model`] is read from the file that rekur writes in Python or C++, or from another program's; a [`Stream`] of it
//! answers every sample, and [`Model::predict`] whole sequences.
//!
//! ```
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../cpp/examples/models/amp.safetensors");
//! # let samples = [0.0f32, 0.25, 0.5];
//! let model = rekur::Model::load(path)?;
//! let mut stream = model.stream(1)?; // does not need the model any longer
//! for x in samples {
//!     let mut y = [0.0];
//!     stream.step(&[x], &mut y)?; // in the audio callback
//!     assert!(y[0].is_finite());
//! }
//! # Ok::<(), rekur::Error>(())
//! ```
//!
//! The library itself is C++; `rekur-sys` says how it is found or built.
#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod error;
mod machine;
mod model;
mod stream;
mod tensor;

pub use error::{Error, ErrorKind};
pub use machine::{available_isas, isa, num_threads, set_num_threads, version};
pub use model::Model;
pub use stream::{RateMatch, Stream, StreamInput};
pub use tensor::{Dtype, Input, Tensor, TensorInfo, Values};
