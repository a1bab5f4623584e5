// The formats that foreign::load reads, a file each. Each takes a parsed file that it recognises, and throws Error with what is
// wrong with it; messages begin with where in the file it stands.
#pragma once

#include "io/json.hpp"
#include "rekur/model.hpp"

namespace rekur::foreign {

bool is_nam(const json::Object& file);
Model nam(const json::Object& file, bool settled);

bool is_guitarml(const json::Object& file);
Model guitarml(const json::Object& file);

bool is_rtneural(const json::Object& file);
Model rtneural(const json::Object& file);

}  // namespace rekur::foreign
