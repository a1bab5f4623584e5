/* rekur.h from C99: models and streams against what the C++ interface gave (c_api_fixture), and every way to be wrong.
 *   c_api FOLDER
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rekur/rekur.h"

#define BATCH 2
#define STEPS 6

static const char* folder;
static int failures = 0;

static void check(int good, const char* what, int line) {
  if (good) return;
  printf("line %d: %s (last error: %s)\n", line, what, rekur_last_error());
  ++failures;
}
#define CHECK(condition) check((condition) != 0, #condition, __LINE__)

/* A call that must fail with this code and a message that names the function and has these words. */
static void check_error(rekur_code code, rekur_code expected, const char* words, int line) {
  if (code == expected && strstr(rekur_last_error(), words) != NULL) return;
  printf("line %d: expected code %d and \"%s\", got code %d and \"%s\"\n", line, (int)expected, words, (int)code,
         rekur_last_error());
  ++failures;
}
#define CHECK_ERROR(call, words) check_error(call, REKUR_INVALID_ARGUMENT, words, __LINE__)
#define CHECK_IO_ERROR(call, words) check_error(call, REKUR_IO, words, __LINE__)

static const char* path_of(const char* name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* A whole file; the caller frees it. */
static void* read_file(const char* name, size_t* size) {
  FILE* file = fopen(path_of(name), "rb");
  long length = 0;
  void* bytes;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (length = ftell(file)) < 0) {
    printf("cannot read %s\n", path_of(name));
    exit(1);
  }
  rewind(file);
  bytes = malloc((size_t)length + 1);
  if (bytes == NULL || fread(bytes, 1, (size_t)length, file) != (size_t)length) exit(1);
  fclose(file);
  if (size != NULL) *size = (size_t)length;
  return bytes;
}

static rekur_model* load(const char* name) {
  rekur_model* model = NULL;
  if (rekur_model_load(path_of(name), &model) != REKUR_OK) {
    printf("%s\n", rekur_last_error());
    exit(1);
  }
  return model;
}

static rekur_tensor input_of(void* data, int32_t dtype, int32_t rank, int64_t features) {
  rekur_tensor x = {0};
  x.data = data;
  x.dtype = dtype;
  x.rank = rank;
  x.dims[0] = BATCH;
  x.dims[1] = STEPS;
  if (rank == 3) x.dims[2] = features;
  x.count = BATCH * STEPS * (rank == 3 ? features : 1);
  return x;
}

static void test_loading(void) {
  size_t size = 0, i;
  unsigned char* bytes = read_file("one.safetensors", &size);
  rekur_model* model = (rekur_model*)&failures; /* must be set to null */
  CHECK(strcmp(rekur_last_error(), "") == 0);
  CHECK_ERROR(rekur_model_load(NULL, &model), "rekur_model_load: path is null");
  CHECK(model == NULL);
  CHECK_ERROR(rekur_model_load("x", NULL), "rekur_model_load: model is null");
  CHECK_IO_ERROR(rekur_model_load(path_of("none.safetensors"), &model), "none.safetensors");
  CHECK_IO_ERROR(rekur_model_load(folder, &model), "directory");
  CHECK(model == NULL);
  CHECK_ERROR(rekur_model_load_memory(NULL, 8, &model), "rekur_model_load_memory: bytes is null");
  CHECK_ERROR(rekur_model_load_memory(bytes, size, NULL), "rekur_model_load_memory: model is null");
  CHECK_IO_ERROR(rekur_model_load_memory(bytes, 0, &model), "too short");
#if REKUR_IMPORT
  CHECK_ERROR(rekur_model_import(NULL, &model), "rekur_model_import: path is null");
  CHECK_ERROR(rekur_model_import_memory(NULL, 8, &model), "rekur_model_import_memory: bytes is null");
  CHECK_IO_ERROR(rekur_model_import(path_of("none.nam"), &model), "none.nam");
  CHECK_IO_ERROR(rekur_model_import_memory("{\"layers\": 1}", 13, &model), "has none of these");
  CHECK(rekur_model_import_memory(bytes, size, &model) == REKUR_OK); /* rekur's own, too */
  rekur_model_free(model);
  model = NULL;
#endif
  for (i = 0; i < size; i += 7) {
    unsigned char* piece = malloc(i + 1);
    if (piece == NULL) exit(1);
    memcpy(piece, bytes, i);
    CHECK_IO_ERROR(rekur_model_load_memory(piece, i, &model), "model in memory");
    CHECK(model == NULL);
    free(piece);
  }
  CHECK(rekur_model_load_memory(bytes, size, &model) == REKUR_OK);
  CHECK(model != NULL);
  memset(bytes, 0, size);
  free(bytes); /* nothing of it is kept */
  CHECK(strstr(rekur_model_spec(model), "\"LSTM\"") != NULL);
  CHECK(strstr(rekur_last_error(), "model in memory") != NULL); /* a success does not touch it */
  rekur_model_free(model);
  rekur_model_free(NULL);
}

