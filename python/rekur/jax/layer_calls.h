/* One layer as a function of its weights and inputs, as an extension of another framework calls it without Python. The extension
 * rekur._core has the table; python/rekur/jax/_ffi.cpp, which is compiled on request, is given its address. */
#ifndef REKUR_LAYER_CALLS_H
#define REKUR_LAYER_CALLS_H

#include <stddef.h>
#include <stdint.h>

#define REKUR_LAYER_CALLS_ABI 1u

#ifdef __cplusplus
extern "C" {
#endif

/* Dense float32. */
typedef struct {
  const float* data;
  const int64_t* shape;
  size_t rank;
} rekur_array;

/* A model of one layer whose outputs are its first output and its last states. Inputs of rank 3 have the time axis. */
typedef struct {
  const char* spec;
  size_t spec_size;
  const rekur_array* weights; /* all that the model has, in its order, cut anywhere */
  size_t weight_count;
  const rekur_array* inputs;
  size_t input_count;
  const int32_t* lengths; /* B, or null: all rows are full */
  const uint8_t* resets;  /* B·T, or null: nowhere */
} rekur_layer_call;

/* 0, or 1 and a message that ends with a zero. Arrays have the sizes that the call implies; null gradients of outputs are zeros, and
 * gradients that go to null are not wanted. token: two numbers that name what run keeps for back, once; null: nothing is kept. */
typedef struct {
  uint32_t abi;
  int (*run)(const rekur_layer_call* call, float* const* outputs, uint32_t* token, char* message, size_t message_size);
  int (*back)(const rekur_layer_call* call, const uint32_t* token, const float* const* output_gradients,
              float* const* weight_gradients, float* const* input_gradients, char* message, size_t message_size);
} rekur_layer_calls;

#ifdef __cplusplus
}
#endif
#endif
