use crate::error::{check, Error, ErrorKind};
use crate::model::infos;
use crate::tensor::{Dtype, TensorInfo};
use rekur_sys as ffi;
use std::ffi::c_void;
use std::ptr::NonNull;

/// A live sequence, or a batch of them: one time step a call, the states carried along.
///
/// A stream is one thread's at a time and may go from one to another. `step`, `process`, `reset` and what has to do with
/// states allocate nothing, take no lock and make no system call, so they are fit for a callback in real time; only an error
/// takes memory, for its message.
#[derive(Debug)]
pub struct Stream {
    handle: NonNull<ffi::rekur_stream>,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    // Numbers of a step's arrays.
    input_sizes: Vec<usize>,
    output_sizes: Vec<usize>,
    state_size: usize,
    // For a call of several arrays, so that it need not allocate.
    x: Vec<*const c_void>,
    y: Vec<*mut f32>,
}

// SAFETY: rekur.h: a rekur_stream is one thread's at a time. The pointers in `x` and `y` are only read in the call that set them.
unsafe impl Send for Stream {}
impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and freed once.
        unsafe { ffi::rekur_stream_free(self.handle.as_ptr()) }
    }
}

/// An array of one or more steps, for [`Stream::process_many`].
#[derive(Clone, Copy, Debug)]
pub enum StreamInput<'a> {
    /// Floats.
    Float32(&'a [f32]),
    /// The ids of an Embedding; one out of range gives NaN.
    Int32(&'a [i32]),
}

/// How a stream goes at the rate of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RateMatch {
    /// It is the model's, or none was given.
    Same,
    /// It is higher: the states of recurrent layers are read as many steps back as the rates differ by.
    Matched,
    /// It is higher, but convolutions, attention, positions, masks or states that are matrices go by steps.
    Partly,
    /// It is lower: the stream runs as if it were the model's.
    TooLow,
    /// The model does not say its own: likewise.
    Unknown,
}

impl Stream {
    pub(crate) fn new(model: NonNull<ffi::rekur_model>, batch: usize, rate: f64) -> Result<Self, Error> {
        let batch = i64::try_from(batch).map_err(|_| Error::argument(format!("batch: {batch} is too much")))?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the model lives.
        check(unsafe { ffi::rekur_stream_create_at(model.as_ptr(), batch, rate, &mut handle) })?;
        let handle = NonNull::new(handle).ok_or_else(|| Error::last(ErrorKind::Internal))?;
        let mut stream = Stream {
            handle,
            inputs: Vec::new(),
            outputs: Vec::new(),
            input_sizes: Vec::new(),
            output_sizes: Vec::new(),
            // SAFETY: the handle lives.
            state_size: unsafe { ffi::rekur_stream_state_size(handle.as_ptr()) },
            x: Vec::new(),
            y: Vec::new(),
        };
        let s = handle.as_ptr();
        // SAFETY: the handle lives, and indices are below the counts.
        unsafe {
            stream.inputs = infos(ffi::rekur_stream_input_count(s), |k, info| ffi::rekur_stream_input(s, k, info));
            stream.outputs = infos(ffi::rekur_stream_output_count(s), |k, info| ffi::rekur_stream_output(s, k, info));
        }
        let sizes = |infos: &[TensorInfo]| infos.iter().map(TensorInfo::len).collect::<Option<Vec<_>>>();
        let unknown = || Error::argument("a step's shape is not known before data arrive".to_owned());
        stream.input_sizes = sizes(&stream.inputs).ok_or_else(unknown)?;
        stream.output_sizes = sizes(&stream.outputs).ok_or_else(unknown)?;
        stream.x = vec![std::ptr::null(); stream.inputs.len()];
        stream.y = vec![std::ptr::null_mut(); stream.outputs.len()];
        Ok(stream)
    }

    /// What a step takes: the model's inputs without their time axis, the batch before all.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// What a step gives, the batch before all.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// How it goes at the rate that it was made for.
    pub fn rate_match(&self) -> RateMatch {
        // SAFETY: the handle lives.
        match unsafe { ffi::rekur_stream_rate_match(self.handle.as_ptr()) } {
            ffi::REKUR_RATE_SAME => RateMatch::Same,
            ffi::REKUR_RATE_MATCHED => RateMatch::Matched,
            ffi::REKUR_RATE_PARTLY => RateMatch::Partly,
            ffi::REKUR_RATE_TOO_LOW => RateMatch::TooLow,
            _ => RateMatch::Unknown,
        }
    }

    /// One step of a stream with one input, of floats, and one output: x (batch, F) in, y (batch, F) out.
    ///
    /// # Errors
    /// Slices of another length, and streams of several inputs or outputs: [`process_many`](Self::process_many) is theirs.
    pub fn step(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        self.plain("step", x, y, Some(1))
    }

    /// Many steps at once, to the bit what they are one by one, and sooner: x (steps, batch, F) in, y (steps, batch, F) out.
    ///
    /// ```
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../cpp/examples/models/amp.safetensors");
    /// let mut stream = rekur::Model::load(path)?.stream(1)?;
    /// let (x, mut y) = ([0.5f32; 64], [0f32; 64]);
    /// stream.process(&x, &mut y)?;
    /// # Ok::<(), rekur::Error>(())
    /// ```
    ///
    /// # Errors
    /// Slices that do not hold the same number of whole steps, and streams of several inputs or outputs.
    pub fn process(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        self.plain("process", x, y, None)
    }