static void test_queries(void) {
  rekur_model* model = load("several.safetensors");
  rekur_tensor_info info;
  CHECK(rekur_model_input_count(model) == 2);
  CHECK(rekur_model_output_count(model) == 2);
  CHECK(rekur_model_input(model, 0, &info) == REKUR_OK);
  CHECK(strcmp(info.name, "ids") == 0);
  CHECK(info.rank == 2 && info.dims[0] == REKUR_UNKNOWN && info.dims[1] == REKUR_UNKNOWN && info.dims[2] == 0);
  CHECK(info.dtype == REKUR_INT32);
  CHECK(rekur_model_input(model, 1, &info) == REKUR_OK);
  CHECK(strcmp(info.name, "side") == 0 && info.rank == 3 && info.dims[2] == 2 && info.dtype == REKUR_FLOAT32);
  CHECK(rekur_model_output(model, 0, &info) == REKUR_OK);
  CHECK(strcmp(info.name, "y") == 0 && info.rank == 3 && info.dims[2] == 4 && info.dtype == REKUR_FLOAT32);

  CHECK(rekur_model_input_count(NULL) == 0);
  CHECK(strcmp(rekur_last_error(), "rekur_model_input_count: model is null") == 0);
  CHECK(rekur_model_output_count(NULL) == 0);
  CHECK(strcmp(rekur_last_error(), "rekur_model_output_count: model is null") == 0);
  CHECK(rekur_model_sample_rate(model) == 0 && rekur_model_latency(model) == 0);
  CHECK(rekur_model_sample_rate(NULL) == 0);
  CHECK(strcmp(rekur_last_error(), "rekur_model_sample_rate: model is null") == 0);
  CHECK(rekur_model_latency(NULL) == 0);
  CHECK(strcmp(rekur_last_error(), "rekur_model_latency: model is null") == 0);
  CHECK(rekur_model_spec(NULL) == NULL);
  CHECK(strcmp(rekur_last_error(), "rekur_model_spec: model is null") == 0);
  CHECK_ERROR(rekur_model_input(NULL, 0, &info), "rekur_model_input: model is null");
  CHECK_ERROR(rekur_model_input(model, 0, NULL), "rekur_model_input: info is null");
  CHECK_ERROR(rekur_model_input(model, 2, &info), "rekur_model_input: index must be less than 2, got 2");
  CHECK_ERROR(rekur_model_output(NULL, 0, &info), "rekur_model_output: model is null");
  CHECK_ERROR(rekur_model_output(model, 0, NULL), "rekur_model_output: info is null");
  CHECK_ERROR(rekur_model_output(model, (size_t)-1, &info), "rekur_model_output: index must be less than 2");
  rekur_model_free(model);
}

