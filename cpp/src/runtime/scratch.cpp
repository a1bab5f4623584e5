#include "runtime/scratch.hpp"

namespace rekur {
namespace {

thread_local Scratch thread_scratch;

}  // namespace

ScratchUse::ScratchUse() : scratch_(thread_scratch) {}

}  // namespace rekur