    fn plain(&mut self, call: &str, x: &[f32], y: &mut [f32], steps: Option<usize>) -> Result<(), Error> {
        let (&[of_x], &[of_y], Dtype::Float32) = (&self.input_sizes[..], &self.output_sizes[..], self.inputs[0].dtype)
        else {
            return Err(Error::argument(format!(
                "{call}: the stream has {} inputs and {} outputs, or one of ids: process_many takes those",
                self.inputs.len(),
                self.outputs.len()
            )));
        };
        let steps = steps.unwrap_or_else(|| x.len().checked_div(of_x).unwrap_or(0));
        expect_length("x", x.len(), of_x, steps)?;
        expect_length("y", y.len(), of_y, steps)?;
        // SAFETY: the handle lives and &mut makes it ours alone; the slices hold so many steps, and cannot overlap.
        check(unsafe { ffi::rekur_stream_process(self.handle.as_ptr(), x.as_ptr(), y.as_mut_ptr(), steps as i64) })
    }

    /// `steps` steps of any stream, inputs and outputs in the order of [`inputs`](Self::inputs) and
    /// [`outputs`](Self::outputs): of every array that a step takes, so many of them stand one after the other.
    ///
    /// # Errors
    /// Another number of arrays, arrays of another length or type.
    pub fn process_many(&mut self, x: &[StreamInput<'_>], y: &mut [&mut [f32]], steps: usize) -> Result<(), Error> {
        if x.len() != self.inputs.len() || y.len() != self.outputs.len() {
            return Err(Error::argument(format!(
                "process_many: expected {} inputs and {} outputs, got {} and {}",
                self.inputs.len(),
                self.outputs.len(),
                x.len(),
                y.len()
            )));
        }
        for (k, array) in x.iter().enumerate() {
            let (pointer, length, dtype) = match array {
                StreamInput::Float32(v) => (v.as_ptr().cast::<c_void>(), v.len(), Dtype::Float32),
                StreamInput::Int32(v) => (v.as_ptr().cast::<c_void>(), v.len(), Dtype::Int32),
            };
            if dtype != self.inputs[k].dtype {
                let expected = self.inputs[k].dtype;
                return Err(Error::argument(format!("x[{k}]: expected {expected:?}, got {dtype:?}")));
            }
            expect_length(&self.inputs[k].name, length, self.input_sizes[k], steps)?;
            self.x[k] = pointer;
        }
        for (k, array) in y.iter_mut().enumerate() {
            expect_length(&self.outputs[k].name, array.len(), self.output_sizes[k], steps)?;
            self.y[k] = array.as_mut_ptr();
        }
        // SAFETY: the handle lives and &mut makes it ours alone; as many arrays as said, of the types and lengths that the
        // stream wants, none of which overlap, since outputs are borrowed mutably.
        check(unsafe {
            ffi::rekur_stream_process_many(
                self.handle.as_ptr(),
                self.x.as_ptr(),
                self.x.len(),
                self.y.as_ptr(),
                self.y.len(),
                steps as i64,
            )
        })
    }

    /// The beginning of a sequence: every state as it was when the stream was made.
    pub fn reset(&mut self) {
        // SAFETY: the handle lives and &mut makes it ours alone. It can fail for a null handle only.
        let code = unsafe { ffi::rekur_stream_reset(self.handle.as_ptr()) };
        debug_assert_eq!(code, ffi::REKUR_OK);
    }

    /// The same for one row of the batch.
    ///
    /// # Errors
    /// A row that the batch does not have.
    pub fn reset_row(&mut self, row: usize) -> Result<(), Error> {
        // SAFETY: the handle lives and &mut makes it ours alone.
        check(unsafe { ffi::rekur_stream_reset_row(self.handle.as_ptr(), i64::try_from(row).unwrap_or(i64::MAX)) })
    }

    /// How many numbers all states have together.
    pub fn state_size(&self) -> usize {
        self.state_size
    }

    /// What the states are: `"lstm/h"`, `"lstm/c"`, …
    pub fn states(&self) -> Vec<TensorInfo> {
        let s = self.handle.as_ptr();
        // SAFETY: the handle lives, and indices are below the count.
        unsafe { infos(ffi::rekur_stream_state_count(s), |k, info| ffi::rekur_stream_state(s, k, info)) }
    }

    /// All states, one after the other.
    ///
    /// # Errors
    /// A slice that is not [`state_size`](Self::state_size) long.
    pub fn get_state(&self, state: &mut [f32]) -> Result<(), Error> {
        // SAFETY: the handle lives; the library compares the length before it writes.
        check(unsafe { ffi::rekur_stream_state_get(self.handle.as_ptr(), state.as_mut_ptr(), state.len()) })
    }

    /// Sets all states.
    ///
    /// # Errors
    /// A slice that is not [`state_size`](Self::state_size) long.
    pub fn set_state(&mut self, state: &[f32]) -> Result<(), Error> {
        // SAFETY: the handle lives and &mut makes it ours alone; the library compares the length before it reads.
        check(unsafe { ffi::rekur_stream_state_set(self.handle.as_ptr(), state.as_ptr(), state.len()) })
    }
}

fn expect_length(name: &str, length: usize, of_step: usize, steps: usize) -> Result<(), Error> {
    if of_step.checked_mul(steps) == Some(length) && i64::try_from(steps).is_ok() {
        return Ok(());
    }
    Err(Error::argument(format!(
        "{name}: expected {of_step} numbers a step, {steps} steps of them, got {length} numbers"
    )))
}