static void test_prediction(void) {
  rekur_model* model = load("one.safetensors");
  float* data = read_file("one.input0", NULL);
  size_t size = 0;
  float* expected = read_file("one.output0", &size);
  rekur_tensor x = input_of(data, REKUR_FLOAT32, 3, 3), y = {0};
  float* room;
  CHECK(rekur_model_output_shape(model, &x, 1, 0, &y) == REKUR_OK);
  CHECK(y.rank == 3 && y.dims[0] == BATCH && y.dims[1] == STEPS && y.dims[2] == 2 && y.dtype == REKUR_FLOAT32);
  CHECK(y.count == (int64_t)(size / sizeof(float)));
  room = malloc(size + sizeof(float));
  if (room == NULL) exit(1);
  room[y.count] = 77.0f;
  y.data = room;
  CHECK(rekur_model_predict(model, &x, 1, &y, 1) == REKUR_OK);
  CHECK(memcmp(room, expected, size) == 0);
  CHECK(room[y.count] == 77.0f);

  /* More room than needed; another batch in the same structures; no rows at all. */
  ++y.count;
  x.dims[0] = 1;
  x.count = STEPS * 3;
  CHECK(rekur_model_predict(model, &x, 1, &y, 1) == REKUR_OK);
  CHECK(y.dims[0] == 1 && y.count == BATCH * STEPS * 2 + 1);
  CHECK(memcmp(room, expected, size / BATCH) == 0);
  x.dims[0] = 0;
  x.count = 0;
  x.data = NULL;
  CHECK(rekur_model_predict(model, &x, 1, &y, 1) == REKUR_OK);
  CHECK(y.rank == 3 && y.dims[0] == 0);
  free(room);
  free(expected);
  free(data);
  rekur_model_free(model);
}

static void test_several(void) {
  rekur_model* model = load("several.safetensors");
  int32_t* ids = read_file("several.input0", NULL);
  float* side = read_file("several.input1", NULL);
  int32_t* lengths = read_file("lengths", NULL);
  size_t sizes[2];
  float *expected[2], rooms[2][BATCH * STEPS * 4];
  rekur_tensor inputs[2], outputs[2];
  int k;
  memset(outputs, 0, sizeof outputs);
  inputs[0] = input_of(ids, REKUR_INT32, 2, 0);
  inputs[1] = input_of(side, REKUR_FLOAT32, 3, 2);
  for (k = 0; k < 2; ++k) {
    char name[] = "several.output0";
    name[sizeof name - 2] = (char)('0' + k);
    expected[k] = read_file(name, &sizes[k]);
    inputs[k].lengths = lengths;
    inputs[k].lengths_count = BATCH;
    outputs[k].data = rooms[k];
    outputs[k].count = BATCH * STEPS * 4;
  }
  CHECK(rekur_model_predict(model, inputs, 2, outputs, 2) == REKUR_OK);
  for (k = 0; k < 2; ++k) CHECK(memcmp(rooms[k], expected[k], sizes[k]) == 0);
  CHECK(outputs[1].dims[2] == 3);

  ids[3] = 7;
  CHECK_ERROR(rekur_model_predict(model, inputs, 2, outputs, 2), "7");
  ids[3] = 1;
  CHECK_ERROR(rekur_model_predict(model, inputs, 1, outputs, 2), "input_count is expected to be 2, got 1");
  CHECK_ERROR(rekur_model_predict(model, inputs, 2, outputs, 3), "output_count is expected to be 2, got 3");
  inputs[0].dtype = REKUR_FLOAT32;
  CHECK_ERROR(rekur_model_predict(model, inputs, 2, outputs, 2), "Input 'ids': expected int32, got float32");
  inputs[0].dtype = REKUR_INT32;
  inputs[1].lengths = NULL;
  CHECK_ERROR(rekur_model_predict(model, inputs, 2, outputs, 2),
              "rekur_model_predict: inputs[1].lengths_count must be 0 where lengths is null, got 2");
  inputs[1].lengths_count = 0;
  CHECK_ERROR(rekur_model_predict(model, inputs, 2, outputs, 2), "different lengths");
  outputs[1].data = NULL;
  inputs[0].lengths = NULL;
  inputs[0].lengths_count = 0;
  CHECK_ERROR(rekur_model_predict(model, inputs, 2, outputs, 2), "rekur_model_predict: outputs[1].data is null");
  for (k = 0; k < 2; ++k) free(expected[k]);
  free(ids);
  free(side);
  free(lengths);
  rekur_model_free(model);
}

