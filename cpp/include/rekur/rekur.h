/* The C interface of rekur: models and streams for C99, and for every language that can call C.
 *
 *   rekur_model* model = NULL;
 *   rekur_stream* stream = NULL;
 *   if (rekur_model_load("amp.safetensors", &model) != REKUR_OK) return fprintf(stderr, "%s\n", rekur_last_error()), 1;
 *   if (rekur_stream_create(model, 1, &stream) != REKUR_OK) ...
 *   rekur_model_free(model);          a stream does not need its model
 *   rekur_stream_step(stream, x, y);  in the audio callback
 *   rekur_stream_free(stream);
 *
 * Errors. A function that can fail returns a rekur_code, or says what it returns instead. Every null pointer, count and size that
 * does not fit is an error whose message names the argument; nothing has then changed, but what stands in output buffers is
 * unspecified. rekur_last_error() has the message.
 *
 * Memory. Handles are freed by their _free function, once; of null it does nothing. All other memory is the caller's. Nothing given
 * to a function is kept after it returns. Strings and infos that the library gives belong to the handle that was asked, and live as
 * long as it does.
 *
 * Threads. A rekur_model never changes: any number of threads may use one at once. A rekur_stream is one thread's at a time. Neither
 * may be freed while another thread uses it.
 *
 * Binary compatibility. The structures keep their size and layout for good (their reserved fields are zero until they mean
 * something), enumerators their values; functions are added, not changed. */
#ifndef REKUR_REKUR_H
#define REKUR_REKUR_H

#include <stddef.h>
#include <stdint.h>

#include "rekur/config.h"

