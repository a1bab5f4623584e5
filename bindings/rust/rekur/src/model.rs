use crate::error::{check, Error, ErrorKind};
use crate::stream::Stream;
use crate::tensor::{empty_tensor, Input, Tensor, TensorInfo};
use rekur_sys as ffi;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr::NonNull;

/// A model, which never changes: any number of threads may use one at once.
#[derive(Debug)]
pub struct Model {
    handle: NonNull<ffi::rekur_model>,
}

// SAFETY: rekur.h: a rekur_model never changes, and any number of threads may use one at once.
unsafe impl Send for Model {}
// SAFETY: the same.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and freed once.
        unsafe { ffi::rekur_model_free(self.handle.as_ptr()) }
    }
}

impl Model {
    /// Reads a `.safetensors` file as rekur writes it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for a file that cannot be read or understood.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path_text(path.as_ref())?;
        // SAFETY: a string that ends in a zero.
        Self::made(|model| unsafe { ffi::rekur_model_load(path.as_ptr(), model) })
    }

    /// The same from memory, such as a file that `include_bytes!` put into the program. The bytes are not needed afterwards.
    ///
    /// ```
    /// let error = rekur::Model::from_bytes(b"no model").unwrap_err();
    /// assert_eq!(error.kind(), rekur::ErrorKind::Io);
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for bytes that are no such file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        // SAFETY: so many bytes are there.
        Self::made(|model| unsafe { ffi::rekur_model_load_memory(bytes.as_ptr().cast(), bytes.len(), model) })
    }

    /// Reads another program's file, of an effect on audio above all: Neural Amp Modeler's (`.nam`), RTNeural's and AIDA-X's,
    /// GuitarML's (JSON); or rekur's own.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for a file that cannot be read or understood.
    #[cfg(feature = "import")]
    pub fn import(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path_text(path.as_ref())?;
        // SAFETY: a string that ends in a zero.
        Self::made(|model| unsafe { ffi::rekur_model_import(path.as_ptr(), model) })
    }

    /// The same from memory. The bytes are not needed afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for bytes that are no such file.
    #[cfg(feature = "import")]
    pub fn import_bytes(bytes: &[u8]) -> Result<Self, Error> {
        // SAFETY: so many bytes are there.
        Self::made(|model| unsafe { ffi::rekur_model_import_memory(bytes.as_ptr().cast(), bytes.len(), model) })
    }

    /// A running stream of `batch` sequences that go side by side. It takes the model's weights: the model may go first.
    ///
    /// # Errors
    /// A model that cannot go one step at a time, with the reason: Bidirectional and reverse layers, for one.
    pub fn stream(&self, batch: usize) -> Result<Stream, Error> {
        self.stream_at(batch, 0.0)
    }

    /// The same for steps at a sample rate, in Hz; 0 is the model's own. [`Stream::rate_match`] says what comes of it.
    ///
    /// # Errors
    /// A rate that is not finite, negative, or more than 4096 times the model's; a model that cannot go one step at a time.
    pub fn stream_at(&self, batch: usize, sample_rate: f64) -> Result<Stream, Error> {
        Stream::new(self.handle, batch, sample_rate)
    }

    /// The rate of the samples that the model was made for, in Hz, where somebody has said.
    pub fn sample_rate(&self) -> Option<f64> {
        // SAFETY: the handle lives.
        let rate = unsafe { ffi::rekur_model_sample_rate(self.handle.as_ptr()) };
        (rate > 0.0).then_some(rate)
    }

    /// By how many samples the output is behind the input.
    pub fn latency(&self) -> usize {
        // SAFETY: the handle lives.
        usize::try_from(unsafe { ffi::rekur_model_latency(self.handle.as_ptr()) }).unwrap_or(0)
    }

    /// The model's description, a JSON text.
    pub fn spec(&self) -> String {
        // SAFETY: the handle lives; the text is the handle's and ends in a zero.
        unsafe {
            let text = ffi::rekur_model_spec(self.handle.as_ptr());
            if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        }
    }

    /// What the inputs are like, in the model's order.
    ///
    /// ```
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../cpp/examples/models/amp.safetensors");
    /// let model = rekur::Model::load(path)?;
    /// assert_eq!(model.inputs()[0].shape, [None, None, Some(1)]); // batch, time, features
    /// # Ok::<(), rekur::Error>(())
    /// ```
    pub fn inputs(&self) -> Vec<TensorInfo> {
        // SAFETY: the handle lives, and indices are below the count.
        unsafe {
            let handle = self.handle.as_ptr();
            infos(ffi::rekur_model_input_count(handle), |k, info| ffi::rekur_model_input(handle, k, info))
        }
    }

    /// What the outputs are like, in the model's order.
    pub fn outputs(&self) -> Vec<TensorInfo> {
        // SAFETY: the handle lives, and indices are below the count.
        unsafe {
            let handle = self.handle.as_ptr();
            infos(ffi::rekur_model_output_count(handle), |k, info| ffi::rekur_model_output(handle, k, info))
        }
    }

    /// Inference over whole sequences: every output for these inputs, which stand in the model's order.
    ///
    /// ```
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../cpp/examples/models/amp.safetensors");
    /// let model = rekur::Model::load(path)?;
    /// let x = [0.1f32; 2 * 50]; // two rows of 50 steps of one feature
    /// let y = model.predict(&[rekur::Input::new(&x, &[2, 50, 1])])?;
    /// assert_eq!(y[0].shape, [2, 50, 1]);
    /// # Ok::<(), rekur::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inputs that are not the model's, with what was expected and what came.
    pub fn predict(&self, inputs: &[Input<'_>]) -> Result<Vec<Tensor>, Error> {
        let inputs = inputs.iter().enumerate().map(|(k, x)| x.to_ffi(k)).collect::<Result<Vec<_>, _>>()?;
        let handle = self.handle.as_ptr();
        // SAFETY: the handle lives.
        let count = unsafe { ffi::rekur_model_output_count(handle) };
        let mut outputs = vec![empty_tensor(); count];
        let mut memory = Vec::with_capacity(count);
        for (index, output) in outputs.iter_mut().enumerate() {
            // SAFETY: as many inputs are there as are said.
            check(unsafe { ffi::rekur_model_output_shape(handle, inputs.as_ptr(), inputs.len(), index, output) })?;
            let mut values = vec![0f32; usize::try_from(output.count).unwrap_or(0)];
            output.data = values.as_mut_ptr().cast();
            memory.push(values);
        }
        // SAFETY: inputs are only read and have the numbers their shapes say (Input::to_ffi); outputs point to as many
        // numbers as they say, which `memory` keeps and nobody else sees.
        check(unsafe {
            ffi::rekur_model_predict(handle, inputs.as_ptr(), inputs.len(), outputs.as_mut_ptr(), outputs.len())
        })?;
        let shape = |output: &ffi::rekur_tensor| {
            let rank = usize::try_from(output.rank).unwrap_or(0);
            output.dims.iter().take(rank).map(|&n| usize::try_from(n).unwrap_or(0)).collect()
        };
        Ok(outputs.iter().zip(memory).map(|(output, values)| Tensor { shape: shape(output), values }).collect())
    }

    fn made(make: impl FnOnce(*mut *mut ffi::rekur_model) -> ffi::rekur_code) -> Result<Self, Error> {
        let mut handle = std::ptr::null_mut();
        check(make(&mut handle))?;
        NonNull::new(handle).map(|handle| Model { handle }).ok_or_else(|| Error::last(ErrorKind::Internal))
    }
}

fn path_text(path: &Path) -> Result<CString, Error> {
    let wrong = |why: &str| Error::argument(format!("path: {} {why}", path.display()));
    let text = path.to_str().ok_or_else(|| wrong("is no text in UTF-8"))?;
    CString::new(text).map_err(|_| wrong("contains a null character"))
}

/// # Safety
/// `ask` fills infos of a handle that lives.
pub(crate) unsafe fn infos(
    count: usize,
    ask: impl Fn(usize, *mut ffi::rekur_tensor_info) -> ffi::rekur_code,
) -> Vec<TensorInfo> {
    let mut all = Vec::with_capacity(count);
    for index in 0..count {
        let mut info = TensorInfo::empty();
        if check(ask(index, &mut info)).is_ok() {
            // SAFETY: as the caller says.
            all.push(unsafe { TensorInfo::of(&info) });
        }
    }
    all
}