/* Each field of a tensor wrong by itself. */
static void test_wrong_tensors(void) {
  rekur_model* model = load("one.safetensors");
  float* data = read_file("one.input0", NULL);
  int32_t lengths[BATCH] = {6, 7};
  float room[BATCH * STEPS * 2];
  const rekur_tensor good = input_of(data, REKUR_FLOAT32, 3, 3);
  rekur_tensor x = good, y = {0};
  y.data = room;
  y.count = BATCH * STEPS * 2;
  CHECK(rekur_model_predict(model, &x, 1, &y, 1) == REKUR_OK);

#define WRONG(field, value, words)                                     \
  do {                                                                 \
    x = good;                                                          \
    x.field = value;                                                   \
    CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 1), words);      \
  } while (0)
  WRONG(data, NULL, "rekur_model_predict: inputs[0].data is null");
  WRONG(data, (char*)data + 1, "rekur_model_predict: inputs[0].data is not aligned");
  WRONG(count, 35, "rekur_model_predict: inputs[0].count must be 36, the elements of dims (2, 6, 3), got 35");
  WRONG(count, -36, "inputs[0].count must be 36");
  WRONG(rank, -1, "rekur_model_predict: inputs[0].rank must be 0 to 8, got -1");
  WRONG(rank, 9, "rekur_model_predict: inputs[0].rank must be 0 to 8, got 9");
  WRONG(rank, INT32_MIN, "inputs[0].rank");
  WRONG(dims[1], -6, "rekur_model_predict: inputs[0].dims[1] must not be negative, got -6");
  WRONG(dims[0], INT64_MAX, "rekur_model_predict: inputs[0].dims have more elements than can be addressed");
  WRONG(dtype, 2, "rekur_model_predict: inputs[0].dtype must be REKUR_FLOAT32 (0) or REKUR_INT32 (1), got 2");
  WRONG(dtype, REKUR_INT32, "Input 'x': expected float32, got int32");
  WRONG(lengths, lengths, "rekur_model_predict: inputs[0].lengths_count must be 2, one a row, got 0");
  WRONG(lengths_count, 2, "rekur_model_predict: inputs[0].lengths_count must be 0 where lengths is null, got 2");
  WRONG(reserved[2], 1, "rekur_model_predict: inputs[0].reserved must be zero");
  x = good;
  x.rank = 2;
  x.count = BATCH * STEPS;
  CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 1), "Input 'x': expected an array of shape (None, None, 3), got (2, 6)");
  CHECK_ERROR(rekur_model_output_shape(model, &x, 1, 0, &y), "Input 'x': expected an array of shape (None, None, 3), got (2, 6)");
  x.rank = 0;
  x.count = 1;
  CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 1), "Input 'x'");
  x = good;
  x.lengths = lengths;
  x.lengths_count = BATCH;
  CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 1), "length 7 of row 1");
  x.lengths = (const int32_t*)(const void*)((const char*)lengths + 1);
  CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 1), "rekur_model_predict: inputs[0].lengths is not aligned");

  x = good;
  CHECK_ERROR(rekur_model_predict(NULL, &x, 1, &y, 1), "rekur_model_predict: model is null");
  CHECK_ERROR(rekur_model_predict(model, NULL, 1, &y, 1), "rekur_model_predict: inputs is null");
  CHECK_ERROR(rekur_model_predict(model, &x, 0, &y, 1), "rekur_model_predict: input_count is expected to be 1, got 0");
  CHECK_ERROR(rekur_model_predict(model, &x, 1, NULL, 1), "rekur_model_predict: outputs is null");
  CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 0), "rekur_model_predict: output_count is expected to be 1, got 0");
  y.count = 23;
  CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 1),
              "rekur_model_predict: outputs[0].count must be at least 24, for an array of shape (2, 6, 2), got 23");
  y.count = 24;
  y.reserved[0] = -1;
  CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 1), "rekur_model_predict: outputs[0].reserved must be zero");
  y.reserved[0] = 0;
  y.data = (char*)room + 2;
  CHECK_ERROR(rekur_model_predict(model, &x, 1, &y, 1), "rekur_model_predict: outputs[0].data is not aligned");
  CHECK_ERROR(rekur_model_output_shape(NULL, &x, 1, 0, &y), "rekur_model_output_shape: model is null");
  CHECK_ERROR(rekur_model_output_shape(model, NULL, 1, 0, &y), "rekur_model_output_shape: inputs is null");
  CHECK_ERROR(rekur_model_output_shape(model, &x, 2, 0, &y), "rekur_model_output_shape: input_count is expected to be 1, got 2");
  CHECK_ERROR(rekur_model_output_shape(model, &x, 1, 1, &y), "rekur_model_output_shape: index must be less than 1, got 1");
  CHECK_ERROR(rekur_model_output_shape(model, &x, 1, 0, NULL), "rekur_model_output_shape: output is null");
  x.rank = 9;
  CHECK_ERROR(rekur_model_output_shape(model, &x, 1, 0, &y), "rekur_model_output_shape: inputs[0].rank must be 0 to 8, got 9");
  free(data);
  rekur_model_free(model);
}