#ifdef __cplusplus
#define REKUR_NOEXCEPT noexcept
extern "C" {
#else
#define REKUR_NOEXCEPT
#endif

typedef enum rekur_code {
  REKUR_OK = 0,
  REKUR_INVALID_ARGUMENT = 1, /* what the caller can get wrong: the message says what was expected and what came */
  REKUR_IO = 2,               /* a file that cannot be opened, read or understood; also one in memory */
  REKUR_OUT_OF_MEMORY = 3,
  REKUR_INTERNAL = 4 /* a fault of the library or of the system */
} rekur_code;

typedef enum rekur_dtype {
  REKUR_FLOAT32 = 0, /* float */
  REKUR_INT32 = 1    /* int32_t: the ids of an Embedding */
} rekur_dtype;

#define REKUR_MAX_RANK 8
#define REKUR_UNKNOWN (-1) /* a dimension known only when data arrive: the batch, often the time */

typedef struct rekur_model rekur_model;
typedef struct rekur_stream rekur_stream;

/* What an input, an output or a state is like. */
typedef struct rekur_tensor_info {
  const char* name;
  int64_t dims[REKUR_MAX_RANK]; /* the first `rank` of them, outermost first, REKUR_UNKNOWN included; 0 behind */
  int32_t rank;
  int32_t dtype; /* a rekur_dtype */
  int64_t reserved[2];
} rekur_tensor_info;

/* A dense, row-major array of the caller's. Begin with `rekur_tensor x = {0};`: what is not set must be zero. */
typedef struct rekur_tensor {
  void* data;                   /* float or int32_t by dtype, aligned as such; an input's is only read */
  int64_t count;                /* elements that data points to. Inputs: the product of dims. Outputs: at least as many as needed */
  int64_t dims[REKUR_MAX_RANK]; /* outermost first; dims[0] is the batch. Inputs: the caller's. Outputs: written by the library */
  int32_t rank;                 /* dimensions that count; outputs: written by the library */
  int32_t dtype;                /* a rekur_dtype; outputs: written by the library */
  const int32_t* lengths;       /* inputs: steps that count in each row, 0 to dims[1]; null: all of them. Outputs: not read */
  int64_t lengths_count;        /* dims[0], or 0 where lengths is null */
  int64_t reserved[3];
} rekur_tensor;

/* The library's version, "1.2.3". */
REKUR_API const char* rekur_version(void) REKUR_NOEXCEPT;

/* What the last call that failed on this thread had to say (UTF-8, at most 507 bytes); "" before one has. Valid until the next
 * failure on this thread; a success leaves it as it is. */
REKUR_API const char* rekur_last_error(void) REKUR_NOEXCEPT;

/* ---- Models ---- */

/* Reads a .safetensors file as rekur writes it. On failure *model is null. */
REKUR_API rekur_code rekur_model_load(const char* path, rekur_model** model) REKUR_NOEXCEPT;

/* The same from memory, e.g. a file compiled into the program. The bytes are not needed afterwards. */
REKUR_API rekur_code rekur_model_load_memory(const void* bytes, size_t size, rekur_model** model) REKUR_NOEXCEPT;

#if REKUR_IMPORT
/* Reads another program's file, of an effect on audio above all: Neural Amp Modeler's (.nam), RTNeural's and AIDA-X's, GuitarML's
 * (JSON); or rekur's own. What it is, its contents say. docs/convert.md has what is read; networks of convolutions begin as after
 * long silence. On failure *model is null. */
REKUR_API rekur_code rekur_model_import(const char* path, rekur_model** model) REKUR_NOEXCEPT;

/* The same from memory. The bytes are not needed afterwards. */
REKUR_API rekur_code rekur_model_import_memory(const void* bytes, size_t size, rekur_model** model) REKUR_NOEXCEPT;
#endif
/* The same without a copy of what a file has as the library reads it: Model::map of model.hpp. The file of `path` stays mapped as long
 * as the model or a stream of it lives, and must not be written into or made shorter. `bytes` are used where they lie, are never
 * written, and must be there as long. */
REKUR_API rekur_code rekur_model_map(const char* path, rekur_model** model) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_model_map_memory(const void* bytes, size_t size, rekur_model** model) REKUR_NOEXCEPT;

/* Bytes of weights that lie in such a file; 0 where the model has a copy, and of null, which is an error. */
REKUR_API size_t rekur_model_mapped_bytes(const rekur_model* model) REKUR_NOEXCEPT;

REKUR_API void rekur_model_free(rekur_model* model) REKUR_NOEXCEPT;

/* The model's description, a JSON text. Null on failure. */
REKUR_API const char* rekur_model_spec(const rekur_model* model) REKUR_NOEXCEPT;

/* The rate of the samples that the model was made for, in Hz, 0 where nobody has said; and by how many of them its output is behind
 * its input. Of null, an error, 0. */
REKUR_API double rekur_model_sample_rate(const rekur_model* model) REKUR_NOEXCEPT;
REKUR_API int64_t rekur_model_latency(const rekur_model* model) REKUR_NOEXCEPT;

/* Inputs and outputs: how many (0 on failure; no model has none), and what the one at `index` is like; dims[0] is the batch. */
REKUR_API size_t rekur_model_input_count(const rekur_model* model) REKUR_NOEXCEPT;
REKUR_API size_t rekur_model_output_count(const rekur_model* model) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_model_input(const rekur_model* model, size_t index, rekur_tensor_info* info) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_model_output(const rekur_model* model, size_t index, rekur_tensor_info* info) REKUR_NOEXCEPT;

/* What output `index` is like for such inputs, of which only rank and dims are read (dims[0], the batch, included): writes
 * output->dims, rank, dtype and count, the elements it has. The rest of *output is not touched: set data, and it is ready for
 * rekur_model_predict. */
REKUR_API rekur_code rekur_model_output_shape(const rekur_model* model, const rekur_tensor* inputs, size_t input_count,
                                              size_t index, rekur_tensor* output) REKUR_NOEXCEPT;

/* Inference over whole sequences. Inputs and outputs in the order of rekur_model_input and rekur_model_output. Of each output the
 * caller gives data and count, the room there is; dims, rank and dtype are written, and as many elements as dims multiply to.
 * Outputs must not overlap one another or an input. Runs on as many threads as rekur_set_num_threads says. */
REKUR_API rekur_code rekur_model_predict(const rekur_model* model, const rekur_tensor* inputs, size_t input_count,
                                         rekur_tensor* outputs, size_t output_count) REKUR_NOEXCEPT;

/* ---- Streams: a live sequence, one time step a call, the states carried along ---- */

/* For `batch` sequences that go side by side. Takes the model's weights: the model may be freed before the stream. All memory is
 * taken here. Fails, with the reason, for models that cannot go one step at a time: Bidirectional and reverse layers, initial
 * states computed in the model, ... On failure *stream is null. */
REKUR_API rekur_code rekur_stream_create(const rekur_model* model, int64_t batch, rekur_stream** stream) REKUR_NOEXCEPT;

/* How a stream goes at the rate of its steps. */
typedef enum rekur_rate_match {
  REKUR_RATE_SAME = 0,    /* it is the model's, or none was given */
  REKUR_RATE_MATCHED = 1, /* it is higher: the states of recurrent layers are read as many steps back as the rates differ by */
  REKUR_RATE_PARTLY = 2,  /* ... but convolutions, attention, positions, masks or states that are matrices go by steps */
  REKUR_RATE_TOO_LOW = 3, /* it is lower: the stream runs as if it were the model's */
  REKUR_RATE_UNKNOWN = 4  /* the model does not say its own: likewise */
} rekur_rate_match;

/* The same for steps at a sample rate, in Hz; 0 is the model's own. Any that is finite, not negative and at most 4096 times the
 * model's is taken: rekur_stream_rate_match says what comes of it. */
REKUR_API rekur_code rekur_stream_create_at(const rekur_model* model, int64_t batch, double sample_rate,
                                            rekur_stream** stream) REKUR_NOEXCEPT;

/* Of null, an error, REKUR_RATE_UNKNOWN. */
REKUR_API rekur_rate_match rekur_stream_rate_match(const rekur_stream* stream) REKUR_NOEXCEPT;

REKUR_API void rekur_stream_free(rekur_stream* stream) REKUR_NOEXCEPT;

/* One step's arrays: the model's inputs and outputs without their time axis, dims[0] the batch. Counts are 0 on failure. An input
 * of the model that is nothing but a layer's initial state is none of the stream's: rekur_stream_state_set gives it. */
REKUR_API size_t rekur_stream_input_count(const rekur_stream* stream) REKUR_NOEXCEPT;
REKUR_API size_t rekur_stream_output_count(const rekur_stream* stream) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_stream_input(const rekur_stream* stream, size_t index, rekur_tensor_info* info) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_stream_output(const rekur_stream* stream, size_t index, rekur_tensor_info* info) REKUR_NOEXCEPT;

/* One step of a stream with one input, of floats, and one output: x [batch, F] in, y [batch, F] out. They must not overlap. For
 * a callback in real time: allocates nothing, takes no lock, makes no system call. */
REKUR_API rekur_code rekur_stream_step(rekur_stream* stream, const float* x, float* y) REKUR_NOEXCEPT REKUR_NONBLOCKING;

/* One step of any stream: x[i] points to floats, or to int32_t where input i is of ids; an id out of range gives NaN. The counts
 * are the stream's. As fit for real time. */
REKUR_API rekur_code rekur_stream_step_many(rekur_stream* stream, const void* const* x, size_t x_count, float* const* y,
                                            size_t y_count) REKUR_NOEXCEPT REKUR_NONBLOCKING;

/* `steps` steps at once, to the bit what they are one by one, and sooner: of every array that a step takes, so many of them stand
 * one after the other, x [steps, batch, F] and y [steps, batch, F]. As fit for real time. */
REKUR_API rekur_code rekur_stream_process(rekur_stream* stream, const float* x, float* y,
                                          int64_t steps) REKUR_NOEXCEPT REKUR_NONBLOCKING;
REKUR_API rekur_code rekur_stream_process_many(rekur_stream* stream, const void* const* x, size_t x_count, float* const* y,
                                               size_t y_count, int64_t steps) REKUR_NOEXCEPT REKUR_NONBLOCKING;

/* The beginning of a sequence: every state zero. Of all rows, or of one of the batch. Fit for real time, as are state_get and
 * state_set. */
REKUR_API rekur_code rekur_stream_reset(rekur_stream* stream) REKUR_NOEXCEPT REKUR_NONBLOCKING;
REKUR_API rekur_code rekur_stream_reset_row(rekur_stream* stream, int64_t row) REKUR_NOEXCEPT REKUR_NONBLOCKING;

/* All states one after the other: of each recurrent layer in the model's order h [batch, units], then, if it has one, c [batch,
 * units]. state_size is in floats, 0 on failure; `size` must be state_size. */
REKUR_API size_t rekur_stream_state_size(const rekur_stream* stream) REKUR_NOEXCEPT REKUR_NONBLOCKING;
REKUR_API rekur_code rekur_stream_state_get(const rekur_stream* stream, float* state, size_t size) REKUR_NOEXCEPT REKUR_NONBLOCKING;
REKUR_API rekur_code rekur_stream_state_set(rekur_stream* stream, const float* state, size_t size) REKUR_NOEXCEPT REKUR_NONBLOCKING;

/* What they are: "lstm/h", "lstm/c", ... The count is 0 on failure, and of a stream without states. */
REKUR_API size_t rekur_stream_state_count(const rekur_stream* stream) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_stream_state(const rekur_stream* stream, size_t index, rekur_tensor_info* info) REKUR_NOEXCEPT;

/* ---- Memory of the caller's own ----
 *
 * For models and streams that take what they need from a block, such as a static array, or from functions. What is large comes from
 * there: weights, packed weights, arrays and states. So does everything else in a program one source file of which is nothing but
 * `#include <rekur/operators.hpp>` (C++); without, the small things come from operator new. A stream with memory of its own shares
 * none with others. Messages of errors are made in the system's memory, and a model's runs (rekur_model_predict) leave some with the
 * thread; what the library keeps for the process is taken by the first call, rekur_isa for one, and in a library without
 * REKUR_COMPILED_CELLS is nothing. */

/* How large a block has to be, wherever it stands: made and destroyed for this once, in memory from malloc. For the library and the
 * instruction set in use; ask again after a change of either. */
REKUR_API rekur_code rekur_model_memory_size(const void* bytes, size_t size, size_t* needed) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_model_map_size(const void* bytes, size_t size, size_t* needed) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_stream_memory_size(const rekur_model* model, int64_t batch, size_t* needed) REKUR_NOEXCEPT;

/* rekur_model_load_memory, rekur_model_map_memory and rekur_stream_create in a block of the caller's, which is his again after the _free. Where it is too
 * small: REKUR_OUT_OF_MEMORY, nothing is made, and the message says how many bytes are needed, for which memory from malloc is
 * used. A model of which runs are to be made needs memory for these, too. */
REKUR_API rekur_code rekur_model_load_in(const void* bytes, size_t size, void* memory, size_t memory_size,
                                         rekur_model** model) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_model_map_in(const void* bytes, size_t size, void* memory, size_t memory_size,
                                        rekur_model** model) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_stream_create_in(const rekur_model* model, int64_t batch, void* memory, size_t memory_size,
                                            rekur_stream** stream) REKUR_NOEXCEPT;

/* Where memory comes from, and where it goes. Both functions are called on whatever thread makes, uses or frees what was made of it;
 * context must live as long as that. */
typedef struct rekur_memory {
  /* `bytes` bytes, at least 1, at a multiple of `alignment`, a power of two of at most 64; null where there are none. */
  void* (*allocate)(void* context, size_t bytes, size_t alignment);
  /* A block comes back, with the same bytes and alignment. */
  void (*release)(void* context, void* block, size_t bytes, size_t alignment);
  void* context;
} rekur_memory;

/* rekur_model_load, rekur_model_load_memory and rekur_stream_create with such memory. */
REKUR_API rekur_code rekur_model_load_with(const char* path, const rekur_memory* memory, rekur_model** model) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_model_load_memory_with(const void* bytes, size_t size, const rekur_memory* memory,
                                                  rekur_model** model) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_stream_create_with(const rekur_model* model, int64_t batch, const rekur_memory* memory,
                                              rekur_stream** stream) REKUR_NOEXCEPT;

/* ---- The machine; for the whole process ---- */

/* Threads of one call of rekur_model_predict, 1 to 1024; results never depend on it. At first REKUR_NUM_THREADS of the environment,
 * else OMP_NUM_THREADS, else the cores this process may run on. 0 on failure (a malformed REKUR_NUM_THREADS). */
REKUR_API int32_t rekur_num_threads(void) REKUR_NOEXCEPT;
REKUR_API rekur_code rekur_set_num_threads(int32_t threads) REKUR_NOEXCEPT;

/* The instruction set in use, "baseline", "avx2", "avx512", "amx", "neon" or "rvv": the widest the machine has, or what REKUR_ISA
 * of the environment says. Null on failure (a wrong REKUR_ISA). */
REKUR_API const char* rekur_isa(void) REKUR_NOEXCEPT;

/* Those that this library and this machine have, narrowest first; null behind the last, or on failure. */
REKUR_API const char* rekur_available_isa(size_t index) REKUR_NOEXCEPT;

/* For tests and measurements: no other call may be under way. Streams keep the one they were made with. */
REKUR_API rekur_code rekur_set_isa(const char* name) REKUR_NOEXCEPT;

#ifdef __cplusplus
} /* extern "C" */
#endif

#undef REKUR_NOEXCEPT

#endif
