// What a processor of 64-bit ARM has beyond the least: as the system says, or as all have that the compiler was told to build for.
#pragma once

namespace rekur::isa {

#if defined(__aarch64__)

struct Aarch64 {
  bool dot_products;  // sdot
  bool int8_tiles;    // smmla
  bool bf16;          // bfmlalb, bfmlalt, bfmmla
};

const Aarch64& aarch64();

#endif

}  // namespace rekur::isa
