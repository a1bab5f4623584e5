// Written by bindgen: ../../generate.sh
pub const REKUR_MAX_RANK: u32 = 8;
pub const REKUR_UNKNOWN: i32 = -1;
pub const REKUR_OK: rekur_code = 0;
#[doc = " what the caller can get wrong: the message says what was expected and what came"]
pub const REKUR_INVALID_ARGUMENT: rekur_code = 1;
#[doc = " a file that cannot be opened, read or understood; also one in memory"]
pub const REKUR_IO: rekur_code = 2;
pub const REKUR_OUT_OF_MEMORY: rekur_code = 3;
#[doc = " a fault of the library or of the system"]
pub const REKUR_INTERNAL: rekur_code = 4;
pub type rekur_code = core::ffi::c_uint;
#[doc = " float"]
pub const REKUR_FLOAT32: rekur_dtype = 0;
#[doc = " int32_t: the ids of an Embedding"]
pub const REKUR_INT32: rekur_dtype = 1;
pub type rekur_dtype = core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rekur_model {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rekur_stream {
    _unused: [u8; 0],
}
#[doc = " What an input, an output or a state is like."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rekur_tensor_info {
    pub name: *const core::ffi::c_char,
    #[doc = " the first `rank` of them, outermost first, REKUR_UNKNOWN included; 0 behind"]
    pub dims: [i64; 8usize],
    pub rank: i32,
    #[doc = " a rekur_dtype"]
    pub dtype: i32,
    pub reserved: [i64; 2usize],
}
#[doc = " A dense, row-major array of the caller's. Begin with `rekur_tensor x = {0};`: what is not set must be zero."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rekur_tensor {
    #[doc = " float or int32_t by dtype, aligned as such; an input's is only read"]
    pub data: *mut core::ffi::c_void,
    #[doc = " elements that data points to. Inputs: the product of dims. Outputs: at least as many as needed"]
    pub count: i64,
    #[doc = " outermost first; dims[0] is the batch. Inputs: the caller's. Outputs: written by the library"]
    pub dims: [i64; 8usize],
    #[doc = " dimensions that count; outputs: written by the library"]
    pub rank: i32,
    #[doc = " a rekur_dtype; outputs: written by the library"]
    pub dtype: i32,
    #[doc = " inputs: steps that count in each row, 0 to dims[1]; null: all of them. Outputs: not read"]
    pub lengths: *const i32,
    #[doc = " dims[0], or 0 where lengths is null"]
    pub lengths_count: i64,
    pub reserved: [i64; 3usize],
}
extern "C" {
    #[doc = " The library's version, \"1.2.3\"."]
    pub fn rekur_version() -> *const core::ffi::c_char;
}
extern "C" {
    #[doc = " What the last call that failed on this thread had to say (UTF-8, at most 507 bytes); \"\" before one has. Valid until the next"]
    #[doc = " failure on this thread; a success leaves it as it is."]
    pub fn rekur_last_error() -> *const core::ffi::c_char;
}
extern "C" {
    #[doc = " Reads a .safetensors file as rekur writes it. On failure *model is null."]
    pub fn rekur_model_load(
        path: *const core::ffi::c_char,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " The same from memory, e.g. a file compiled into the program. The bytes are not needed afterwards."]
    pub fn rekur_model_load_memory(
        bytes: *const core::ffi::c_void,
        size: usize,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " Reads another program's file, of an effect on audio above all: Neural Amp Modeler's (.nam), RTNeural's and AIDA-X's, GuitarML's"]
    #[doc = " (JSON); or rekur's own. What it is, its contents say. docs/convert.md has what is read; networks of convolutions begin as after"]
    #[doc = " long silence. On failure *model is null."]
    pub fn rekur_model_import(
        path: *const core::ffi::c_char,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " The same from memory. The bytes are not needed afterwards."]
    pub fn rekur_model_import_memory(
        bytes: *const core::ffi::c_void,
        size: usize,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " The same without a copy of what a file has as the library reads it: Model::map of model.hpp. The file of `path` stays mapped as long"]
    #[doc = " as the model or a stream of it lives, and must not be written into or made shorter. `bytes` are used where they lie, are never"]
    #[doc = " written, and must be there as long."]
    pub fn rekur_model_map(
        path: *const core::ffi::c_char,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_model_map_memory(
        bytes: *const core::ffi::c_void,
        size: usize,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " Bytes of weights that lie in such a file; 0 where the model has a copy, and of null, which is an error."]
    pub fn rekur_model_mapped_bytes(model: *const rekur_model) -> usize;
}
extern "C" {
    pub fn rekur_model_free(model: *mut rekur_model);
}
extern "C" {
    #[doc = " The model's description, a JSON text. Null on failure."]
    pub fn rekur_model_spec(model: *const rekur_model) -> *const core::ffi::c_char;
}
extern "C" {
    #[doc = " The rate of the samples that the model was made for, in Hz, 0 where nobody has said; and by how many of them its output is behind"]
    #[doc = " its input. Of null, an error, 0."]
    pub fn rekur_model_sample_rate(model: *const rekur_model) -> f64;
}
extern "C" {
    pub fn rekur_model_latency(model: *const rekur_model) -> i64;
}
extern "C" {
    #[doc = " Inputs and outputs: how many (0 on failure; no model has none), and what the one at `index` is like; dims[0] is the batch."]
    pub fn rekur_model_input_count(model: *const rekur_model) -> usize;
}
extern "C" {
    pub fn rekur_model_output_count(model: *const rekur_model) -> usize;
}
extern "C" {
    pub fn rekur_model_input(
        model: *const rekur_model,
        index: usize,
        info: *mut rekur_tensor_info,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_model_output(
        model: *const rekur_model,
        index: usize,
        info: *mut rekur_tensor_info,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " What output `index` is like for such inputs, of which only rank and dims are read (dims[0], the batch, included): writes"]
    #[doc = " output->dims, rank, dtype and count, the elements it has. The rest of *output is not touched: set data, and it is ready for"]
    #[doc = " rekur_model_predict."]
    pub fn rekur_model_output_shape(
        model: *const rekur_model,
        inputs: *const rekur_tensor,
        input_count: usize,
        index: usize,
        output: *mut rekur_tensor,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " Inference over whole sequences. Inputs and outputs in the order of rekur_model_input and rekur_model_output. Of each output the"]
    #[doc = " caller gives data and count, the room there is; dims, rank and dtype are written, and as many elements as dims multiply to."]
    #[doc = " Outputs must not overlap one another or an input. Runs on as many threads as rekur_set_num_threads says."]
    pub fn rekur_model_predict(
        model: *const rekur_model,
        inputs: *const rekur_tensor,
        input_count: usize,
        outputs: *mut rekur_tensor,
        output_count: usize,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " For `batch` sequences that go side by side. Takes the model's weights: the model may be freed before the stream. All memory is"]
    #[doc = " taken here. Fails, with the reason, for models that cannot go one step at a time: Bidirectional and reverse layers, initial"]
    #[doc = " states computed in the model, ... On failure *stream is null."]
    pub fn rekur_stream_create(
        model: *const rekur_model,
        batch: i64,
        stream: *mut *mut rekur_stream,
    ) -> rekur_code;
}
#[doc = " it is the model's, or none was given"]
pub const REKUR_RATE_SAME: rekur_rate_match = 0;
#[doc = " it is higher: the states of recurrent layers are read as many steps back as the rates differ by"]
pub const REKUR_RATE_MATCHED: rekur_rate_match = 1;
#[doc = " ... but convolutions, attention, positions, masks or states that are matrices go by steps"]
pub const REKUR_RATE_PARTLY: rekur_rate_match = 2;
#[doc = " it is lower: the stream runs as if it were the model's"]
pub const REKUR_RATE_TOO_LOW: rekur_rate_match = 3;
#[doc = " the model does not say its own: likewise"]
pub const REKUR_RATE_UNKNOWN: rekur_rate_match = 4;
#[doc = " How a stream goes at the rate of its steps."]
pub type rekur_rate_match = core::ffi::c_uint;
extern "C" {
    #[doc = " The same for steps at a sample rate, in Hz; 0 is the model's own. Any that is finite, not negative and at most 4096 times the"]
    #[doc = " model's is taken: rekur_stream_rate_match says what comes of it."]
    pub fn rekur_stream_create_at(
        model: *const rekur_model,
        batch: i64,
        sample_rate: f64,
        stream: *mut *mut rekur_stream,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " Of null, an error, REKUR_RATE_UNKNOWN."]
    pub fn rekur_stream_rate_match(stream: *const rekur_stream) -> rekur_rate_match;
}
extern "C" {
    pub fn rekur_stream_free(stream: *mut rekur_stream);
}
extern "C" {
    #[doc = " One step's arrays: the model's inputs and outputs without their time axis, dims[0] the batch. Counts are 0 on failure. An input"]
    #[doc = " of the model that is nothing but a layer's initial state is none of the stream's: rekur_stream_state_set gives it."]
    pub fn rekur_stream_input_count(stream: *const rekur_stream) -> usize;
}
extern "C" {
    pub fn rekur_stream_output_count(stream: *const rekur_stream) -> usize;
}
extern "C" {
    pub fn rekur_stream_input(
        stream: *const rekur_stream,
        index: usize,
        info: *mut rekur_tensor_info,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_stream_output(
        stream: *const rekur_stream,
        index: usize,
        info: *mut rekur_tensor_info,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " One step of a stream with one input, of floats, and one output: x [batch, F] in, y [batch, F] out. They must not overlap. For"]
    #[doc = " a callback in real time: allocates nothing, takes no lock, makes no system call."]
    pub fn rekur_stream_step(stream: *mut rekur_stream, x: *const f32, y: *mut f32) -> rekur_code;
}
extern "C" {
    #[doc = " One step of any stream: x[i] points to floats, or to int32_t where input i is of ids; an id out of range gives NaN. The counts"]
    #[doc = " are the stream's. As fit for real time."]
    pub fn rekur_stream_step_many(
        stream: *mut rekur_stream,
        x: *const *const core::ffi::c_void,
        x_count: usize,
        y: *const *mut f32,
        y_count: usize,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " `steps` steps at once, to the bit what they are one by one, and sooner: of every array that a step takes, so many of them stand"]
    #[doc = " one after the other, x [steps, batch, F] and y [steps, batch, F]. As fit for real time."]
    pub fn rekur_stream_process(
        stream: *mut rekur_stream,
        x: *const f32,
        y: *mut f32,
        steps: i64,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_stream_process_many(
        stream: *mut rekur_stream,
        x: *const *const core::ffi::c_void,
        x_count: usize,
        y: *const *mut f32,
        y_count: usize,
        steps: i64,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " The beginning of a sequence: every state zero. Of all rows, or of one of the batch. Fit for real time, as are state_get and"]
    #[doc = " state_set."]
    pub fn rekur_stream_reset(stream: *mut rekur_stream) -> rekur_code;
}
extern "C" {
    pub fn rekur_stream_reset_row(stream: *mut rekur_stream, row: i64) -> rekur_code;
}
extern "C" {
    #[doc = " All states one after the other: of each recurrent layer in the model's order h [batch, units], then, if it has one, c [batch,"]
    #[doc = " units]. state_size is in floats, 0 on failure; `size` must be state_size."]
    pub fn rekur_stream_state_size(stream: *const rekur_stream) -> usize;
}
extern "C" {
    pub fn rekur_stream_state_get(
        stream: *const rekur_stream,
        state: *mut f32,
        size: usize,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_stream_state_set(
        stream: *mut rekur_stream,
        state: *const f32,
        size: usize,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " What they are: \"lstm/h\", \"lstm/c\", ... The count is 0 on failure, and of a stream without states."]
    pub fn rekur_stream_state_count(stream: *const rekur_stream) -> usize;
}
extern "C" {
    pub fn rekur_stream_state(
        stream: *const rekur_stream,
        index: usize,
        info: *mut rekur_tensor_info,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " How large a block has to be, wherever it stands: made and destroyed for this once, in memory from malloc. For the library and the"]
    #[doc = " instruction set in use; ask again after a change of either."]
    pub fn rekur_model_memory_size(
        bytes: *const core::ffi::c_void,
        size: usize,
        needed: *mut usize,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_model_map_size(
        bytes: *const core::ffi::c_void,
        size: usize,
        needed: *mut usize,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_stream_memory_size(
        model: *const rekur_model,
        batch: i64,
        needed: *mut usize,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " rekur_model_load_memory, rekur_model_map_memory and rekur_stream_create in a block of the caller's, which is his again after the _free. Where it is too"]
    #[doc = " small: REKUR_OUT_OF_MEMORY, nothing is made, and the message says how many bytes are needed, for which memory from malloc is"]
    #[doc = " used. A model of which runs are to be made needs memory for these, too."]
    pub fn rekur_model_load_in(
        bytes: *const core::ffi::c_void,
        size: usize,
        memory: *mut core::ffi::c_void,
        memory_size: usize,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_model_map_in(
        bytes: *const core::ffi::c_void,
        size: usize,
        memory: *mut core::ffi::c_void,
        memory_size: usize,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_stream_create_in(
        model: *const rekur_model,
        batch: i64,
        memory: *mut core::ffi::c_void,
        memory_size: usize,
        stream: *mut *mut rekur_stream,
    ) -> rekur_code;
}
#[doc = " Where memory comes from, and where it goes. Both functions are called on whatever thread makes, uses or frees what was made of it;"]
#[doc = " context must live as long as that."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct rekur_memory {
    #[doc = " `bytes` bytes, at least 1, at a multiple of `alignment`, a power of two of at most 64; null where there are none."]
    pub allocate: ::core::option::Option<
        unsafe extern "C" fn(
            context: *mut core::ffi::c_void,
            bytes: usize,
            alignment: usize,
        ) -> *mut core::ffi::c_void,
    >,
    #[doc = " A block comes back, with the same bytes and alignment."]
    pub release: ::core::option::Option<
        unsafe extern "C" fn(
            context: *mut core::ffi::c_void,
            block: *mut core::ffi::c_void,
            bytes: usize,
            alignment: usize,
        ),
    >,
    pub context: *mut core::ffi::c_void,
}
extern "C" {
    #[doc = " rekur_model_load, rekur_model_load_memory and rekur_stream_create with such memory."]
    pub fn rekur_model_load_with(
        path: *const core::ffi::c_char,
        memory: *const rekur_memory,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_model_load_memory_with(
        bytes: *const core::ffi::c_void,
        size: usize,
        memory: *const rekur_memory,
        model: *mut *mut rekur_model,
    ) -> rekur_code;
}
extern "C" {
    pub fn rekur_stream_create_with(
        model: *const rekur_model,
        batch: i64,
        memory: *const rekur_memory,
        stream: *mut *mut rekur_stream,
    ) -> rekur_code;
}
extern "C" {
    #[doc = " Threads of one call of rekur_model_predict, 1 to 1024; results never depend on it. At first REKUR_NUM_THREADS of the environment,"]
    #[doc = " else OMP_NUM_THREADS, else the cores this process may run on. 0 on failure (a malformed REKUR_NUM_THREADS)."]
    pub fn rekur_num_threads() -> i32;
}
extern "C" {
    pub fn rekur_set_num_threads(threads: i32) -> rekur_code;
}
extern "C" {
    #[doc = " The instruction set in use, \"baseline\", \"avx2\", \"avx512\", \"amx\", \"neon\" or \"rvv\": the widest the machine has, or what REKUR_ISA"]
    #[doc = " of the environment says. Null on failure (a wrong REKUR_ISA)."]
    pub fn rekur_isa() -> *const core::ffi::c_char;
}
extern "C" {
    #[doc = " Those that this library and this machine have, narrowest first; null behind the last, or on failure."]
    pub fn rekur_available_isa(index: usize) -> *const core::ffi::c_char;
}
extern "C" {
    #[doc = " For tests and measurements: no other call may be under way. Streams keep the one they were made with."]
    pub fn rekur_set_isa(name: *const core::ffi::c_char) -> rekur_code;
}
