/* What driver.cpp does, through the C interface: the same cases and results, without training. See there for their form. */
#include <rekur/rekur.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREDICT, STREAM, MOST = 32 };

static FILE* cases;
static FILE* results;

static void stop(const char* why) {
  fprintf(stderr, "driver: %s\n", why);
  exit(3);
}

static void* take(size_t size) {
  void* memory = malloc(size + 1); /* one more, so that nothing is something, and text ends in a zero */
  if (memory == NULL) stop("out of memory");
  memset(memory, 0, size + 1);
  return memory;
}

static void* read_bytes(size_t size) {
  void* memory = take(size);
  if (size != 0 && fread(memory, 1, size, cases) != size) stop("the cases end too early");
  return memory;
}

static int64_t read_number(void) {
  int64_t* memory = read_bytes(sizeof *memory);
  const int64_t value = *memory;
  free(memory);
  return value;
}

static void read_array(rekur_tensor* x) {
  int32_t k;
  memset(x, 0, sizeof *x);
  x->dtype = (int32_t)read_number();
  x->rank = (int32_t)read_number();
  x->count = 1;
  for (k = 0; k < x->rank; ++k) x->count *= x->dims[k] = read_number();
  x->lengths_count = read_number();
  x->data = read_bytes((size_t)x->count * 4);
  x->lengths = x->lengths_count == 0 ? NULL : read_bytes((size_t)x->lengths_count * 4);
}

static void free_array(rekur_tensor* x) {
  free(x->data);
  free((void*)(size_t)x->lengths);
}

static void write_bytes(const void* data, size_t size) {
  if (size != 0 && fwrite(data, 1, size, results) != size) stop("cannot write");
}

static void write_number(int64_t value) { write_bytes(&value, sizeof value); }

static void write_array(const rekur_tensor* y) {
  int64_t count = 1;
  int32_t k;
  write_number(y->dtype);
  write_number(y->rank);
  for (k = 0; k < y->rank; ++k) count *= y->dims[k];
  write_bytes(y->dims, (size_t)y->rank * sizeof y->dims[0]);
  write_number(0);
  write_bytes(y->data, (size_t)count * sizeof(float));
}

static rekur_code predict(const rekur_model* model, const rekur_tensor* x, size_t inputs, rekur_tensor* y, size_t* outputs) {
  size_t k;
  *outputs = rekur_model_output_count(model);
  if (*outputs > MOST) stop("more outputs than this driver can take");
  for (k = 0; k < *outputs; ++k) {
    const rekur_code code = rekur_model_output_shape(model, x, inputs, k, &y[k]);
    if (code != REKUR_OK) return code;
    y[k].data = take((size_t)y[k].count * sizeof(float));
  }
  return rekur_model_predict(model, x, inputs, y, *outputs);
}

/* One step of input i as the stream wants it: rows of what is [batch, T, size]. */
static void cut(const rekur_tensor* x, int timed, int64_t t, char* out) {
  const int64_t all = x->count / x->dims[0], size = timed ? all / x->dims[1] : all;
  int64_t row;
  for (row = 0; row < x->dims[0]; ++row) {
    memcpy(out + row * size * 4, (const char*)x->data + (row * all + (timed ? t * size : 0)) * 4, (size_t)size * 4);
  }
}

static rekur_code stream(const rekur_model* model, const rekur_tensor* x, size_t inputs, const rekur_tensor* state, rekur_tensor* y,
                         size_t* outputs) {
  rekur_stream* s = NULL;
  const void* step_x[MOST];
  float* step_y[MOST];
  size_t from[MOST], i, k, given;
  int timed[MOST];
  int64_t t, steps = 0;
  rekur_tensor_info info, other;
  rekur_code code = rekur_stream_create(model, x[0].dims[0], &s);
  if (code != REKUR_OK) return code;
  given = rekur_stream_input_count(s);
  *outputs = rekur_stream_output_count(s);
  if (given > MOST || *outputs > MOST) stop("more inputs or outputs than this driver can take");
  for (k = 0; k < given; ++k) {
    if (rekur_stream_input(s, k, &info) != REKUR_OK) stop(rekur_last_error());
    for (i = 0; i < inputs; ++i) {
      if (rekur_model_input(model, i, &other) != REKUR_OK) stop(rekur_last_error());
      if (strcmp(info.name, other.name) == 0) break;
    }
    if (i == inputs) stop("the stream has inputs that the model has not");
    from[k] = i;
    timed[k] = x[i].rank == info.rank + 1;
    if (timed[k]) steps = x[i].dims[1];
    step_x[k] = take((size_t)x[i].count * 4);
  }
  for (k = 0; k < *outputs; ++k) {
    int32_t d;
    if (rekur_stream_output(s, k, &info) != REKUR_OK) stop(rekur_last_error());
    y[k].rank = info.rank + 1;
    y[k].count = y[k].dims[0] = steps;
    for (d = 0; d < info.rank; ++d) y[k].count *= y[k].dims[d + 1] = info.dims[d];
    y[k].data = take((size_t)y[k].count * sizeof(float));
  }
  code = rekur_stream_state_set(s, state->data, (size_t)state->count);
  for (t = 0; t < steps && code == REKUR_OK; ++t) {
    for (k = 0; k < given; ++k) cut(&x[from[k]], timed[k], t, (char*)(size_t)step_x[k]);
    for (k = 0; k < *outputs; ++k) step_y[k] = (float*)y[k].data + t * (y[k].count / steps);
    code = given == 1 && *outputs == 1 && x[from[0]].dtype == REKUR_FLOAT32
               ? rekur_stream_step(s, step_x[0], step_y[0])
               : rekur_stream_step_many(s, step_x, given, step_y, *outputs);
  }
  for (k = 0; k < given; ++k) free((void*)(size_t)step_x[k]);
  rekur_stream_free(s);
  return code;
}

int main(int argc, char** argv) {
  int next;
  if (argc != 3 || (cases = fopen(argv[1], "rb")) == NULL || (results = fopen(argv[2], "wb")) == NULL) return 2;
  while ((next = fgetc(cases)) != EOF) {
    rekur_tensor x[MOST], y[MOST] = {{0}}, state = {0};
    rekur_model* model = NULL;
    rekur_code code;
    int64_t mode;
    char* path;
    size_t inputs, outputs = 0, k;
    ungetc(next, cases);
    mode = read_number();
    path = read_bytes((size_t)read_number());
    inputs = (size_t)read_number();
    if (inputs > MOST) stop("more inputs than this driver can take");
    for (k = 0; k < inputs; ++k) read_array(&x[k]);
    if (mode == STREAM) read_array(&state);
    code = rekur_model_load(path, &model);
    if (code == REKUR_OK) {
      code = mode == STREAM ? stream(model, x, inputs, &state, y, &outputs) : predict(model, x, inputs, y, &outputs);
    }
    if (code == REKUR_OK) {
      write_number((int64_t)outputs);
      for (k = 0; k < outputs; ++k) write_array(&y[k]);
    } else {
      write_number(-1);
      write_number((int64_t)strlen(rekur_last_error()));
      write_bytes(rekur_last_error(), strlen(rekur_last_error()));
    }
    for (k = 0; k < inputs; ++k) free_array(&x[k]);
    for (k = 0; k < MOST; ++k) free(y[k].data);
    free_array(&state);
    rekur_model_free(model);
    free(path);
  }
  return fclose(results) == 0 ? 0 : 1;
}