/* x [batch, time, features] → one step's [batch, features]. */
static void take_step(float* out, const float* sequence, int t, int features) {
  int row;
  for (row = 0; row < BATCH; ++row) {
    memcpy(out + row * features, sequence + (row * STEPS + t) * features, (size_t)features * sizeof(float));
  }
}

static int near(const float* a, const float* b, int n) {
  int i;
  for (i = 0; i < n; ++i) {
    if (!(fabsf(a[i] - b[i]) <= 1e-6f)) return 0;
  }
  return 1;
}

static void test_stream(void) {
  rekur_model* model = load("one.safetensors");
  rekur_stream* stream = NULL;
  rekur_tensor_info info;
  float* data = read_file("one.input0", NULL);
  float* expected = read_file("one.output0", NULL);
  float x[BATCH * 3], y[BATCH * 2], wanted[BATCH * 2], state[2 * BATCH * 3];
  float all[STEPS * BATCH * 3], all_y[STEPS * BATCH * 2], all_wanted[STEPS * BATCH * 2];
  int turn, t;
  CHECK(rekur_stream_create(model, BATCH, &stream) == REKUR_OK);
  rekur_model_free(model); /* the stream goes on */
  CHECK(rekur_stream_input_count(stream) == 1 && rekur_stream_output_count(stream) == 1);
  CHECK(rekur_stream_input(stream, 0, &info) == REKUR_OK);
  CHECK(strcmp(info.name, "x") == 0 && info.rank == 2 && info.dims[0] == BATCH && info.dims[1] == 3);
  CHECK(rekur_stream_output(stream, 0, &info) == REKUR_OK);
  CHECK(strcmp(info.name, "y") == 0 && info.rank == 2 && info.dims[0] == BATCH && info.dims[1] == 2);
  CHECK(rekur_stream_state_count(stream) == 2);
  CHECK(rekur_stream_state(stream, 1, &info) == REKUR_OK);
  CHECK(strcmp(info.name, "lstm/c") == 0 && info.rank == 2 && info.dims[0] == BATCH && info.dims[1] == 3);
  CHECK(rekur_stream_state_size(stream) == sizeof state / sizeof *state);
  for (turn = 0; turn < 2; ++turn) {
    for (t = 0; t < STEPS; ++t) {
      take_step(x, data, t, 3);
      take_step(wanted, expected, t, 2);
      CHECK(rekur_stream_step(stream, x, y) == REKUR_OK);
      CHECK(near(y, wanted, BATCH * 2));
    }
    CHECK(rekur_stream_reset(stream) == REKUR_OK);
  }
  /* All of them at once. */
  for (t = 0; t < STEPS; ++t) {
    take_step(all + t * BATCH * 3, data, t, 3);
    take_step(all_wanted + t * BATCH * 2, expected, t, 2);
  }
  CHECK(rekur_stream_process(stream, all, all_y, 2) == REKUR_OK);
  CHECK(rekur_stream_process(stream, all + 2 * BATCH * 3, all_y + 2 * BATCH * 2, STEPS - 2) == REKUR_OK);
  CHECK(near(all_y, all_wanted, STEPS * BATCH * 2));
  CHECK(rekur_stream_process(stream, all, all_y, 0) == REKUR_OK);
  CHECK_ERROR(rekur_stream_process(stream, all, all_y, -1), "rekur_stream_process: steps must not be negative");
  CHECK_ERROR(rekur_stream_process(stream, NULL, all_y, 1), "rekur_stream_process: x is null");
  CHECK_ERROR(rekur_stream_process(stream, all, NULL, 1), "rekur_stream_process: y is null");
  CHECK_ERROR(rekur_stream_process(NULL, all, all_y, 1), "rekur_stream_process: stream is null");
  CHECK(rekur_stream_reset(stream) == REKUR_OK);
  /* A row forgets by itself; states can be taken out and put back. */
  for (t = 0; t < STEPS; ++t) {
    take_step(x, data, t, 3);
    take_step(wanted, expected, t, 2);
    CHECK(rekur_stream_step(stream, x, y) == REKUR_OK);
    if (t < 3) continue;
    CHECK(rekur_stream_state_get(stream, state, sizeof state / sizeof *state) == REKUR_OK);
    CHECK(rekur_stream_reset(stream) == REKUR_OK);
    CHECK(rekur_stream_state_set(stream, state, sizeof state / sizeof *state) == REKUR_OK);
    CHECK(near(y, wanted, BATCH * 2));
  }
  CHECK(rekur_stream_reset_row(stream, 1) == REKUR_OK);
  take_step(x, data, 0, 3);
  take_step(wanted, expected, 0, 2);
  CHECK(rekur_stream_step(stream, x, y) == REKUR_OK);
  CHECK(near(y + 2, wanted + 2, 2) && !near(y, wanted, 2));
  free(expected);
  free(data);
  rekur_stream_free(stream);
  rekur_stream_free(NULL);
}

