// The ports, in the order of amp.ttl.in: what lv2.cpp is connected to and what host.cpp connects.
#pragma once

#include "amp.hpp"

namespace amp::lv2 {

enum Port : unsigned {
  control,  // messages from the host: which model
  notify,   // and to it
  first_parameter,
  latency = first_parameter + parameter_count,
  first_audio,  // the inputs, then the outputs
};

constexpr const char* kUri[] = {AMP_URI ":mono", AMP_URI ":stereo"};  // of 1 and of 2 channels
constexpr const char* kModelUri = AMP_URI ":model";                   // the property that is the path

}  // namespace amp::lv2
