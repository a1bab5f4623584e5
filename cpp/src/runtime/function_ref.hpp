// A reference to anything that can be called so: two words, without the copy that std::function takes and the code that manages it.
// What it refers to must live until the last call, as an argument of a function does.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace rekur {

template <class Signature>
class FunctionRef;

template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& function)
      : function_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))), call_([](void* self, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(self))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(function_, std::forward<Args>(args)...); }

 private:
  void* function_;
  R (*call_)(void* self, Args... args);
};

}  // namespace rekur
