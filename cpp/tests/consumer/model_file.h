/* A model's file in memory, for C and C++: a simple RNN of one unit without activation, h' = 2 x + h / 2 + 1. */
#ifndef CONSUMER_MODEL_FILE_H
#define CONSUMER_MODEL_FILE_H

#include <stddef.h>
#include <string.h>

#define MODEL_FILE_SIZE 1024 /* at least */

static size_t write_model_file(unsigned char* to) {
  static const char header[] =
      "{\"__metadata__\":{\"rekur\":\"{\\\"format\\\":\\\"rekur\\\",\\\"version\\\":1,\\\"name\\\":\\\"consumer\\\",\\\"layers\\\":["
      "{\\\"type\\\":\\\"Input\\\",\\\"name\\\":\\\"x\\\",\\\"shape\\\":[null,1],\\\"dtype\\\":\\\"float32\\\"},"
      "{\\\"type\\\":\\\"SimpleRNN\\\",\\\"name\\\":\\\"rnn\\\",\\\"inputs\\\":[\\\"x\\\"],\\\"units\\\":1,"
      "\\\"activation\\\":\\\"linear\\\",\\\"return_sequences\\\":true}],"
      "\\\"inputs\\\":[\\\"x\\\"],\\\"outputs\\\":[\\\"rnn\\\"]}\"},"
      "\"rnn/kernel\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
      "\"rnn/recurrent_kernel\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[4,8]},"
      "\"rnn/bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}";
  static const float weights[3] = {2.0f, 0.5f, 1.0f};
  const size_t size = sizeof header - 1;
  memset(to, 0, 8);
  to[0] = (unsigned char)(size & 0xff);
  to[1] = (unsigned char)(size >> 8);
  memcpy(to + 8, header, size);
  memcpy(to + 8 + size, weights, sizeof weights);
  return 8 + size + sizeof weights;
}

#endif
