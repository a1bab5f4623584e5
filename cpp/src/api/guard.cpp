#include "api/guard.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

namespace rekur {
namespace {

// The most bytes, at most `most`, after which `text` can be cut without leaving a piece of a character of UTF-8.
std::size_t whole_characters(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text.size();
  std::size_t end = most;
  // Back to the beginning of the character that byte `most` belongs to. Four bytes are the longest; more are no UTF-8.
  while (most - end < 4 && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80 ? most : end;
}

}  // namespace

Status::Status(Code failure, std::string_view text) noexcept : code(failure) {
  const std::size_t size = whole_characters(text, kMessageSize - 1);
  std::copy_n(text.data(), size, message);
}

void detail::no_value(const Status& status) noexcept {
  std::fprintf(stderr, "rekur: a Result was asked for a value it does not have: %s\n", status.message);
  std::abort();
}

namespace api {

Status caught() noexcept {
  try {
    throw;
  } catch (const OutOfMemory& error) {
    return {Code::out_of_memory, error.what()};
  } catch (const IoError& error) {
    return {Code::io, error.what()};
  } catch (const Error& error) {
    return {Code::invalid_argument, error.what()};
  } catch (const std::bad_alloc&) {
    return {Code::out_of_memory, "not enough memory"};
  } catch (const std::length_error&) {  // a container that no memory could hold
    return {Code::out_of_memory, "not enough memory"};
  } catch (const std::exception& error) {
    return {Code::internal, error.what()};
  } catch (...) {
    return {Code::internal, "an exception of unknown type"};
  }
}

std::string to_string(Text text, const char* what) {
  if (text.is_null()) throw_error("% is null", {what});
  return std::string(text.view());
}

}  // namespace api
}  // namespace rekur
