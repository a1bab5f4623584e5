// What the functions of rekur.h have in common: what a handle is, checks that name the argument, the thread's last error.
#pragma once

#include <string>

#include "api/guard.hpp"
#include "rekur/rekur.h"

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

  template <class Action>
  rekur_code run(const Action& action) const noexcept {
    const Status status = status_of(action);
    return status ? REKUR_OK : fail(status);
  }

  // run's result for what cannot fail otherwise; no exception is thrown on the way.
  rekur_code refuse(const char* argument, const char* fault) const noexcept;

  template <class T>
  T& expect(T* pointer, const std::string& argument) const {
    if (pointer == nullptr) wrong(argument, "is null");
    return *pointer;
  }
  void expect_count(const char* argument, std::size_t expected, std::size_t given) const;
  [[noreturn]] void wrong(const std::string& argument, const std::string& fault) const;

  // infos[index], for C.
  void describe(const std::vector<TensorInfo>& infos, std::size_t index, rekur_tensor_info* info) const;

 private:
  const char* function_;
};

}  // namespace rekur::api
