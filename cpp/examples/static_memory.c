/* A robot's way: the model in flash, all memory in one static array, nothing from malloc.
 *
 *   static_memory MODEL
 *
 * MODEL stands for the flash: where there is one, the bytes are a constant array (`rekur export-cpp`, or a linker's section), aligned
 * to 64 bytes. A file made by `rekur pack` is used where it lies, so that the array below holds a stream's states and bookkeeping,
 * and no weight. Beside this file the program has static_memory_operators.cpp, by which the small things come from the array, too. */
#include <math.h>
#include <stdio.h>

#include "rekur/rekur.h"

#if defined(__GNUC__)
#define ALIGNED __attribute__((aligned(64)))
#else
#define ALIGNED
#endif

#define FLASH_SIZE (2 * 1024 * 1024)
#define MODEL_SIZE (192 * 1024)
#define STREAM_SIZE (192 * 1024)
#define STEPS 480

static unsigned char flash[FLASH_SIZE] ALIGNED;
static unsigned char model_memory[MODEL_SIZE] ALIGNED, stream_memory[STREAM_SIZE] ALIGNED;

/* A test defines this, to end the program at whatever call of malloc comes after. */
#ifdef NO_MORE_MALLOC
void no_more_malloc(void);
#endif

static int failed(const char* what) { return fprintf(stderr, "static_memory: %s: %s\n", what, rekur_last_error()), 1; }

static size_t read_flash(const char* path) {
  size_t size = 0;
  FILE* const file = fopen(path, "rb");
  if (file == NULL) return 0;
  size = fread(flash, 1, sizeof flash, file);
  fclose(file);
  return size < sizeof flash ? size : 0; /* a file as large as that may have more */
}

static int run(size_t size) {
  rekur_model* model = NULL;
  rekur_stream* stream = NULL;
  float sum = 0;
  int round, t;
  for (round = 0; round < 2; ++round) { /* what was freed is there again */
    sum = 0;
    if (rekur_model_map_in(flash, size, model_memory, sizeof model_memory, &model) != REKUR_OK) return failed("model");
    if (rekur_stream_create_in(model, 1, stream_memory, sizeof stream_memory, &stream) != REKUR_OK) return failed("stream");
    for (t = 0; t < STEPS; ++t) {
      const float x = sinf(0.06F * (float)t);
      float y = 0;
      if (rekur_stream_step(stream, &x, &y) != REKUR_OK) return failed("step");
      sum += fabsf(y);
    }
    rekur_stream_free(stream);
    rekur_model_free(model);
  }
  printf("%d steps, mean |y| %.6f\n", STEPS, (double)sum / STEPS);
  return 0;
}

int main(int argc, char** argv) {
  size_t size, for_model = 0, for_stream = 0;
  rekur_model* model = NULL;
  if (argc != 2) return fprintf(stderr, "usage: static_memory MODEL\n"), 2;
  size = read_flash(argv[1]);
  if (size == 0) return fprintf(stderr, "static_memory: %s is not there, or larger than the flash\n", argv[1]), 1;

  /* On a desk, where there is malloc: how large the arrays have to be. */
  if (rekur_model_map_size(flash, size, &for_model) != REKUR_OK || rekur_model_map_memory(flash, size, &model) != REKUR_OK ||
      rekur_stream_memory_size(model, 1, &for_stream) != REKUR_OK) {
    return failed("sizes");
  }
  printf("the model takes %zu bytes, beside %zu of weights in the flash; its stream %zu\n", for_model,
         rekur_model_mapped_bytes(model), for_stream);
  rekur_model_free(model);
  fflush(stdout);

#ifdef NO_MORE_MALLOC
  no_more_malloc();
#endif
  return run(size);
}
