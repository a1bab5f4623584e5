/* What a target computes, as numbers that can be compared with another's: each model's outputs and states over a stream, over blocks
 * of steps and over whole sequences, as a hash of their bits. C99 and rekur.h alone, models in memory: so it runs where there is no
 * file system and no operating system. `.ci/targets` builds it with models.c, which it writes, and compares what it prints.
 *
 *   ISA                       the instruction set, first of all
 *   NAME WHAT HASH            a line for each kind of run
 *   NAME left out: MESSAGE    a model that needs what this build does not have
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models.h"
#include "rekur/rekur.h"

#define BATCH 3
#define STEPS 40
#define SECTION 11 /* steps of a block: no divisor of STEPS */

static uint32_t noise;

/* -1 to 1, the same on every machine: 24 bits, which a float holds. */
static float next_number(void) {
  noise = noise * 1664525u + 1013904223u;
  return (float)(int32_t)(noise >> 8) / 8388608.0f - 1.0f;
}

static uint64_t hash;

/* FNV-1a over the bits, lowest byte first. */
static void take(const float* numbers, size_t count) {
  size_t i;
  for (i = 0; i < count; ++i) {
    uint32_t bits;
    int byte;
    memcpy(&bits, numbers + i, sizeof bits);
    for (byte = 0; byte < 4; ++byte) hash = (hash ^ (bits >> (8 * byte) & 0xFFu)) * 0x100000001B3u;
  }
}

static void begin(void) {
  hash = 0xCBF29CE484222325u;
  noise = 1;
}

static void print(const char* name, const char* what) {
  printf("%s %s %08lx%08lx\n", name, what, (unsigned long)(hash >> 32), (unsigned long)(hash & 0xFFFFFFFFu));
}

static void stop(const char* name) {
  printf("%s failed: %s\n", name, rekur_last_error());
  exit(1);
}

static float* numbers(size_t count) {
  float* memory = calloc(count, sizeof *memory);
  if (memory == NULL) {
    printf("no memory for %lu numbers\n", (unsigned long)count);
    exit(1);
  }
  return memory;
}

static void stream_through(const char* name, const rekur_model* model, int64_t batch, int64_t section) {
  rekur_stream* stream = NULL;
  rekur_tensor_info in, out;
  size_t x_size, y_size, states, i;
  float *x, *y, *state;
  char what[32];
  int64_t t;
  if (rekur_stream_create(model, batch, &stream) != REKUR_OK || rekur_stream_input(stream, 0, &in) != REKUR_OK ||
      rekur_stream_output(stream, 0, &out) != REKUR_OK)
    stop(name);
  x_size = (size_t)(batch * in.dims[1]), y_size = (size_t)(batch * out.dims[1]);
  states = rekur_stream_state_size(stream);
  x = numbers(x_size * (size_t)section), y = numbers(y_size * (size_t)section), state = numbers(states + 1);
  begin();
  for (t = 0; t < STEPS; t += section) {
    const int64_t steps = STEPS - t < section ? STEPS - t : section;
    for (i = 0; i < x_size * (size_t)steps; ++i) x[i] = next_number();
    if ((steps == 1 ? rekur_stream_step(stream, x, y) : rekur_stream_process(stream, x, y, steps)) != REKUR_OK) stop(name);
    take(y, y_size * (size_t)steps);
  }
  if (states > 0 && rekur_stream_state_get(stream, state, states) != REKUR_OK) stop(name);
  take(state, states);
  sprintf(what, section > 1 ? "blocks-of-%d" : "steps-of-%d", (int)batch);
  print(name, what);
  free(x), free(y), free(state);
  rekur_stream_free(stream);
}

/* Sequences of several lengths. */
static void run_whole(const char* name, const rekur_model* model) {
  static const int32_t lengths[BATCH] = {STEPS, 17, 3};
  rekur_tensor x = {0}, y = {0};
  rekur_tensor_info in;
  int64_t i;
  if (rekur_model_input(model, 0, &in) != REKUR_OK) stop(name);
  x.rank = 3, x.dims[0] = BATCH, x.dims[1] = STEPS, x.dims[2] = in.dims[2];
  x.count = BATCH * STEPS * in.dims[2];
  x.lengths = lengths, x.lengths_count = BATCH;
  if (rekur_model_output_shape(model, &x, 1, 0, &y) != REKUR_OK) stop(name);
  x.data = numbers((size_t)x.count), y.data = numbers((size_t)y.count);
  begin();
  for (i = 0; i < x.count; ++i) ((float*)x.data)[i] = next_number();
  if (rekur_model_predict(model, &x, 1, &y, 1) != REKUR_OK) stop(name);
  take(y.data, (size_t)y.count);
  print(name, "sequences");
  free(x.data), free(y.data);
}

int main(void) {
  const struct target_model* m;
  if (rekur_isa() == NULL) stop("instruction set");
  printf("%s\n", rekur_isa());
  for (m = target_models; m->name != NULL; ++m) {
    rekur_model* model = NULL;
    const rekur_code code = rekur_model_load_memory(m->bytes, m->size, &model);
    if (code != REKUR_OK && strstr(rekur_last_error(), "built without") != NULL) {
      printf("%s left out: %s\n", m->name, rekur_last_error());
      continue;
    }
    if (code != REKUR_OK) stop(m->name);
    stream_through(m->name, model, 1, 1);
    stream_through(m->name, model, BATCH, 1);
    stream_through(m->name, model, 1, SECTION);
    run_whole(m->name, model);
    rekur_model_free(model);
  }
  return 0;
}
