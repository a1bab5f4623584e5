// What the functions of rekur.h have in common: what a handle is, checks that name the argument, the thread's last error.
#pragma once

#include <string>

#include "api/guard.hpp"
#include "io/text.hpp"
#include "rekur/rekur.h"
#include "runtime/function_ref.hpp"

struct rekur_model {
  rekur::Model model;
};

struct rekur_stream {
  rekur::Stream stream;
  rekur::Index batch;
};

namespace rekur::api {

// Keeps the status for rekur_last_error.
rekur_code fail(const Status& status) noexcept;

// One call of a C function; messages begin with its name.
class Call {
 public:
  explicit Call(const char* function) noexcept : function_(function) {}

  const char* function() const noexcept { return function_; }

  rekur_code run(FunctionRef<void()> action) const noexcept;

  // run's result for what cannot fail otherwise; no exception is thrown on the way.
  rekur_code refuse(const char* argument, const char* fault) const noexcept;
  rekur_code refuse_count(const char* argument, std::size_t expected, std::size_t given) const noexcept;

  template <class T>
  T& expect(T* pointer, const char* argument) const {
    if (pointer == nullptr) wrong("% is null", {argument});
    return *pointer;
  }
  void expect_count(const char* argument, std::size_t expected, std::size_t given) const;
  [[noreturn]] void wrong(const char* format, Parts parts = {}) const;

  // infos[index], for C.
  void describe(const std::vector<TensorInfo>& infos, std::size_t index, rekur_tensor_info* info) const;

 private:
  const char* function_;
};

}  // namespace rekur::api
