#include "runtime/scratch.hpp"
#include "runtime/locks.hpp"

namespace rekur {
namespace {

REKUR_THREAD_LOCAL Scratch thread_scratch;

}  // namespace

ScratchUse::ScratchUse() : scratch_(thread_scratch) {}

}  // namespace rekur
