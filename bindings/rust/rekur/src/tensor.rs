use crate::error::Error;
use rekur_sys as ffi;
use std::ffi::CStr;

/// What the numbers of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// `f32`
    Float32,
    /// `i32`: the ids of an Embedding
    Int32,
}

impl Dtype {
    pub(crate) fn of(dtype: i32) -> Self {
        if dtype == ffi::REKUR_INT32 as i32 {
            Dtype::Int32
        } else {
            Dtype::Float32
        }
    }
}

/// What an input, an output or a state is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the model.
    pub name: String,
    /// Its dimensions, outermost first, the batch before all; None of one that is known only when data arrive.
    pub shape: Vec<Option<usize>>,
    /// What its numbers are.
    pub dtype: Dtype,
}

impl TensorInfo {
    pub(crate) fn empty() -> ffi::rekur_tensor_info {
        ffi::rekur_tensor_info { name: std::ptr::null(), dims: [0; 8], rank: 0, dtype: 0, reserved: [0; 2] }
    }

    /// # Safety
    /// `info` was filled by the library, and its handle lives.
    pub(crate) unsafe fn of(info: &ffi::rekur_tensor_info) -> Self {
        // SAFETY: as the caller says.
        let name = unsafe { CStr::from_ptr(info.name) }.to_string_lossy().into_owned();
        let rank = usize::try_from(info.rank).unwrap_or(0);
        let shape = info.dims.iter().take(rank).map(|&n| usize::try_from(n).ok()).collect();
        TensorInfo { name, shape, dtype: Dtype::of(info.dtype) }
    }

    /// Numbers in all, where every dimension is known.
    pub fn len(&self) -> Option<usize> {
        self.shape.iter().copied().product()
    }

    /// Whether it is known to hold no number.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

/// The numbers of an input.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Floats.
    Float32(&'a [f32]),
    /// The ids of an Embedding.
    Int32(&'a [i32]),
}

/// An input of [`Model::predict`](crate::Model::predict): dense, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    values: Values<'a>,
    shape: &'a [usize],
    lengths: Option<&'a [i32]>,
}

impl<'a> Input<'a> {
    /// Floats of this shape, the batch before all.
    pub fn new(values: &'a [f32], shape: &'a [usize]) -> Self {
        Input { values: Values::Float32(values), shape, lengths: None }
    }

    /// Ids of this shape, the batch before all.
    pub fn ids(values: &'a [i32], shape: &'a [usize]) -> Self {
        Input { values: Values::Int32(values), shape, lengths: None }
    }

    /// How many steps count in each row; those behind are padding.
    #[must_use]
    pub fn lengths(self, lengths: &'a [i32]) -> Self {
        Input { lengths: Some(lengths), ..self }
    }

    pub(crate) fn to_ffi(self, index: usize) -> Result<ffi::rekur_tensor, Error> {
        let (data, count, dtype) = match self.values {
            Values::Float32(v) => (v.as_ptr().cast_mut().cast(), v.len(), ffi::REKUR_FLOAT32),
            Values::Int32(v) => (v.as_ptr().cast_mut().cast(), v.len(), ffi::REKUR_INT32),
        };
        let product = self.shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n));
        if self.shape.len() > ffi::REKUR_MAX_RANK as usize || product != Some(count) {
            let shape = self.shape;
            return Err(Error::argument(format!("inputs[{index}]: {count} numbers are not the shape {shape:?}")));
        }
        let mut tensor = empty_tensor();
        tensor.data = data;
        tensor.count = count as i64;
        tensor.rank = self.shape.len() as i32;
        tensor.dtype = dtype as i32;
        for (to, &n) in tensor.dims.iter_mut().zip(self.shape) {
            *to = n as i64;
        }
        if let Some(lengths) = self.lengths {
            tensor.lengths = lengths.as_ptr();
            tensor.lengths_count = lengths.len() as i64;
        }
        Ok(tensor)
    }
}

/// An output of [`Model::predict`](crate::Model::predict): dense, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its numbers.
    pub values: Vec<f32>,
    /// Its dimensions, outermost first, the batch before all.
    pub shape: Vec<usize>,
}

pub(crate) fn empty_tensor() -> ffi::rekur_tensor {
    ffi::rekur_tensor {
        data: std::ptr::null_mut(),
        count: 0,
        dims: [0; 8],
        rank: 0,
        dtype: 0,
        lengths: std::ptr::null(),
        lengths_count: 0,
        reserved: [0; 3],
    }
}
