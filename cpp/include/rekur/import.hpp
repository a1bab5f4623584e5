// Models of other programs' files, of effects on audio above all, read where the model runs:
//
//   rekur::Model amp = rekur::foreign::load("amp.nam");
//   rekur::Stream stream(amp);
//
// What a file is, its contents say, not its name: Neural Amp Modeler's (LSTM, WaveNet, ConvNet, Linear), RTNeural's and AIDA-X's,
// GuitarML's (Proteus, NeuralPi), and rekur's own. Knobs are further features of the input; gains and the input added to the output
// are layers; states that a file begins with are learned initial states. Layers, names and numbers are those that
// `rekur.convert.load` gives in Python (docs/convert.md has the table). What a file says and no layer here can do is refused by
// name.
//
// Nothing of a file is run. What is no such file, or a broken one, throws IoError; memory goes by the size of the file.
//
// Where a program is compiled without exceptions rekur/status.hpp has `try_import`, and rekur.h `rekur_model_import`. Without
// REKUR_IMPORT the library has none of this.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "rekur/config.h"
#include "rekur/model.hpp"

#if !REKUR_IMPORT
#error "rekur was built with REKUR_IMPORT=OFF: it reads its own files alone (rekur/model.hpp)"
#endif

namespace rekur::foreign {

struct Options {
  // Whether a network without recurrence of Neural Amp Modeler begins as after long silence, as its engine has it warmed up, or
  // with zeros before the first step.
  bool settled = true;
};

#if REKUR_THROWS
// Throws IoError for a file that cannot be read, is none of these, or asks for what the library does not have.
REKUR_API Model load(const std::string& path, const Options& options = {});
// The same from memory. `source` names it in messages.
REKUR_API Model load(std::span<const std::byte> file, const std::string& source = "model in memory", const Options& options = {});
#endif

}  // namespace rekur::foreign
