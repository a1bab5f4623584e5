/* A consumer in C99: the header alone must compile, and the program link without a line of C++ in it. */
#include <stdio.h>
#include <string.h>

#include <rekur/rekur.h>

#include "model_file.h"

int main(void) {
  unsigned char bytes[MODEL_FILE_SIZE];
  const size_t size = write_model_file(bytes);
  rekur_model* model = NULL;
  rekur_code code = rekur_model_load_memory(bytes, 100, &model);
  if (code != REKUR_IO || !strstr(rekur_last_error(), "model in memory")) return fprintf(stderr, "c: no error: %s\n", rekur_last_error()), 1;
  code = rekur_model_load_memory(bytes, size, &model);
  if (code != REKUR_OK) return fprintf(stderr, "c: %s\n", rekur_last_error()), 1;
  rekur_model_free(model);
  if (strcmp(rekur_version(), REKUR_VERSION) != 0) return fprintf(stderr, "c: headers of one version, library of another\n"), 1;
  printf("rekur %s\n", rekur_version());
  return 0;
}
