/* The C interface, in C99: load a model, forecast over a sequence and one reading at a time.
 *
 *   c_forecast models/forecaster.safetensors models/weather.csv
 *
 * Every function returns a code; rekur_last_error() has the message. Arrays are always the caller's. */
#include <math.h>
#include <rekur/rekur.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOURS 72

/* What has to be given back at the end, however it comes. Freeing null does nothing. */
typedef struct {
  rekur_model* model;
  rekur_stream* stream;
  float* sequence; /* [HOURS, horizon] */
  float* now;      /* [horizon] */
} program;

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, rekur_last_error());
  return 1;
}

/* The last HOURS readings of a file of lines "time,temperature"; 0 if there are fewer. */
static int read_temperatures(const char* path, float readings[HOURS]) {
  char line[256];
  int count = 0;
  FILE* file = fopen(path, "r");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL) {
    const char* comma = strrchr(line, ',');
    char* end = NULL;
    const float value = comma == NULL ? 0 : strtof(comma + 1, &end);
    if (end == NULL || end == comma + 1) continue; /* the header */
    if (count == HOURS) memmove(readings, readings + 1, (HOURS - 1) * sizeof *readings);
    count += count < HOURS;
    readings[count - 1] = value;
  }
  fclose(file);
  return count == HOURS;
}

static int run(program* p, const char* path, float readings[HOURS]) {
  rekur_tensor_info input, output;
  rekur_tensor x = {0}, y = {0};
  size_t horizon;
  int t;

  if (rekur_model_load(path, &p->model) != REKUR_OK) return failed(path);
  if (rekur_model_input(p->model, 0, &input) != REKUR_OK || rekur_model_output(p->model, 0, &output) != REKUR_OK)
    return failed(path);
  printf("%s on %s: %s -> %s\n", path, rekur_isa(), input.name, output.name);

  /* The whole sequence at once: batch 1, HOURS steps, 1 feature. The library says what comes out of that. */
  x.data = readings;
  x.count = HOURS;
  x.rank = 3;
  x.dims[0] = 1;
  x.dims[1] = HOURS;
  x.dims[2] = 1;
  if (rekur_model_output_shape(p->model, &x, 1, 0, &y) != REKUR_OK) return failed("output shape");
  horizon = (size_t)y.dims[2];
  p->sequence = malloc((size_t)y.count * sizeof(float));
  p->now = malloc(horizon * sizeof(float));
  if (p->sequence == NULL || p->now == NULL) return fputs("out of memory\n", stderr), 1;
  y.data = p->sequence;
  if (rekur_model_predict(p->model, &x, 1, &y, 1) != REKUR_OK) return failed("predict");

  /* The same as the readings come in. The stream holds the weights itself, so the model may go. */
  if (rekur_stream_create(p->model, 1, &p->stream) != REKUR_OK) return failed("stream");
  rekur_model_free(p->model);
  p->model = NULL;
  for (t = 0; t < HOURS; ++t) {
    size_t k;
    if (rekur_stream_step(p->stream, &readings[t], p->now) != REKUR_OK) return failed("step");
    for (k = 0; k < horizon; ++k) {
      if (!(fabsf(p->now[k] - p->sequence[(size_t)t * horizon + k]) <= 1e-5F)) {
        return fprintf(stderr, "hour %d: the stream differs from the sequence\n", t), 1;
      }
    }
  }
  printf("now %.1f, then", (double)readings[HOURS - 1]);
  for (t = 0; t < (int)horizon; ++t) printf(" %.1f", (double)p->now[t]);
  printf("\n");
  return 0;
}

int main(int argc, char** argv) {
  program p = {0};
  float readings[HOURS];
  int code;
  if (argc != 3) return fprintf(stderr, "usage: c_forecast MODEL READINGS.csv\n"), 2;
  if (!read_temperatures(argv[2], readings)) return fprintf(stderr, "%s: no %d readings there\n", argv[2], HOURS), 1;
  code = run(&p, argv[1], readings);
  free(p.now);
  free(p.sequence);
  rekur_stream_free(p.stream);
  rekur_model_free(p.model);
  return code;
}
