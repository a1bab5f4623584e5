/* The models that probe.c runs, as they stand in their files. */
#ifndef REKUR_TARGET_MODELS_H
#define REKUR_TARGET_MODELS_H

#include <stddef.h>

struct target_model {
  const char* name;
  const unsigned char* bytes;
  size_t size;
};

extern const struct target_model target_models[]; /* the last one has no name */

#endif