static void test_several_streams(void) {
  rekur_model* model = load("several.safetensors");
  rekur_stream* stream = NULL;
  int32_t* ids = read_file("several.input0", NULL);
  float* side = read_file("several.input1", NULL);
  float* expected = read_file("several.output0", NULL);
  int32_t id[BATCH];
  float s[BATCH * 2], y[BATCH * 4], h[BATCH * 3], wanted[BATCH * 4];
  int32_t all_id[4 * BATCH];
  float all_s[4 * BATCH * 2], all_y[4 * BATCH * 4], all_h[4 * BATCH * 3], all_wanted[4 * BATCH * 4];
  const void* x[2];
  float* out[2];
  int t, row;
  x[0] = id;
  x[1] = s;
  out[0] = y;
  out[1] = h;
  CHECK(rekur_stream_create(model, BATCH, &stream) == REKUR_OK);
  for (t = 0; t < 4; ++t) { /* as far as the shorter row goes */
    for (row = 0; row < BATCH; ++row) id[row] = ids[row * STEPS + t];
    take_step(s, side, t, 2);
    take_step(wanted, expected, t, 4);
    CHECK(rekur_stream_step_many(stream, x, 2, out, 2) == REKUR_OK);
    CHECK(near(y, wanted, BATCH * 4));
  }
  CHECK(rekur_stream_reset(stream) == REKUR_OK);
  for (t = 0; t < 4; ++t) {
    for (row = 0; row < BATCH; ++row) all_id[t * BATCH + row] = ids[row * STEPS + t];
    take_step(all_s + t * BATCH * 2, side, t, 2);
    take_step(all_wanted + t * BATCH * 4, expected, t, 4);
  }
  x[0] = all_id;
  x[1] = all_s;
  out[0] = all_y;
  out[1] = all_h;
  CHECK(rekur_stream_process_many(stream, x, 2, out, 2, 4) == REKUR_OK);
  CHECK(near(all_y, all_wanted, 4 * BATCH * 4));
  CHECK_ERROR(rekur_stream_process_many(stream, x, 1, out, 2, 4), "rekur_stream_process_many: x_count is expected to be 2, got 1");
  CHECK_ERROR(rekur_stream_process_many(stream, x, 2, out, 2, -4), "rekur_stream_process_many: steps must not be negative");
  x[0] = id;
  x[1] = s;
  out[0] = y;
  out[1] = h;
  CHECK_ERROR(rekur_stream_step(stream, s, y), "rekur_stream_step: stream is not one of one input of floats and one output");
  CHECK_ERROR(rekur_stream_process(stream, s, y, 1),
              "rekur_stream_process: stream is not one of one input of floats and one output: rekur_stream_process_many serves any");
  CHECK_ERROR(rekur_stream_step_many(NULL, x, 2, out, 2), "rekur_stream_step_many: stream is null");
  CHECK_ERROR(rekur_stream_step_many(stream, NULL, 2, out, 2), "rekur_stream_step_many: x is null");
  CHECK_ERROR(rekur_stream_step_many(stream, x, 1, out, 2), "rekur_stream_step_many: x_count is expected to be 2, got 1");
  CHECK_ERROR(rekur_stream_step_many(stream, x, 2, NULL, 2), "rekur_stream_step_many: y is null");
  CHECK_ERROR(rekur_stream_step_many(stream, x, 2, out, 3), "rekur_stream_step_many: y_count is expected to be 2, got 3");
  x[1] = NULL;
  CHECK_ERROR(rekur_stream_step_many(stream, x, 2, out, 2), "rekur_stream_step_many: x holds a null pointer");
  x[1] = s;
  out[0] = NULL;
  CHECK_ERROR(rekur_stream_step_many(stream, x, 2, out, 2), "rekur_stream_step_many: y holds a null pointer");
  free(ids);
  free(side);
  free(expected);
  rekur_stream_free(stream);
  rekur_model_free(model);
}

