/* A program in C: a model that is not one is refused with a message. */
#include <stdio.h>
#include <string.h>

#include <rekur/rekur.h>

int main(void) {
  rekur_model* model = NULL;
  const rekur_code code = rekur_model_load_memory("no model", 8, &model);
  if (code != REKUR_IO || model != NULL || strcmp(rekur_last_error(), "") == 0) return fprintf(stderr, "c: no error\n"), 1;
  if (strcmp(rekur_version(), REKUR_VERSION) != 0) return fprintf(stderr, "c: headers of one version, library of another\n"), 1;
  printf("rekur %s in C: %s\n", rekur_version(), rekur_last_error());
  return 0;
}