static void test_wrong_streams(void) {
  rekur_model *model = load("one.safetensors"), *backwards = load("backwards.safetensors");
  rekur_stream *stream = NULL, *other = (rekur_stream*)&failures; /* must be set to null */
  rekur_tensor_info info;
  float x[3] = {0}, y[2], state[6];
  CHECK_ERROR(rekur_stream_create(backwards, 1, &other), "'both'");
  CHECK(other == NULL);
  CHECK_ERROR(rekur_stream_create(NULL, 1, &other), "rekur_stream_create: model is null");
  CHECK_ERROR(rekur_stream_create_at(NULL, 1, 0, &other), "rekur_stream_create_at: model is null");
  CHECK_ERROR(rekur_stream_create_at(model, 1, -1, &other), "stream: expected a sample rate of 0, for the model's, or");
  CHECK(other == NULL);
  CHECK(rekur_stream_create_at(model, 1, 96000, &other) == REKUR_OK);
  CHECK(rekur_stream_rate_match(other) == REKUR_RATE_UNKNOWN); /* the model does not say its own */
  rekur_stream_free(other);
  other = NULL;
  CHECK(rekur_stream_rate_match(NULL) == REKUR_RATE_UNKNOWN);
  CHECK(strcmp(rekur_last_error(), "rekur_stream_rate_match: stream is null") == 0);
  CHECK_ERROR(rekur_stream_create(model, 1, NULL), "rekur_stream_create: stream is null");
  CHECK_ERROR(rekur_stream_create(model, 0, &other), "rekur_stream_create: batch must be at least 1, got 0");
  CHECK_ERROR(rekur_stream_create(model, -1, &other), "rekur_stream_create: batch must be at least 1, got -1");
  CHECK(rekur_stream_create(model, INT64_MAX, &other) != REKUR_OK);
  CHECK(strlen(rekur_last_error()) > 0);
  CHECK(other == NULL);
  CHECK(rekur_stream_create(model, 1, &stream) == REKUR_OK);
  CHECK_ERROR(rekur_stream_step(NULL, x, y), "rekur_stream_step: stream is null");
  CHECK_ERROR(rekur_stream_step(stream, NULL, y), "rekur_stream_step: x is null");
  CHECK_ERROR(rekur_stream_step(stream, x, NULL), "rekur_stream_step: y is null");
  CHECK_ERROR(rekur_stream_reset(NULL), "rekur_stream_reset: stream is null");
  CHECK_ERROR(rekur_stream_reset_row(NULL, 0), "rekur_stream_reset_row: stream is null");
  CHECK_ERROR(rekur_stream_reset_row(stream, 1), "rekur_stream_reset_row: row must be from 0 to 0, got 1");
  CHECK_ERROR(rekur_stream_reset_row(stream, -1), "rekur_stream_reset_row: row must be from 0 to 0, got -1");
  CHECK(rekur_stream_state_size(NULL) == 0);
  CHECK(strcmp(rekur_last_error(), "rekur_stream_state_size: stream is null") == 0);
  CHECK_ERROR(rekur_stream_state_get(NULL, state, 6), "rekur_stream_state_get: stream is null");
  CHECK_ERROR(rekur_stream_state_get(stream, NULL, 6), "rekur_stream_state_get: state is null");
  CHECK_ERROR(rekur_stream_state_get(stream, state, 5), "rekur_stream_state_get: size is expected to be 6, got 5");
  CHECK_ERROR(rekur_stream_state_set(NULL, state, 6), "rekur_stream_state_set: stream is null");
  CHECK_ERROR(rekur_stream_state_set(stream, NULL, 6), "rekur_stream_state_set: state is null");
  CHECK_ERROR(rekur_stream_state_set(stream, state, 7), "rekur_stream_state_set: size is expected to be 6, got 7");
  CHECK(rekur_stream_input_count(NULL) == 0);
  CHECK(strcmp(rekur_last_error(), "rekur_stream_input_count: stream is null") == 0);
  CHECK(rekur_stream_output_count(NULL) == 0);
  CHECK(strcmp(rekur_last_error(), "rekur_stream_output_count: stream is null") == 0);
  CHECK(rekur_stream_state_count(NULL) == 0);
  CHECK(strcmp(rekur_last_error(), "rekur_stream_state_count: stream is null") == 0);
  CHECK_ERROR(rekur_stream_input(NULL, 0, &info), "rekur_stream_input: stream is null");
  CHECK_ERROR(rekur_stream_input(stream, 1, &info), "rekur_stream_input: index must be less than 1, got 1");
  CHECK_ERROR(rekur_stream_input(stream, 0, NULL), "rekur_stream_input: info is null");
  CHECK_ERROR(rekur_stream_output(NULL, 0, &info), "rekur_stream_output: stream is null");
  CHECK_ERROR(rekur_stream_output(stream, 1, &info), "rekur_stream_output: index must be less than 1, got 1");
  CHECK_ERROR(rekur_stream_state(NULL, 0, &info), "rekur_stream_state: stream is null");
  CHECK_ERROR(rekur_stream_state(stream, 2, &info), "rekur_stream_state: index must be less than 2, got 2");
  rekur_stream_free(stream);
  rekur_model_free(backwards);
  rekur_model_free(model);
}

static void test_machine(void) {
  const char* isa = rekur_isa();
  int32_t threads = rekur_num_threads();
  size_t n = 0;
  int found = 0;
  CHECK(strcmp(rekur_version(), REKUR_VERSION) == 0);
  CHECK(threads >= 1);
  CHECK(rekur_set_num_threads(1) == REKUR_OK && rekur_num_threads() == 1);
  CHECK_ERROR(rekur_set_num_threads(0), "from 1 to 1024");
  CHECK_ERROR(rekur_set_num_threads(1025), "from 1 to 1024");
  CHECK(rekur_num_threads() == 1);
  CHECK(rekur_set_num_threads(threads) == REKUR_OK);
  CHECK(isa != NULL);
  for (; rekur_available_isa(n) != NULL; ++n) found = found || strcmp(rekur_available_isa(n), isa) == 0;
  CHECK(n >= 1 && found);
  CHECK(rekur_available_isa((size_t)-1) == NULL);
  CHECK(rekur_set_isa(rekur_available_isa(0)) == REKUR_OK);
  CHECK(strcmp(rekur_isa(), rekur_available_isa(0)) == 0);
  CHECK_ERROR(rekur_set_isa("mmx"), "unknown instruction set 'mmx'");
  CHECK_ERROR(rekur_set_isa(NULL), "rekur_set_isa: name is null");
  CHECK(rekur_set_isa(isa) == REKUR_OK);
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  folder = argv[1];
  test_loading();
  test_queries();
  test_prediction();
  test_several();
  test_wrong_tensors();
  test_stream();
  test_several_streams();
  test_wrong_streams();
  test_machine();
  if (failures == 0) puts("all well");
  return failures == 0 ? 0 : 1;
}
